"""Run one step over all recordings of a curation, with its progress: what the commands of the steps share."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.curation.engine import EngineSettings, StageProgress, Step


def connect() -> None:
    """Use the Ray cluster that --ray or RAY_ADDRESS names, if one does."""
    from auralith.curation.cluster import asked_address, use_ray

    if address := asked_address():
        use_ray(address)


def run_step(folder: Path, step: "Step", root: Path, settings: "EngineSettings") -> None:
    """Make the evidence that is missing, then print how the recordings fared, by verdict and reason.

    Raises:
        AuralithError: there are no recordings, or the step can't work at all.
    """
    from auralith.curation.engine import run_stage
    from auralith.curation.inputs import remember_root
    from auralith.curation.store import Store
    from auralith.errors import InvalidRequest

    store, stage = Store(folder), step.stage
    recordings = store.recordings(["rec_id", *stage.inputs])
    if not recordings.num_rows:
        raise InvalidRequest(f"{folder} holds no recordings; auralith curate ingest brings some")
    connect()
    if step.heavy:
        names = {id.partition(":")[0] for id in recordings["rec_id"].to_pylist()}
        remember_root(folder, sorted(names), root)
    show_steps(run_stage(store, step, recordings, root, settings))
    found = store.read(stage.name, ["verdict", "reason_code"], step.key)
    pairs = zip(found["verdict"].to_pylist(), found["reason_code"].to_pylist(), strict=True)
    for (verdict, reason), count in sorted(Counter(pairs).items(), key=str):
        print(f"{count:>9,}  {verdict}{f': {reason}' if reason else ''}")


def show_steps(steps: "Iterator[StageProgress]") -> None:
    """A bar for each step with counts by outcome; without a terminal a line for each that is done."""
    with stage_progress() as show:
        for at in steps:
            text = ", ".join(f"{count:,} {name}" for name, count in sorted(at.counts.items()))
            show(at.stage, at.done, at.total, text)
