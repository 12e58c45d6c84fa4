"""Content identification: decide whether a recording, or something that plays in it, is known.

interface  the contract of every backend, `ContentIdentifier`, and the answers that all of them build alike
stage      the step and its settings; landmark, the built-in backend, which searches an index; several backends as one
services   AcoustID, a web service for whole tracks; Audible Magic, a service with a program
programs   running other projects' programs; Chromaprint's fpcalc, which AcoustID needs
"""

from auralith.curation.identification.interface import (
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.programs import Fpcalc
from auralith.curation.identification.services import AcoustIdIdentifier, AudibleMagicIdentifier
from auralith.curation.identification.stage import (
    CompositeIdentifier,
    IdentifierFiles,
    Identify,
    IdentifySettings,
    LandmarkIdentifier,
    make_identifier,
)

__all__ = [
    "AcoustIdIdentifier",
    "AudibleMagicIdentifier",
    "AudioRef",
    "CompositeIdentifier",
    "ContentIdentifier",
    "Fingerprint",
    "Fpcalc",
    "Identification",
    "IdentifierFiles",
    "Identify",
    "IdentifySettings",
    "LandmarkIdentifier",
    "Match",
    "ProviderInfo",
    "make_identifier",
]
