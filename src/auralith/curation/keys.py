"""Keys of evidence: `steps.json` in a curation's folder lists the keys that each step was run under, newest last.

So a finished curation is read from its folder alone: finding the rows that count takes no weights, index or catalogue.
With a key are kept the settings that loading filled in (`resolved`), and a digest of the evidence that the step itself
reads (`reads`); if that evidence has changed since, the key no longer counts.

Folders of older versions lack the file. Their keys are derived from the evidence, each time until a step writes the file.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from auralith.curation.guard import OVERLAP_COLUMNS, GuardStage, overlap_digests, overlaps_in
from auralith.curation.stage import CurationStep, params_hash
from auralith.curation.store import EVIDENCE, EvidenceKey, Store, compute, with_columns
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.settings import build_settings

NAME = "steps.json"
log = logging.getLogger(__name__)
_KEY = ("provider", "provider_version", "params_hash")
_RESOLVED = {"tag": ("weights_sha256",)}
"""Settings, by step, that may be left open and that loading fills in; they are columns of the evidence too."""


@dataclass(frozen=True)
class StepRun:
    """A key that a step was run under."""

    provider: str
    provider_version: str
    params_hash: str
    resolved: dict[str, str] = field(default_factory=dict)
    """Settings that loading filled in, such as the hash of the given weights."""
    reads: dict[str, str] = field(default_factory=dict)
    """Digests of the evidence that the step read, by evaluation set; sets without a digest had none."""

    def __post_init__(self) -> None:
        str(self.key).encode()  # ValueError for a lone surrogate, which no table holds

    @property
    def key(self) -> EvidenceKey:
        return EvidenceKey(self.provider, self.provider_version, self.params_hash)

    def is_of(self, settings: Any) -> bool:
        """Return whether the step was run under these settings, of which those left open may have any value."""
        left_open = {
            name: value
            for name, value in self.resolved.items()
            if getattr(settings, name, "") is None
        }
        return params_hash(replace(settings, **left_open)) == self.params_hash

    def has_read(self, reads: Mapping[str, str]) -> bool:
        """Return whether the evidence that the step reads has not changed."""
        return all(self.reads.get(name, "") == digest for name, digest in reads.items())


def newest_key(store: Store, step: CurationStep) -> EvidenceKey | None:
    """Return the key under which a step with these settings was run last; None if its evidence doesn't count.

    Raises:
        ResourceError: `steps.json` is damaged.
    """
    runs = [run for run in _runs(store, step.name) if run.is_of(step.settings)]
    if not runs or not runs[-1].has_read(step.reads(store)):
        return None
    return runs[-1].key


def evidence_of(store: Store, step: CurationStep | None, columns: Sequence[str]) -> pa.Table:
    """Return the rows of a step that count; none if it was never run under its settings, or is left out (None).

    Raises:
        ResourceError: `steps.json` or the table is damaged.
    """
    key = None if step is None else newest_key(store, step)
    return evidence_under(store, step, key, columns)


def last_evidence(
    store: Store,
    step: CurationStep | None,
    columns: Sequence[str],
    rec_ids: pa.Array | pa.ChunkedArray,
) -> pa.Table:
    """Return the last row of a step that counts for each of these recordings; nulls for those without one."""
    table = evidence_of(store, step, ["rec_id", *columns]).combine_chunks()
    newest_first = table.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))
    rows = compute.index_in(rec_ids, value_set=newest_first["rec_id"].cast(pa.string()))
    return newest_first.select(list(columns)).take(rows)


def evidence_under(
    store: Store, step: CurationStep | None, key: EvidenceKey | None, columns: Sequence[str]
) -> pa.Table:
    """Return the rows of a step under a key; none without one."""
    if step is None or key is None:
        return with_columns(EVIDENCE.empty_table(), columns)
    return store.read(step.name, columns, key)


def record(store: Store, step: CurationStep, key: EvidenceKey, settings: Any) -> None:
    """Make a key the newest of a step; the caller has the folder's lock. `settings` are those of the loaded stage.

    Raises:
        ResourceError: `steps.json` is damaged, or can't be written.
    """
    resolved = {name: getattr(settings, name) for name in _RESOLVED.get(step.name, ())}
    run = StepRun(**vars(key), resolved=resolved, reads=dict(step.reads(store)))
    by_step = _read(store.folder)
    is_new = by_step is None
    if by_step is None:
        by_step = {name: runs for name in _tables(store) if (runs := _from_evidence(store, name))}
    earlier = by_step.get(step.name, [])
    if not is_new and earlier[-1:] == [run]:
        return
    if is_new and by_step:
        names = ", ".join(by_step)
        log.warning("%s now has %s, made from the evidence: %s", store.folder, NAME, names)
    by_step[step.name] = [*(one for one in earlier if one.key != key), run]
    plain = {name: [asdict(one) for one in runs] for name, runs in by_step.items()}
    with whole_file(store.folder / NAME) as file:
        file.write(json.dumps(plain, indent=1).encode() + b"\n")


def _runs(store: Store, name: str) -> Sequence[StepRun]:
    """Return the runs of a step, newest last."""
    runs = _read(store.folder)
    return _from_evidence(store, name) if runs is None else runs.get(name, [])


def _read(folder: Path) -> dict[str, list[StepRun]] | None:
    """Return the runs in `steps.json` by step; None if the file is missing."""
    path = folder / NAME
    try:
        table = parse_json(path.read_bytes())
        return {
            name: [build_settings(StepRun, run) for run in runs] for name, runs in table.items()
        }
    except FileNotFoundError:
        return None
    except (OSError, InvalidRequest, *SHAPE_ERRORS) as error:
        raise ResourceError(
            f"{path} can't be read ({error}); remove it, and it is made again from the evidence"
        ) from error


def _tables(store: Store) -> list[str]:
    """Return the names of the tables in the folder."""
    return sorted({path.parent.name for path in store.folder.glob("*/[!.]*.parquet")})


def _from_evidence(store: Store, name: str) -> list[StepRun]:
    """Return the keys in a table by their last rows, newest last; none if it isn't a table of evidence."""
    columns = [*_KEY, "at", *_RESOLVED.get(name, ())]
    table = store.read(name, columns)
    table = table.cast(pa.schema([(column, pa.string()) for column in columns]))
    table = table.append_column("row", pa.array(range(table.num_rows), pa.int64()))
    table = table.filter(compute.is_valid(table["params_hash"]))
    newest = [(column, "max") for column in table.column_names if column not in _KEY]
    return [
        StepRun(
            *(row[column] for column in _KEY),
            resolved={n: found for n in _RESOLVED.get(name, ()) if (found := row[f"{n}_max"])},
            reads=_overlaps_until(store, row["at_max"]) if name == GuardStage.name else {},
        )
        for row in table.group_by(list(_KEY)).aggregate(newest).sort_by("row_max").to_pylist()
    ]


def _overlaps_until(store: Store, time: str | None) -> dict[str, str]:
    """Return the digests of all evaluation sets that the identification had found by a time."""
    found = store.read("identify", ["at", *OVERLAP_COLUMNS])
    is_earlier = compute.less_equal(found["at"].cast(pa.string()), pa.scalar(time, pa.string()))
    return overlap_digests(overlaps_in(found.filter(is_earlier)))
