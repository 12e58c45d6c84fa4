"""Run one step over all recordings of a curation, with its progress, for the commands of the steps."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.cli.fields import Given
from auralith.cli.lines import warn
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.curation.engine import StageProgress
    from auralith.curation.settings import CurationSettings, StageName

MOST_NAMED = 20
"""Number of recordings that are named on stderr because a step could not use them."""


def connect() -> None:
    """Use the Ray cluster that --ray or RAY_ADDRESS names, if one does."""
    from auralith.curation.engine import asked_address, use_ray

    if address := asked_address():
        use_ray(address)


def step_settings(
    folder: Path, name: str | None, chosen: Given, overrides: Sequence[str] | None = None
) -> "CurationSettings":
    """The settings of a curation with the options of one step, whose own settings `overrides` change."""
    from auralith.curation.settings import CurationSettings
    from auralith.settings import load_settings

    settings = load_settings(CurationSettings, options=chosen | {"folder": folder})
    if name is None:
        return settings
    section = getattr(settings, name)
    own = load_settings(type(section), overrides=overrides or (), base=section)
    return replace(settings, **{name: own})


def run_one(settings: "CurationSettings", name: "StageName", root: Path | None = None) -> None:
    """Make the missing evidence, as `curate run` would under these settings, but for all recordings.

    `root` is the folder of their sounds. Prints counts of the recordings by verdict and reason; the first of those that
    the step could not use are named on stderr.

    Raises:
        AuralithError: there are no recordings, or the step can't work at all.
    """
    from auralith.curation.keys import evidence_of
    from auralith.curation.run import run_step
    from auralith.curation.sources.intake import remember_roots
    from auralith.curation.steps import step_of
    from auralith.curation.store import Store
    from auralith.errors import InvalidRequest

    store, step = Store(settings.folder), step_of(settings, name)
    assert step is not None
    step.load(store)()  # raises before anything is written if something is missing
    recordings = store.recordings(["rec_id", "source"])
    if not recordings.num_rows:
        raise InvalidRequest(
            f"{store.folder} holds no recordings; auralith curate ingest brings some"
        )
    connect()
    sources = sorted(recordings["source"].drop_null().unique().to_pylist())
    roots = dict.fromkeys(sources, root) if root is not None else {}
    if roots:
        remember_roots(store.folder, roots)
    show_steps(run_step(store, settings, step, recordings["rec_id"].combine_chunks(), roots))
    columns = ["rec_id", "status", "verdict", "reason_code"]
    rows = evidence_of(store, step, columns).to_pylist()
    failed = [row for row in rows if row["status"] == "error"]
    for row in failed[:MOST_NAMED]:
        warn(f"{row['rec_id']} can't be used: {row['reason_code']}")
    if len(failed) > MOST_NAMED:
        warn(f"{len(failed) - MOST_NAMED:,} more can't be used; the table {name} names all")
    counts = Counter((row["verdict"], row["reason_code"]) for row in rows)
    for (verdict, reason), count in sorted(counts.items(), key=str):
        print(f"{count:>9,}  {verdict}{f': {reason}' if reason else ''}")


def show_steps(steps: "Iterator[StageProgress]") -> None:
    """Show a bar for each step with counts by outcome; without a terminal, a line for each finished step."""
    with stage_progress() as show:
        for at in steps:
            text = ", ".join(f"{count:,} {name}" for name, count in sorted(at.counts.items()))
            show(at.stage, at.done, at.total, text)
