"""Runs the toy stage over generated recordings: `python -m tests.curation.toy_pipeline RUNNER FOLDER ROWS CALLS`."""

import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa

from auralith.curation.engine import EngineSettings, StageProgress, run_stage, use_ray
from auralith.curation.stage import CurationStep
from auralith.curation.store import RECORDINGS, Store
from auralith.files import exclusive
from tests.curation.toy_stages import Toy, ToySettings

SLICE_ROWS = 20
# Ray makes its workers nicer than everybody; beside other work they would hardly come to anything
_RAY = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | _RAY
"""Of processes that import these tests, and the package from where this process has it."""
ENVIRONMENT["PYTHONPATH"] = os.pathsep.join(
    [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
)


def toy_recordings(num_rows: int) -> pa.Table:
    """Recordings in no order, with texts that aren't plain."""
    numbers = [(11 * i) % num_rows for i in range(num_rows)]
    rows = [
        {"rec_id": f"toy:{n}", "title": "<å> " * (n % 5), "tags": ["a", f"{n}"] if n % 3 else None}
        for n in numbers
    ]
    return pa.Table.from_pylist(rows, RECORDINGS)


def toy_step(
    settings: ToySettings, calls: str = "", stage: type[Toy] = Toy, heavy: bool = False
) -> CurationStep:
    """The toy stage as a step."""
    return CurationStep("toy", settings, lambda _: partial(stage, settings, calls), heavy=heavy)


def run_step(
    store: Store, step: CurationStep, recordings: pa.Table, settings: EngineSettings | None = None
) -> Iterator[StageProgress]:
    """A step over all of these recordings."""
    parts, make = [(store.folder, recordings)], step.load(store)
    with exclusive(store.folder):
        yield from run_stage(store, step, make(), make, parts, settings or EngineSettings())


def run_toy(folder: Path, recordings: pa.Table, settings: ToySettings, calls: Path) -> Store:
    """The toy stage, to its end."""
    store = Store(folder)
    step = toy_step(settings, str(calls))
    for _ in run_step(store, step, recordings, EngineSettings(SLICE_ROWS)):
        pass
    return store


def start_ray() -> None:
    """A Ray of this process alone; Daft has one runner for each process."""
    import ray

    ray.init("local", num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)
    use_ray("local")


if __name__ == "__main__":  # a pause in each slice gives a test the time to kill it
    runner, folder, num_rows, calls = sys.argv[1:]
    if runner == "ray":
        start_ray()
    slow = ToySettings(pause_s=0.05)
    run_toy(Path(folder), toy_recordings(int(num_rows)), slow, Path(calls))
