"""Tensor names: ours, those of the published single file, those of the diffusers folder. One table, read both ways.

A row pairs the dotted beginnings of names; the longest row that fits a name is used and the rest of the name is kept.
Rows are nested like the modules they name. `None` means that the column has no such tensor. Each kind of network has its
rows in its family's folder. Two things are finer than names: diffusers keeps queries, keys and values apart (`FUSED`),
and published autoencoders may store weight norm (`weight_g`, `weight_v`) where ours has the folded `weight`.
"""

from typing import Literal, NamedTuple


class Row(NamedTuple):
    ours: str | None
    single_file: str | None
    diffusers: str | None


Column = Literal["ours", "single_file", "diffusers"]
Prefixes = dict[str, str]

# ends of diffusers names that hold the rows of one of our tensors
FUSED = {
    "to_qkv.weight": ("to_q.weight", "to_k.weight", "to_v.weight"),
    "to_kv.weight": ("to_k.weight", "to_v.weight"),
}


def nest(outer: Row, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows below a module that has the names in `outer`; an empty name is the module's own."""
    return tuple(Row(*map(_joined, outer, row)) for row in rows)


def _joined(outer: str | None, name: str | None) -> str | None:
    if outer is None or name is None:
        return None
    return f"{outer}.{name}" if name else outer


def rename(name: str, table: Prefixes) -> str | None:
    """The name in the table's target column, or None if it has no such tensor."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        prefix = table.get(".".join(parts[:cut]))
        if prefix is not None:
            return ".".join((prefix, *parts[cut:]))
    return None
