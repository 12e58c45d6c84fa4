"""The backends by their names: what a recipe chooses, what that needs, and the one identifier that it makes."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from auralith.curation.identification.acoustid import KEY_VARIABLE, AcoustIdIdentifier
from auralith.curation.identification.audible_magic import MATCH_CODE, AudibleMagicIdentifier
from auralith.curation.identification.chromaprint import ChromaprintIdentifier
from auralith.curation.identification.composite import CompositeIdentifier
from auralith.curation.identification.fpcalc import Fpcalc
from auralith.curation.identification.interface import ContentIdentifier
from auralith.curation.identification.matcher import LandmarkIdentifier
from auralith.errors import InvalidRequest
from auralith.fingerprint import SearchOptions

Provider = Literal["landmark", "chromaprint", "acoustid", "audible-magic"]


@dataclass(frozen=True)
class IdentifySettings:
    """By what sounds are identified, when two are the same, and how long to ask."""

    providers: tuple[Provider, ...] = ("landmark",)
    """Of several a match of any counts, and only if all say that there is none, there is none."""
    alpha: float = 1e-9
    """Of "landmark": largest probability, corrected for the size of the index, that chance alone aligns as much."""
    min_seconds: float = 3.0
    """Shortest stretch that counts; some backends need more."""
    no_match_codes: tuple[int, ...] = ()
    """Of "audible-magic": status codes that say that there is no match; any unknown one goes into quarantine."""
    retries: int = 3
    """How often an error is asked about again, after 1, 2, 4 … seconds."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not self.min_seconds > 0 or self.retries < 0:
            raise InvalidRequest(
                "alpha must lie between 0 and 1, min_seconds above 0, retries at 0 or more, not"
                f" {self.alpha:g}, {self.min_seconds:g} and {self.retries}"
            )
        if not self.providers or len(set(self.providers)) < len(self.providers):
            raise InvalidRequest("name one or more different providers to identify by")
        if MATCH_CODE in self.no_match_codes:
            raise InvalidRequest(f"status {MATCH_CODE} says that there is a match, not none")


@dataclass(frozen=True)
class IdentifierFiles:
    """Where the backends' files and programs lie; where they lie changes no result."""

    fingerprints: Path | None = None
    """Of "chromaprint": stored fingerprints of known recordings (auralith curate index --provider chromaprint)."""
    fpcalc: str = "fpcalc"
    """Of "chromaprint" and "acoustid": Chromaprint's program, a path or a name in PATH."""
    audible_magic: str | None = None
    """Of "audible-magic": the toolkit's program identify."""
    audible_magic_config: Path | None = None
    """Its configuration, which carries the customer's identity."""
    timeout_s: float = 300.0
    """Of "audible-magic": longest answer, for each sound."""

    def __post_init__(self) -> None:
        if not self.timeout_s > 0:
            raise InvalidRequest(f"timeout_s must be above 0, not {self.timeout_s:g}")

    def absolute(self) -> "IdentifierFiles":
        """The same for workers, which may run in another folder."""
        return replace(
            self,
            fingerprints=_absolute(self.fingerprints),
            audible_magic_config=_absolute(self.audible_magic_config),
        )


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.absolute()


def make_identifier(
    settings: IdentifySettings, index: Path | None, files: IdentifierFiles
) -> ContentIdentifier:
    """The backend that the settings name, or several as one. `index` is the folder of the landmark index.

    Raises:
        InvalidRequest: an index, a program, a configuration or a key that it needs is missing.
    """
    make: dict[Provider, Callable[[], ContentIdentifier]] = {
        "landmark": lambda: _landmark(settings, index),
        "chromaprint": lambda: _chromaprint(settings, files),
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


def _chromaprint(settings: IdentifySettings, files: IdentifierFiles) -> ChromaprintIdentifier:
    if files.fingerprints is None:
        raise InvalidRequest(
            "chromaprint needs fingerprints of known recordings; make them with auralith curate index"
            " --provider chromaprint and name them as fingerprints"
        )
    return ChromaprintIdentifier(files.fingerprints, Fpcalc(files.fpcalc), settings.min_seconds)


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
