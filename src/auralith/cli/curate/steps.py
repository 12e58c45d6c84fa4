"""Run one step over all recordings of a curation, with its progress: what the commands of the steps share."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.cli.lines import warn
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.curation.engine import EngineSettings, StageProgress, Step

MOST_NAMED = 20
"""Recordings that are named on stderr where a step could not work on them."""


def connect() -> None:
    """Use the Ray cluster that --ray or RAY_ADDRESS names, if one does."""
    from auralith.curation.cluster import asked_address, use_ray

    if address := asked_address():
        use_ray(address)


def run_step(folder: Path, step: "Step", root: Path, settings: "EngineSettings") -> None:
    """Make the evidence that is missing, then print how the recordings fared, by verdict and reason.

    The first of those that it could not work on are named on stderr.

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
    columns = ["rec_id", "status", "verdict", "reason_code"]
    rows = store.read(stage.name, columns, step.key).to_pylist()
    failed = [row for row in rows if row["status"] == "error"]
    for row in failed[:MOST_NAMED]:
        warn(f"{row['rec_id']} can't be used: {row['reason_code']}")
    if len(failed) > MOST_NAMED:
        warn(f"{len(failed) - MOST_NAMED:,} more can't be used; the table {stage.name} names all")
    counts = Counter((row["verdict"], row["reason_code"]) for row in rows)
    for (verdict, reason), count in sorted(counts.items(), key=str):
        print(f"{count:>9,}  {verdict}{f': {reason}' if reason else ''}")


def show_steps(steps: "Iterator[StageProgress]") -> None:
    """A bar for each step with counts by outcome; without a terminal a line for each that is done."""
    with stage_progress() as show:
        for at in steps:
            text = ", ".join(f"{count:,} {name}" for name, count in sorted(at.counts.items()))
            show(at.stage, at.done, at.total, text)
