"""Content identification: decide whether a recording, or something that plays in it, is known.

interface  the contract of every backend, `ContentIdentifier`, and the answers that all of them build alike
backends   their settings; landmark, the built-in one, a search in an index of references; several as one
services   AcoustID, a web service for whole tracks; Audible Magic, a service with a program
programs   running other projects' programs; Chromaprint's fpcalc, which AcoustID needs
stage      the step of the curation
"""

from auralith.curation.identification.backends import (
    CompositeIdentifier,
    IdentifierFiles,
    IdentifySettings,
    LandmarkIdentifier,
    make_identifier,
)
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
from auralith.curation.identification.stage import Identify

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
