"""Settings of a curation, as `recipes/curate.toml` changes them: the defaults are the published data set's, where known.

The settings of a step are defined with the step; here they are joined with the sources, the selection of steps, and the
description of the published data set. Where the model card gives no value, the data set card of a curation states the one
that was used.
"""

import re
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Literal, get_args

from auralith.curation.engine import EngineSettings
from auralith.curation.guard import GuardSettings
from auralith.curation.identification import IdentifierFiles, IdentifySettings
from auralith.curation.licenses import LicenseSettings, PreferenceSettings
from auralith.curation.metadata import MetadataSettings
from auralith.curation.probe import ProbeSettings
from auralith.curation.sources import SourceSettings
from auralith.curation.tagging.stage import TaggingSettings
from auralith.errors import Field, InvalidRequest, shown
from auralith.numbers import check_integer, check_number

_VERSION = re.compile(r"\d+\.\d+\.\d+")
StageName = Literal[
    "license", "preference", "probe", "fingerprint", "tag", "identify", "metadata", "guard"
]
STAGES: tuple[StageName, ...] = get_args(StageName)
"""Steps in their order; people review between metadata and guard."""


@dataclass(frozen=True)
class HighFidelity:
    """Rule for high fidelity of recordings other than known music, which always has it.

    The rule of the published set: stereo, recorded at 48 kHz, with energy in high frequencies. Its criterion for the
    last is not known; ours is the probe's `full_band`.
    """

    channels: int = 2
    sample_rates_hz: tuple[int, ...] = (48_000,)


@dataclass(frozen=True)
class PublishSettings:
    """Description of the data set; an empty text is shown as "not stated"."""

    high_fidelity: HighFidelity = HighFidelity()
    validation_share: float = 0.0
    """Share of the recordings with the split "validation", 0 … 1. The training commands read every row."""
    page_entries: int = 5_000
    """Number of recordings on a page of the attribution."""
    name: str = "Curated recordings"
    description: str = ""
    version: str = "1.0.0"
    url: str = ""
    """Web page of the data set."""
    creator: str = ""
    contact: str = ""
    """Contact for the removal of a recording: a mail address or a page."""
    date_published: str = ""
    """Date of publication, ISO 8601; the day of writing if empty."""
    calibration: Path | None = None
    """Folder of a tagged curation of known music, against which the tagger's threshold is checked."""

    def __post_init__(self) -> None:
        check_number(self, "validation_share", least=0.0, below=1.0)
        check_integer(self, "page_entries", 1)
        if not self.name.strip():
            raise InvalidRequest(Field("name"), " is empty; give the data set a name")
        if not _VERSION.fullmatch(self.version):
            raise InvalidRequest(
                Field("version"), f" must be MAJOR.MINOR.PATCH, not {shown(self.version)}"
            )
        if self.date_published and not _is_date(self.date_published):
            raise InvalidRequest(
                Field("date_published"),
                f" must be a day such as 2026-03-31, not {shown(self.date_published)}",
            )


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class TaggerFiles:
    """Place of the tagger's weights and the device that computes them: no result depends on either."""

    weights: Path | None = None
    """Cnn14_DecisionLevelMax_mAP=0.385.pth, or a folder of weights (`auralith weights`); for the tagger ast, its folder."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""


@dataclass(frozen=True)
class CurationSettings:
    """Everything that a run of `auralith curate run` depends on."""

    folder: Path = Path("curation")
    """The curation's folder; one begun is continued."""
    sources: tuple[SourceSettings, ...] = ()
    stages: tuple[StageName, ...] = STAGES
    """Steps to run; a recording is accepted only if it passes all of them."""
    known_music: tuple[str, ...] = ("fma",)
    """Sources that hold only music: their recordings are not tagged, but searched for by their metadata."""
    identified: Literal["music", "all"] = "music"
    """Recordings to identify by their sound: those tagged as music, or all, known music included."""
    dedupe: bool = False
    """Keep one of each group of duplicates; the published set kept all."""
    license: LicenseSettings = LicenseSettings()
    preference: PreferenceSettings = PreferenceSettings()
    probe: ProbeSettings = ProbeSettings()
    tag: TaggingSettings = TaggingSettings()
    tagger: TaggerFiles = TaggerFiles()
    index: Path | None = None
    """Folder of the index of known recordings, for landmark."""
    identify: IdentifySettings = IdentifySettings()
    identifier: IdentifierFiles = IdentifierFiles()
    catalogue: Path | None = None
    """List of commercial music for the metadata search: CSV in the Spotify-tracks schema."""
    metadata: MetadataSettings = field(default_factory=MetadataSettings)
    guard: GuardSettings = GuardSettings()
    publish: PublishSettings = PublishSettings()
    engine: EngineSettings = EngineSettings()

    def __post_init__(self) -> None:
        if list(self.stages) != [name for name in STAGES if name in self.stages]:
            raise InvalidRequest(
                Field("stages"), f" are done once each and in this order: {', '.join(STAGES)}"
            )
        if "license" not in self.stages:
            raise InvalidRequest(
                Field("stages"),
                " can't leave out 'license'; nothing else says what may be used",
            )
