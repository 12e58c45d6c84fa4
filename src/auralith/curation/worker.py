"""A stage where it runs: rows of a Daft frame in, findings as structs out, in this process or in a worker's.

A stage that raises because of a recording breaks its contract; the rows of that call are then tried one by one, and
the one at fault becomes a row of evidence too. An `AuralithError` ends the run: it comes back in the rows, because what
an engine makes of an exception loses its type.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from auralith import errors
from auralith.curation.stage import Finding, Row, Stage
from auralith.curation.store import EVIDENCE
from auralith.errors import AuralithError
from auralith.extras import require

if TYPE_CHECKING:
    import daft
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")

_SHARED = ("status", "verdict", "reason_code", "score")
_ABORT = "abort"
"""Status of rows that carry an error out of a worker. It is never written."""
_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a damaged recording makes a decoder or a parser raise."""


class Worker:
    """A stage where it runs."""

    def __init__(self, make: Callable[[], Stage], root: str) -> None:
        self.stage = make()
        self.root = Path(root)

    def find(self, *columns: "daft.Series") -> "pa.Array":
        """Return the findings for rows whose columns are rec_id and the inputs of the stage."""
        names = ("rec_id", *self.stage.inputs)
        arrays = [column.to_arrow() for column in columns]
        rows = pa.table(dict(zip(names, arrays, strict=True))).to_pylist()
        return findings_array(self.stage, rows, self.root)


def findings_array(stage: Stage, rows: Sequence[Row], root: Path) -> "pa.Array":
    """Return the findings of a stage for these rows as structs; an error that ends the run is packed into them."""
    schema = finding_schema(stage)
    try:
        findings = _findings(stage, rows, root)
    except AuralithError as error:
        return pa.array(
            [{"status": _ABORT, "reason_code": _packed(error)}] * len(rows), pa.struct(list(schema))
        )
    arrays = [
        pa.array([getattr(one, name) for one in findings], schema.field(name).type)
        for name in _SHARED
    ]
    for field in stage.schema:
        arrays.append(pa.array([one.columns.get(field.name) for one in findings], field.type))
    return pa.StructArray.from_arrays(arrays, fields=list(schema))


def _findings(stage: Stage, rows: Sequence[Row], root: Path) -> list[Finding]:
    try:
        findings = stage.process(rows, root)
    except AuralithError:
        raise
    except _FAULTS as error:
        if len(rows) > 1:
            return [finding for row in rows for finding in _findings(stage, [row], root)]
        return [Finding("error", "quarantine", f"stage_failed:{type(error).__name__}")]
    assert len(findings) == len(rows), f"{stage.name} gave {len(findings)} findings for {len(rows)}"
    return findings


def finding_schema(stage: Stage) -> "pa.Schema":
    """Return the fields of a finding: those of every stage, then this one's own columns."""
    return pa.schema([*[EVIDENCE.field(name) for name in _SHARED], *stage.schema])


def unpack(table: "pa.Table", stage: Stage) -> "pa.Table":
    """Return rec_id and the fields of the findings, in the store's types; raises the error that a worker packed."""
    schema = finding_schema(stage)
    findings = table["finding"].combine_chunks().cast(pa.struct(list(schema)))
    arrays = findings.flatten()
    aborted = arrays[0].index(_ABORT).as_py()
    if aborted >= 0:
        raise _unpacked(arrays[2][aborted].as_py())
    ids = table["rec_id"].combine_chunks().cast(EVIDENCE.field("rec_id").type)
    return pa.Table.from_arrays([ids, *arrays], schema=schema.insert(0, EVIDENCE.field("rec_id")))


def _packed(error: AuralithError) -> str:
    known = next(kind for kind in type(error).__mro__ if hasattr(errors, kind.__name__))
    return f"{known.__name__}\n{error}"


def _unpacked(text: str) -> AuralithError:
    name, _, message = text.partition("\n")
    return getattr(errors, name)(message)
