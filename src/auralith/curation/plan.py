"""Which steps a curation has under its settings, how each is made, and which recordings it is due for."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from auralith.curation.engine import Step
from auralith.curation.guard import GuardSettings, GuardStage, read_overlaps
from auralith.curation.identification import IdentifierFiles, Identify, IdentifySettings
from auralith.curation.licenses import LicenseStage
from auralith.curation.metadata import MetadataStage
from auralith.curation.near_duplicates import FingerprintSettings, FingerprintStage
from auralith.curation.preference import PreferenceStage
from auralith.curation.probe import Probe
from auralith.curation.settings import CurationSettings, StageName, TaggerFiles
from auralith.curation.store import Store
from auralith.curation.tagging.stage import Tagging, TaggingSettings, pinned
from auralith.errors import InvalidRequest

Due = Literal["all", "unknown_music", "music", "searched"]
"""all; sources that aren't all music; what is tagged as music; sources that the metadata search is for."""


@dataclass(frozen=True)
class Planned:
    """A step of the curation and the recordings that need it. A step may depend on evidence of earlier ones, so it
    is made when its turn comes."""

    name: StageName
    make: Callable[[Store], Step]
    due: Due = "all"
    reviewed: bool = False
    """Whether people see what it flags, and may overturn what it refuses."""
    after_review: bool = False
    """Whether it waits for them."""


def plan(settings: CurationSettings) -> list[Planned]:
    """The steps in their order.

    Raises:
        InvalidRequest: a step is asked for that there is none of; leaving it out unsaid would pass everything.
    """
    known = {planned.name: planned for planned in _all(settings)}
    if missing := [name for name in settings.stages if name not in known]:
        raise InvalidRequest(
            f"there is no step '{missing[0]}' here; leave it out of the stages ({', '.join(known)})"
        )
    return [known[name] for name in settings.stages]


def planned_step(settings: CurationSettings, name: StageName) -> Planned | None:
    """A step by its name; None if these settings leave it out."""
    return next((one for one in plan(settings) if one.name == name), None)


def _all(settings: CurationSettings) -> Iterator[Planned]:
    yield Planned("license", lambda _: Step(LicenseStage, settings.license))
    yield Planned("preference", lambda _: Step(PreferenceStage, settings.preference))
    yield Planned("probe", lambda _: Step(Probe, settings.probe, heavy=True))
    yield Planned(
        "fingerprint", lambda _: Step(FingerprintStage, FingerprintSettings(), heavy=True)
    )
    yield Planned(
        "tag", lambda store: _tagging(settings.tag, settings.tagger, store.folder), "unknown_music"
    )
    due: Due = "all" if settings.identified == "all" else "music"
    yield Planned("identify", lambda _: _identify(settings), due, reviewed=True)
    yield Planned("metadata", lambda _: _metadata(settings), "searched", reviewed=True)
    yield Planned("guard", lambda store: _guard(settings.guard, store), after_review=True)


@lru_cache(maxsize=1)
def _tagging(settings: TaggingSettings, files: TaggerFiles, folder: Path) -> Step:
    """Hashes the weights, once."""
    resources = (files.weights, files.device)
    gpus = 1.0 if files.device.startswith("cuda") else 0.0
    pinned_settings = pinned(settings, files.weights, folder)
    return Step(Tagging, pinned_settings, resources, heavy=True, threaded=True, gpus=gpus)


def _identify(settings: CurationSettings) -> Step:
    index = None if settings.index is None else settings.index.resolve()
    return _identify_by(settings.identify, index, settings.identifier.absolute())


@lru_cache(maxsize=1)
def _identify_by(settings: IdentifySettings, index: Path | None, files: IdentifierFiles) -> Step:
    """Reads the indexes' headers, once, and says what is missing before hours of work."""
    step = Step(Identify, settings, (index, files), heavy=True)
    _ = step.stage
    return step


def _metadata(settings: CurationSettings) -> Step:
    if settings.catalogue is None:
        raise InvalidRequest(
            "the metadata search needs a list of commercial music; name one as catalogue, or leave"
            " 'metadata' out of the stages"
        )
    return Step(MetadataStage, settings.metadata, (settings.catalogue.resolve(),))


def _guard(settings: GuardSettings, store: Store) -> Step:
    overlaps = read_overlaps(store, [one.name for one in settings.sets])
    return Step(GuardStage, settings, (overlaps,))
