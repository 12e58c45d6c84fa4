"""The steps of a curation under its settings, as data. The `load` of a step reads what it needs, and raises if that is
missing."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from auralith.curation.duplicates import FingerprintSettings, FingerprintStage
from auralith.curation.guard import GuardSettings, GuardStage, overlap_digests, read_overlaps
from auralith.curation.identification import Identify
from auralith.curation.licenses import LicenseStage, PreferenceStage
from auralith.curation.metadata import MetadataStage
from auralith.curation.probe import Probe
from auralith.curation.settings import CurationSettings, StageName
from auralith.curation.stage import CurationStep
from auralith.curation.store import Store
from auralith.curation.tagging.stage import Tagging, pinned
from auralith.errors import InvalidRequest


def steps(settings: CurationSettings) -> list[CurationStep]:
    """Return the steps that the settings name, in their order."""
    known = {step.name: step for step in _all(settings)}
    return [known[name] for name in settings.stages]


def step_of(settings: CurationSettings, name: StageName) -> CurationStep | None:
    """Return a step by its name; None if these settings leave it out."""
    return next((step for step in steps(settings) if step.name == name), None)


def _all(settings: CurationSettings) -> Iterator[CurationStep]:
    yield CurationStep(
        "license", settings.license, lambda _: partial(LicenseStage, settings.license)
    )
    yield CurationStep(
        "preference", settings.preference, lambda _: partial(PreferenceStage, settings.preference)
    )
    yield CurationStep(
        "probe", settings.probe, lambda _: partial(Probe, settings.probe), heavy=True
    )
    yield CurationStep("fingerprint", FingerprintSettings(), lambda _: FingerprintStage, heavy=True)
    yield _tag(settings)
    yield _identify(settings)
    yield _metadata(settings)
    yield _guard(settings.guard)


def _tag(settings: CurationSettings) -> CurationStep:
    files = settings.tagger

    def load(store: Store) -> Callable[[], Tagging]:
        found = pinned(settings.tag, files.weights, store.folder)
        return partial(Tagging, found, files.weights, files.device)

    digest = (settings.tag.weights_sha256 or "").lower() or None
    return CurationStep(
        "tag",
        # as `pinned` returns them: permission to use unknown weights changes no result
        replace(settings.tag.complete(), weights_sha256=digest, allow_unknown_weights=False),
        load,
        "unknown_music",
        heavy=True,
        threaded=True,
        gpus=1.0 if files.device.startswith("cuda") else 0.0,
    )


def _identify(settings: CurationSettings) -> CurationStep:
    index = None if settings.index is None else settings.index.resolve()
    make = partial(Identify, settings.identify, index, settings.identifier.absolute())
    required = "all" if settings.identified == "all" else "music"
    return CurationStep(
        "identify", settings.identify, lambda _: make, required, reviewed=True, heavy=True
    )


def _metadata(settings: CurationSettings) -> CurationStep:
    def load(_: Store) -> Callable[[], MetadataStage]:
        if settings.catalogue is None:
            raise InvalidRequest(
                "the metadata search needs a list of commercial music; name one as catalogue, or"
                " leave 'metadata' out of the stages"
            )
        return partial(MetadataStage, settings.metadata, settings.catalogue.resolve())

    return CurationStep("metadata", settings.metadata, load, "searched", reviewed=True)


def _guard(settings: GuardSettings) -> CurationStep:
    names = [one.name for one in settings.sets]

    def load(store: Store) -> Callable[[], GuardStage]:
        return partial(GuardStage, settings, read_overlaps(store, names))

    def reads(store: Store) -> Mapping[str, str]:
        digests = overlap_digests(read_overlaps(store, names))
        return {name: digests.get(name, "") for name in names}

    return CurationStep("guard", settings, load, after_review=True, reads=reads)
