"""A whole curation: ingest, every step for the recordings that require it, review, and all outputs.

Each step sees only the recordings that the steps before it passed, so the costly ones see fewest. Finished work is found
again: a run that was killed continues when it is repeated, and one after a review takes the decisions into account.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa

from auralith.curation.duplicates import find_near_duplicates
from auralith.curation.engine import StageProgress, run_stage
from auralith.curation.outcomes import REVIEW, Fold, outcomes
from auralith.curation.publish.attribution import write_attribution
from auralith.curation.publish.card import write_card
from auralith.curation.publish.croissant import write_croissant
from auralith.curation.publish.funnel import Funnels, write_funnel
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.review import cases, is_begun, open_items, suspects
from auralith.curation.settings import CurationSettings
from auralith.curation.sources import SourceSettings, ingest_steps, require_recordings
from auralith.curation.sources.intake import (
    REFERENCES,
    open_source,
    remember_roots,
    sound_roots,
    source_names,
)
from auralith.curation.stage import CurationStep
from auralith.curation.steps import steps
from auralith.curation.store import Store, compute
from auralith.errors import InvalidRequest
from auralith.files import exclusive, utc_now
from auralith.fingerprint import sounds_root


def curate(settings: CurationSettings) -> Iterator[StageProgress]:
    """Run a whole curation, and yield the progress of each step, whose last one is complete.

    Raises:
        AuralithError: a source, a step or the folder can't be used at all. What is finished stays.
    """
    store = Store(settings.folder)
    roots = sound_roots(settings.sources)
    for step in steps(settings):
        step.load(store)()  # raises before hours of work if something is missing
    if roots:
        remember_roots(store.folder, roots)
    for source in settings.sources:
        yield from _ingest(store, source)
    fold = Fold(store, settings)
    if not len(fold.kept):
        raise InvalidRequest(f"{store.folder} holds no recordings; name sources in the settings")
    for step in steps(settings):
        if step.after_review:
            yield _review(store)
            fold.settle_reviews()
        yield from run_step(store, settings, step, fold.candidates(step), roots)
        fold.add(step)
    if not fold.reviewed:
        yield _review(store)


def run_step(
    store: Store,
    settings: CurationSettings,
    step: CurationStep,
    rec_ids: pa.Array,
    roots: Mapping[str, Path],
) -> Iterator[StageProgress]:
    """Make the missing evidence of a step for these recordings; after the fingerprints, find near duplicates.

    `roots` is the folder of each source's sounds; those of other sources are looked for in the curation's.

    Raises:
        AuralithError: the step can't work at all, or another process works on the folder. What is finished stays.
    """
    with exclusive(store.folder):
        make = step.load(store)
        stage = make()
        columns = dict.fromkeys(["rec_id", "source", *stage.inputs])
        recordings = store.recordings(list(columns))
        recordings = recordings.filter(compute.is_in(recordings["rec_id"], value_set=rec_ids))
        parts = list(_by_root(recordings, roots if step.heavy else {}, store.folder))
        if step.name == "identify" and settings.index and (known := sounds_root(settings.index)):
            remember_roots(store.folder, {REFERENCES: known})
        yield from run_stage(store, step, stage, make, parts, settings.engine)
    if step.name == "fingerprint":
        yield from find_near_duplicates(store, step, settings.engine)


def _ingest(store: Store, source: SourceSettings) -> Iterator[StageProgress]:
    name = f"ingest {', '.join(source_names(source))}"
    opened, at = open_source(source, store), None
    for at in ingest_steps(store, opened, utc_now()):
        counts = {"new": at.added, "repeated": at.repeated, "rejected": sum(at.rejected.values())}
        yield StageProgress(name, at.read, at.read, counts)
    assert at is not None
    require_recordings(at, opened)


def _by_root(
    recordings: pa.Table, roots: Mapping[str, Path], otherwise: Path
) -> Iterator[tuple[Path, pa.Table]]:
    """Yield the recordings by the folder of their sounds."""
    rest = recordings
    for root in sorted(set(roots.values())):
        names = pa.array([name for name in roots if roots[name] == root], pa.string())
        is_here = compute.is_in(rest["source"], value_set=names)
        yield root, rest.filter(is_here)
        rest = rest.filter(compute.invert(is_here))
    yield otherwise, rest


def _review(store: Store) -> StageProgress:
    """Open review items for flagged recordings, and return the progress of the review."""
    if found := suspects(store):
        open_items(store.folder, found)
    items = cases(store.folder) if is_begun(store.folder) else []
    counts = Counter(case.state for case in items if not case.superseded)
    return StageProgress(REVIEW, counts["kept"] + counts["removed"], counts.total(), dict(counts))


def write_outputs(store: Store, settings: CurationSettings) -> Funnels:
    """Write funnel, manifest, attribution, Croissant file and card into the curation's folder; return the funnel.

    Raises:
        ResourceError: a file can't be written.
    """
    found = outcomes(store, settings)
    counted = write_funnel(store, settings, found)
    write_manifest(store, settings, found)
    write_attribution(store.folder, settings.publish)
    write_croissant(store, settings.publish)
    write_card(store, settings, counted)
    return counted
