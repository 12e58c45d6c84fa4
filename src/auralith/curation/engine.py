"""Runs a stage over the recordings that it hasn't dealt with yet, on one machine or on a Ray cluster.

What is to do is an anti-join of the recordings with the finished ids. It is cut into slices; Daft streams them through
a class UDF that makes the stage from its settings, once in each worker, and every slice that comes back is written as
one file. So a kill loses at most the slices in flight, and the next run repeats nothing. Slices come back in their
order, so both runners write the same rows to the same files. Rows hold paths and small values; workers open sounds.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from auralith.curation.stage import Stage, params_hash
from auralith.curation.store import EVIDENCE, Key, Store, batches
from auralith.curation.worker import Worker, flat, found_schema
from auralith.errors import Interrupted, InvalidRequest
from auralith.extras import require
from auralith.files import clear_leftovers, exclusive

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")


@dataclass(frozen=True)
class Step:
    """A stage, as it is made here and in every worker: `make(settings, *resources)`."""

    make: Callable[..., Stage]
    settings: object
    """A dataclass; its hash marks the evidence."""
    resources: tuple[Any, ...] = ()
    """What the stage needs besides, but what changes no result, such as where its weights lie."""
    heavy: bool = False
    """Whether it costs processor time that is worth processes of their own."""
    threaded: bool = False
    """Whether a process of it uses all processors of a machine, as a network does."""
    gpus: float = 0.0
    """Graphics processors that a process needs."""

    @cached_property
    def stage(self) -> Stage:
        """The stage here, for its name, version and schema."""
        return self.make(self.settings, *self.resources)

    @cached_property
    def key(self) -> Key:
        """Which evidence this step makes."""
        stage = self.stage
        return Key(stage.provider, stage.provider_version, params_hash(self.settings))


@dataclass(frozen=True)
class EngineSettings:
    """How work is cut and spread; none of it changes a result."""

    slice_rows: int = 1_000
    """Recordings in a file of evidence: what a kill can lose."""
    heavy_slice_rows: int = 100
    """The same for stages that decode or compute, where each recording takes seconds."""
    workers: int = 0
    """Processes for stages that decode or compute; 0: one for each processor. On a cluster: of the cluster."""
    retry_errors: bool = False
    """Whether recordings whose row is an error are tried again."""

    def __post_init__(self) -> None:
        if min(self.slice_rows, self.heavy_slice_rows) < 1 or self.workers < 0:
            raise InvalidRequest(
                "slice_rows and heavy_slice_rows must be 1 or more and workers 0 or more, not"
                f" {self.slice_rows}, {self.heavy_slice_rows} and {self.workers}"
            )

    def rows_of(self, step: Step) -> int:
        """Rows in a slice of this step."""
        return self.heavy_slice_rows if step.heavy else self.slice_rows


@dataclass(frozen=True)
class StageProgress:
    """How far a stage is."""

    stage: str
    done: int
    """Recordings with a row of evidence, from this run and earlier ones."""
    total: int
    counts: Mapping[str, int]
    """Of those that are done, by outcome: the verdict, or "error" where the status is that."""


def run_stage(
    store: Store,
    step: Step,
    recordings: "pa.Table",
    root: Path,
    settings: EngineSettings = EngineSettings(),
) -> Iterator[StageProgress]:
    """Make the evidence that is missing for `recordings` (rec_id and the stage's inputs; one row for each id).

    Yields after each slice that is written, and once before the first.

    Raises:
        AuralithError: the stage can't work at all, the store can't be written, or another process writes there.
            Finished slices stay.
    """
    with exclusive(store.folder):
        clear_leftovers(store.folder / step.stage.name)
        yield from _run(store, step, recordings, root, settings)


def _run(
    store: Store, step: Step, recordings: "pa.Table", root: Path, settings: EngineSettings
) -> Iterator[StageProgress]:
    earlier = _earlier(store, step, recordings, settings)
    todo = _todo(step, recordings, list(earlier))
    done, total = len(earlier), recordings.num_rows
    _require_all(done + todo.num_rows, total)
    counts = Counter(earlier.values())
    yield StageProgress(step.stage.name, done, total, dict(counts))
    if not todo.num_rows:
        return
    first = store.next_slice(step.stage.name)
    for number, found in enumerate(_found(step, todo, root, settings), first):
        evidence = _evidence(step, found)
        store.append(step.stage.name, evidence, f"{number:08d}")
        done += evidence.num_rows
        counts.update(_outcomes(evidence))
        yield StageProgress(step.stage.name, done, total, dict(counts))
    _require_all(done, total)


def _require_all(found: int, total: int) -> None:
    """Raise `Interrupted` for rows that are missing: on Ctrl-C Daft ends its streams as if they were complete."""
    if found != total:
        raise Interrupted(signal.SIGINT)


def is_ray() -> bool:
    """Whether frames are computed on a Ray cluster."""
    return load_daft().get_or_infer_runner_type() == "ray"


def load_daft() -> ModuleType:
    """Daft, which neither reports usage from here nor draws bars beside ours, unless the user set so."""
    os.environ.setdefault("DAFT_ANALYTICS_ENABLED", "0")
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    return require("daft", "curate")


def _earlier(
    store: Store, step: Step, recordings: "pa.Table", settings: EngineSettings
) -> dict[str, str]:
    """What earlier runs said of these recordings, by id; of several rows the last one counts."""
    finished = store.read(step.stage.name, ["rec_id", "status", "verdict"], step.key)
    rows = zip(finished["rec_id"].to_pylist(), _outcomes(finished), strict=True)
    asked = set(recordings["rec_id"].to_pylist())
    retried = "error" if settings.retry_errors else None
    return {id: said for id, said in dict(rows).items() if id in asked and said != retried}


def _todo(step: Step, recordings: "pa.Table", done: list[str]) -> "pa.Table":
    """The recordings without finished evidence, sorted by id."""
    daft = load_daft()
    wanted = daft.from_arrow(recordings.select(["rec_id", *step.stage.inputs]))
    finished = daft.from_arrow(pa.table({"rec_id": pa.array(done, pa.string())}))
    return wanted.join(finished, on="rec_id", how="anti").sort("rec_id").to_arrow()


def _found(
    step: Step, todo: "pa.Table", root: Path, settings: EngineSettings
) -> Iterator["pa.Table"]:
    """What the stage says of each slice: rec_id and the columns of a finding, in the order of `todo`."""
    daft, rows = load_daft(), settings.rows_of(step)
    frame = daft.from_arrow(list(batches(todo, rows)))
    finding = _worker(step, settings, root).find(*[frame[n] for n in todo.column_names])
    frame = frame.select(frame["rec_id"], finding.alias("finding"))
    waiting: list[pa.RecordBatch] = []
    for batch in frame.to_arrow_iter(results_buffer_size=1):
        waiting.append(batch)
        while sum(one.num_rows for one in waiting) >= rows:
            table = pa.Table.from_batches(waiting)
            yield flat(table.slice(0, rows), step.stage)
            waiting = table.slice(rows).to_batches()
    if waiting:
        yield flat(pa.Table.from_batches(waiting), step.stage)


def _worker(step: Step, settings: EngineSettings, root: Path) -> Any:
    """The class UDF of a stage. Without processes of its own it runs in this one, or in those that Ray has."""
    daft = load_daft()
    kind = daft.DataType.from_arrow_type(pa.struct(list(found_schema(step.stage))))
    batch = daft.method.batch(return_dtype=kind, batch_size=settings.rows_of(step))
    worker = type(f"{step.stage.name}_worker", (Worker,), {"find": batch(Worker.find)})
    made = daft.cls(worker, max_concurrency=_num_processes(step, settings), gpus=step.gpus)
    return made(step.make, step.settings, step.resources, str(root))


def _num_processes(step: Step, settings: EngineSettings) -> int | None:
    """Processes for the stage alone; None for none."""
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


def _evidence(step: Step, found: "pa.Table") -> "pa.Table":
    """Rows of the store: what was found, with the columns that all rows of a slice share."""
    shared = {
        "stage": step.stage.name,
        **vars(step.key),
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    columns = [
        pa.repeat(pa.scalar(shared[field.name], field.type), found.num_rows)
        if field.name in shared
        else found[field.name]
        for field in EVIDENCE
    ]
    own = [found[name] for name in step.stage.schema.names]
    schema = pa.schema([*EVIDENCE, *step.stage.schema])
    return pa.Table.from_arrays([*columns, *own], schema=schema)


def _outcomes(evidence: "pa.Table") -> Iterator[str]:
    pairs = zip(evidence["status"].to_pylist(), evidence["verdict"].to_pylist(), strict=True)
    return ("error" if status == "error" else verdict for status, verdict in pairs)
