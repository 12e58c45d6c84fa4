"""Settings of published outputs: rules of the manifest, and the data set's description in card and Croissant file."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from auralith.errors import Field, InvalidRequest, shown
from auralith.numbers import check_integer, check_number

_VERSION = re.compile(r"\d+\.\d+\.\d+")


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
