"""Settings of what a curation gives out: the manifest's rules, and what its card and its Croissant file say of it."""

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from auralith.errors import Field, InvalidRequest, shown
from auralith.numbers import check_integer, check_number

_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class HighFidelity:
    """Which recordings of other sources than known music are of high fidelity; known music always is.

    The published set: stereo, recorded at 48 kHz, with energy in high frequencies. Its rule for the last is not
    known; ours is the probe's `full_band`.
    """

    channels: int = 2
    sample_rates_hz: tuple[int, ...] = (48_000,)


@dataclass(frozen=True)
class PublishSettings:
    """What is told of the data set; an empty text is shown as not stated."""

    high_fidelity: HighFidelity = HighFidelity()
    validation_share: float = 0.0
    """Share of the recordings marked "validation", 0 … 1. The training commands read every row, so none by default."""
    page_entries: int = 5_000
    """Recordings on a page of the attribution."""
    name: str = "Curated recordings"
    description: str = ""
    version: str = "1.0.0"
    url: str = ""
    """The data set's page."""
    creator: str = ""
    contact: str = ""
    """Whom to ask for the removal of a recording: a mail address or a page."""
    date_published: str = ""
    """ISO 8601; the day on which it is written if empty."""
    calibration: Path | None = None
    """Folder of a curation of known music, tagged: what the tagger's threshold is checked with."""

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
