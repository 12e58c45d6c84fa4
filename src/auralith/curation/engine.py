"""Run a stage over the recordings that have no evidence of it yet, on one machine or on a Ray cluster.

The work is an anti-join of the recordings with the finished ids. It is cut into slices; Daft streams them through a class
UDF that makes the stage from its settings, once in each worker, and every slice that comes back is written as one file.
So a kill loses at most the slices in flight, and the next run repeats nothing. Slices come back in order, so both runners
write the same rows to the same files. Rows hold paths and small values; workers open sounds.

A stage that raises because of a recording breaks its contract; the rows of that call are then tried one by one, and the
faulty one becomes a row of evidence too. An `AuralithError` ends the run: it comes back packed in the rows, because Daft
does not keep the type of an exception.

Ray waits minutes for a missing cluster and then ends the process, so a second process tries to connect first: a cluster
that does not answer is reported in one line within a bounded time.
"""

import itertools
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from auralith import errors
from auralith.clusters import ADDRESS_VARIABLE, join_cluster
from auralith.curation.keys import record
from auralith.curation.stage import CurationStep, Finding, Row, Stage, evidence_key
from auralith.curation.store import EVIDENCE, Store, batches
from auralith.errors import AuralithError, Interrupted
from auralith.extras import require
from auralith.files import clear_leftovers, utc_now
from auralith.numbers import check_integer

if TYPE_CHECKING:
    import daft

_SHARED = ("status", "verdict", "reason_code", "score")
_ABORT = "abort"
"""Status of rows that carry an error out of a worker; it is never written."""
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
"""Exceptions that damaged recordings make decoders and parsers raise."""


@dataclass(frozen=True)
class EngineSettings:
    """Settings for cutting and distributing the work; none of them changes a result."""

    slice_rows: int = 1_000
    """Recordings in a file of evidence, which is what a kill can lose."""
    heavy_slice_rows: int = 100
    """The same for steps that decode or compute, where a recording takes seconds."""
    workers: int = 0
    """Processes for steps that decode or compute; 0: one for each processor of the machine or the cluster."""
    retry_errors: bool = False
    """Retry recordings whose evidence is an error."""

    def __post_init__(self) -> None:
        check_integer(self, "slice_rows", 1)
        check_integer(self, "heavy_slice_rows", 1)
        check_integer(self, "workers", 0)

    def rows_of(self, step: CurationStep) -> int:
        """Return the number of rows in a slice of this step."""
        return self.heavy_slice_rows if step.heavy else self.slice_rows


@dataclass(frozen=True)
class StageProgress:
    """Progress of a stage."""

    stage: str
    done: int
    """Recordings with a row of evidence, from this run and earlier ones."""
    total: int
    counts: Mapping[str, int]
    """Number of finished recordings by outcome: the verdict, or "error" if that is the status."""


def run_stage(
    store: Store,
    step: CurationStep,
    stage: Stage,
    make: Callable[[], Stage],
    parts: Sequence[tuple[Path, pa.Table]],
    settings: EngineSettings = EngineSettings(),
) -> Iterator[StageProgress]:
    """Make the evidence that is missing; the caller has the folder's lock (`files.exclusive`).

    `make` is the function that the step loaded, and `stage` its result. Each part is a folder of sounds with its recordings: rec_id and the stage's inputs,
    one row for each id. Yields after each slice that is written, and once before the first.

    Raises:
        AuralithError: the stage can't work at all, or the store can't be written. Finished slices stay.
    """
    clear_leftovers(store.folder / step.name)
    earlier = _earlier(store, stage, parts, settings)
    todo = [(root, _todo(stage, part, list(earlier))) for root, part in parts]
    total, counts = sum(part.num_rows for _, part in parts), Counter(earlier.values())
    _require_all(counts.total() + sum(part.num_rows for _, part in todo), total)
    yield StageProgress(step.name, counts.total(), total, dict(counts))
    record(store, step, evidence_key(stage), stage.settings)
    numbers = itertools.count(store.next_slice(step.name))
    worker, rows = _worker(step, stage, settings), settings.rows_of(step)
    for root, part in todo:
        for findings in _slices_of(worker(make, str(root)), stage, part, rows):
            evidence = _evidence(stage, findings)
            store.append(step.name, evidence, f"{next(numbers):08d}")
            counts.update(_outcomes(evidence))
            yield StageProgress(step.name, counts.total(), total, dict(counts))
    _require_all(counts.total(), total)


def _require_all(found: int, total: int) -> None:
    """Raise `Interrupted` for rows that are missing: on Ctrl-C Daft ends its streams as if they were complete."""
    if found != total:
        raise Interrupted(signal.SIGINT)


def is_ray() -> bool:
    """Return whether frames are computed on a Ray cluster."""
    return load_daft().get_or_infer_runner_type() == "ray"


def load_daft() -> ModuleType:
    """Return Daft, without its reports of usage and without its progress bars beside ours, unless the user has set them."""
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    return require("daft", "curate")


def _earlier(
    store: Store,
    stage: Stage,
    parts: Sequence[tuple[Path, pa.Table]],
    settings: EngineSettings,
) -> dict[str, str]:
    """Return the outcomes of earlier runs for these recordings, by id; of several rows the last one counts."""
    finished = store.read(stage.name, ["rec_id", "status", "verdict"], evidence_key(stage))
    rows = zip(finished["rec_id"].to_pylist(), _outcomes(finished), strict=True)
    asked = {id for _, part in parts for id in part["rec_id"].to_pylist()}
    retried = "error" if settings.retry_errors else None
    return {id: outcome for id, outcome in dict(rows).items() if id in asked and outcome != retried}


