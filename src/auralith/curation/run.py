"""A whole curation: ingest, every step for the recordings it is due for, review, and what comes out of it.

Each step sees only what the steps before it let pass, so the costly ones see least. Everything that is done is found
again: a run that was killed is repeated, and goes on where it was; one after a review takes in what people decided.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.curation.engine import StageProgress, Step, run_stage
from auralith.curation.inputs import open_source, sound_roots, source_names
from auralith.curation.near_duplicates import find_near_duplicates
from auralith.curation.outcomes import REVIEW, Fold
from auralith.curation.plan import Planned, plan
from auralith.curation.review import cases, is_begun, open_items, suspects
from auralith.curation.settings import CurationSettings, SourceSettings
from auralith.curation.sources import ingest_steps, require_recordings
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")
compute = require("pyarrow.compute", "curate")


def curate(settings: CurationSettings, retrieved_at: str) -> Iterator[StageProgress]:
    """All of it, with the progress of each step; the last of a step is complete.

    `retrieved_at` is written to recordings that are new, as `now` gives it.

    Raises:
        AuralithError: a source, a step or the folder can't be used at all. What is finished stays.
    """
    store = Store(settings.folder)
    roots = sound_roots(settings)
    for planned in plan(settings):
        planned.make(store)  # says what is missing before hours of work
    for source in settings.sources:
        yield from _ingest(store, source, retrieved_at)
    fold = Fold(store, settings)
    if not len(fold.going):
        raise InvalidRequest(f"{store.folder} holds no recordings; name sources in the settings")
    for planned in plan(settings):
        if planned.after_review:
            yield _review(store)
            fold.settle_reviews()
        yield from _evidence(store, settings, planned, fold, roots)
        if planned.name == "fingerprint":
            yield from find_near_duplicates(store, planned.make(store).key, settings.engine)
        fold.add(planned)
    if not fold.reviewed:
        yield _review(store)


def now() -> str:
    """The time as the tables have it: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _ingest(store: Store, source: SourceSettings, retrieved_at: str) -> Iterator[StageProgress]:
    name = f"ingest {', '.join(source_names(source))}"
    opened, at = open_source(source, store), None
    for at in ingest_steps(store, opened, retrieved_at):
        counts = {"new": at.added, "repeated": at.repeated, "rejected": sum(at.rejected.values())}
        yield StageProgress(name, at.read, at.read, counts)
    assert at is not None
    require_recordings(at, opened)


def _evidence(
    store: Store,
    settings: CurationSettings,
    planned: Planned,
    fold: Fold,
    roots: Mapping[str, Path],
) -> Iterator[StageProgress]:
    """The step over what it is due for, the sounds of each folder in turn."""
    step = planned.make(store)
    due = _due(store, step, fold.candidates(planned))
    done, counts = 0, Counter[str]()
    for root, part in _by_root(due, roots if step.heavy else {}, store.folder):
        at = None
        for at in run_stage(store, step, part, root, settings.engine):
            now = dict(counts + Counter(at.counts))
            yield replace(at, done=done + at.done, total=due.num_rows, counts=now)
        assert at is not None
        done, counts = done + at.done, counts + Counter(at.counts)


def _due(store: Store, step: Step, rec_ids: "pa.Array") -> "pa.Table":
    """What the step reads of these recordings, and their source."""
    columns = dict.fromkeys(["rec_id", "source", *step.stage.inputs])
    recordings = store.recordings(list(columns))
    return recordings.filter(compute.is_in(recordings["rec_id"], value_set=rec_ids))


def _by_root(
    due: "pa.Table", roots: Mapping[str, Path], otherwise: Path
) -> Iterator[tuple[Path, "pa.Table"]]:
    """The recordings by the folder of their sounds; at least one part."""
    rest = due
    for root in sorted(set(roots.values())):
        names = pa.array([name for name in roots if roots[name] == root], pa.string())
        is_here = compute.is_in(rest["source"], value_set=names)
        yield root, rest.filter(is_here)
        rest = rest.filter(compute.invert(is_here))
    if rest.num_rows or not roots:
        yield otherwise, rest


def _review(store: Store) -> StageProgress:
    """Put what was flagged before people, and say how far they are."""
    if found := suspects(store):
        open_items(store.folder, found)
    items = cases(store.folder) if is_begun(store.folder) else []
    counts = Counter(case.state for case in items if not case.superseded)
    return StageProgress(REVIEW, counts["kept"] + counts["removed"], counts.total(), dict(counts))
