"""The backends by their names: the settings that choose them, and the identifier that results."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from auralith.curation.identification.acoustid import KEY_VARIABLE, AcoustIdIdentifier
from auralith.curation.identification.audible_magic import MATCH_CODE, AudibleMagicIdentifier
from auralith.curation.identification.composite import CompositeIdentifier
from auralith.curation.identification.fpcalc import Fpcalc
from auralith.curation.identification.interface import ContentIdentifier
from auralith.curation.identification.matcher import LandmarkIdentifier
from auralith.errors import InvalidRequest, shown
from auralith.fingerprint import SearchOptions

PROVIDERS = ("landmark", "acoustid", "audible-magic")
_REMOVED = (
    "the Chromaprint matcher was removed; index the known recordings with auralith curate index and"
    ' use providers = ["landmark"]'
)


@dataclass(frozen=True)
class IdentifySettings:
    """Settings of the identification: its backends, when two stretches are the same, and how often to ask."""

    providers: tuple[str, ...] = ("landmark",)
    """Backends: landmark, acoustid, audible-magic. A match of any counts; a sound passes if all report none."""
    alpha: float = 1e-9
    """For "landmark": largest probability, corrected for the size of the index, that chance alone aligns as much."""
    min_seconds: float = 3.0
    """Shortest stretch that counts; some backends need more."""
    no_match_codes: tuple[int, ...] = ()
    """For "audible-magic": status codes that report no match; an unknown one leads to quarantine."""
    retries: int = 3
    """How often to ask again after an error, with pauses of 1, 2, 4 … seconds."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not self.min_seconds > 0 or self.retries < 0:
            raise InvalidRequest(
                "alpha must lie between 0 and 1, min_seconds above 0, retries at 0 or more, not"
                f" {self.alpha:g}, {self.min_seconds:g} and {self.retries}"
            )
        if "chromaprint" in self.providers:
            raise InvalidRequest(_REMOVED)
        if unknown := [name for name in self.providers if name not in PROVIDERS]:
            raise InvalidRequest(
                f"unknown provider {shown(unknown[0])}; known are {', '.join(PROVIDERS)}"
            )
        if not self.providers or len(set(self.providers)) < len(self.providers):
            raise InvalidRequest("name one or more different providers to identify by")
        if MATCH_CODE in self.no_match_codes:
            raise InvalidRequest(
                f"status {MATCH_CODE} reports a match; leave it out of no_match_codes"
            )


@dataclass(frozen=True)
class IdentifierFiles:
    """Locations of the backends' files and programs; they change no result."""

    REMOVED: ClassVar[dict[str, str]] = {"fingerprints": _REMOVED}
    fpcalc: str = "fpcalc"
    """For "acoustid": Chromaprint's program, a path or a name in PATH."""
    audible_magic: str | None = None
    """For "audible-magic": the toolkit's program identify."""
    audible_magic_config: Path | None = None
    """Its configuration file, which carries the customer's identity."""
    timeout_s: float = 300.0
    """For "audible-magic": longest wait for the answer about one sound, in seconds."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise InvalidRequest(f"timeout_s must be above 0, not {self.timeout_s:g}")

    def absolute(self) -> "IdentifierFiles":
        """Return the same locations for workers, which may run in another folder."""
        config = self.audible_magic_config
        return replace(self, audible_magic_config=None if config is None else config.absolute())


def make_identifier(
    settings: IdentifySettings, index: Path | None, files: IdentifierFiles
) -> ContentIdentifier:
    """Return the backend that the settings name, or several as one. `index` is the folder of the landmark index.

    Raises:
        InvalidRequest: an index, a program, a configuration or a key that it needs is missing.
    """
    make: dict[str, Callable[[], ContentIdentifier]] = {
        "landmark": lambda: _landmark(settings, index),
        "acoustid": lambda: AcoustIdIdentifier(
            Fpcalc(files.fpcalc),
            os.environ.get(KEY_VARIABLE, ""),
            min_seconds=settings.min_seconds,
        ),
        "audible-magic": lambda: _audible_magic(settings, files),
    }
    members = [make[name]() for name in settings.providers]
    return members[0] if len(members) == 1 else CompositeIdentifier(members)


def _landmark(settings: IdentifySettings, index: Path | None) -> LandmarkIdentifier:
    if index is None:
        raise InvalidRequest(
            "identification by landmarks needs an index of known recordings; make one with auralith"
            " curate index and name it as index, or leave 'identify' out of the stages"
        )
    return LandmarkIdentifier(index, SearchOptions(settings.alpha, settings.min_seconds))


def _audible_magic(settings: IdentifySettings, files: IdentifierFiles) -> AudibleMagicIdentifier:
    if files.audible_magic is None or files.audible_magic_config is None:
        raise InvalidRequest(
            "audible-magic needs the toolkit's program identify and its configuration; name them as"
            " audible_magic and audible_magic_config"
        )
    return AudibleMagicIdentifier(
        files.audible_magic,
        files.audible_magic_config,
        no_match_codes=settings.no_match_codes,
        timeout_s=files.timeout_s,
        min_seconds=settings.min_seconds,
    )