def _todo(stage: Stage, recordings: pa.Table, done: list[str]) -> pa.Table:
    """Return the recordings without finished evidence, sorted by id."""
    daft = load_daft()
    wanted = daft.from_arrow(recordings.select(["rec_id", *stage.inputs]))
    finished = daft.from_arrow(pa.table({"rec_id": pa.array(done, pa.string())}))
    return wanted.join(finished, on="rec_id", how="anti").sort("rec_id").to_arrow()


def _slices_of(worker: Any, stage: Stage, todo: pa.Table, rows: int) -> Iterator[pa.Table]:
    """Yield the findings of each slice, rec_id and the columns of a finding, in the order of `todo`."""
    if not todo.num_rows:
        return
    frame = load_daft().from_arrow(list(batches(todo, rows)))
    finding = worker.find(*[frame[name] for name in todo.column_names])
    frame = frame.select(frame["rec_id"], finding.alias("finding"))
    waiting: list[pa.RecordBatch] = []
    for batch in frame.to_arrow_iter(results_buffer_size=1):
        waiting.append(batch)
        while sum(one.num_rows for one in waiting) >= rows:
            table = pa.Table.from_batches(waiting)
            yield unpack(table.slice(0, rows), stage)
            waiting = table.slice(rows).to_batches()
    if waiting:
        yield unpack(pa.Table.from_batches(waiting), stage)


def _worker(step: CurationStep, stage: Stage, settings: EngineSettings) -> Callable[..., Any]:
    """Return the class UDF of a stage; its arguments are those of `Worker`.

    Without processes of its own it runs in this one, or in those that Ray has.
    """
    daft = load_daft()
    kind = daft.DataType.from_arrow_type(pa.struct(list(finding_schema(stage))))
    batch = daft.method.batch(return_dtype=kind, batch_size=settings.rows_of(step))

    class StageWorker(Worker):
        find = batch(Worker.find)

    return daft.cls(StageWorker, max_concurrency=_num_processes(step, settings), gpus=step.gpus)


def _num_processes(step: CurationStep, settings: EngineSettings) -> int | None:
    """Return the number of processes for the stage alone; None if it runs in this one."""
    if not step.heavy:
        return None
    if is_ray():
        ray = require("ray", "ray")
        num = len(ray.nodes()) if step.threaded else int(ray.cluster_resources().get("CPU", 1))
        return settings.workers or max(1, num)
    workers = settings.workers or (1 if step.threaded else _num_processors())
    return None if workers == 1 else workers


def _num_processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _evidence(stage: Stage, findings: pa.Table) -> pa.Table:
    """Return rows of the store: the findings, with the columns that all rows of a slice share."""
    shared = {"stage": stage.name, **vars(evidence_key(stage)), "at": utc_now()}
    columns = [
        pa.repeat(pa.scalar(shared[field.name], field.type), findings.num_rows)
        if field.name in shared
        else findings[field.name]
        for field in EVIDENCE
    ]
    own = [findings[name] for name in stage.schema.names]
    schema = pa.schema([*EVIDENCE, *stage.schema])
    return pa.Table.from_arrays([*columns, *own], schema=schema)


def _outcomes(evidence: pa.Table) -> Iterator[str]:
    pairs = zip(evidence["status"].to_pylist(), evidence["verdict"].to_pylist(), strict=True)
    return ("error" if status == "error" else verdict for status, verdict in pairs)


class Worker:
    """A stage where it runs."""

    def __init__(self, make: Callable[[], Stage], root: str) -> None:
        self.stage = make()
        self.root = Path(root)

    def find(self, *columns: "daft.Series") -> pa.Array:
        """Return the findings for rows whose columns are rec_id and the inputs of the stage."""
        names = ("rec_id", *self.stage.inputs)
        arrays = [column.to_arrow() for column in columns]
        rows = pa.table(dict(zip(names, arrays, strict=True))).to_pylist()
        return findings_array(self.stage, rows, self.root)


def findings_array(stage: Stage, rows: Sequence[Row], root: Path) -> pa.Array:
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


def finding_schema(stage: Stage) -> pa.Schema:
    """Return the fields of a finding: those of every stage, then this one's own columns."""
    return pa.schema([*[EVIDENCE.field(name) for name in _SHARED], *stage.schema])


def unpack(table: pa.Table, stage: Stage) -> pa.Table:
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


def asked_address() -> str | None:
    """Return the address in RAY_ADDRESS, where `--ray` puts its own; None for this machine's runner."""
    return os.environ.get(ADDRESS_VARIABLE) or None


def use_ray(address: str, timeout_s: float = 60.0) -> None:
    """Compute on the cluster at `address` ("host:6379", "ray://host:10001", "auto" or "local") from now on.

    Raises:
        InvalidRequest: the address is malformed.
        ResourceError: the cluster does not answer in time.
        MissingExtra: Ray is not installed.
    """
    daft = load_daft()
    join_cluster(address, timeout_s)
    daft.set_runner_ray(noop_if_initialized=True)
