"""Content identification: decide whether a recording, or something that plays in it, is known.

interface      the contract of every backend, `ContentIdentifier`
answers        the answers that all backends build alike
matcher        landmark, the built-in backend: a search in an index of reference recordings
acoustid       a web service for whole tracks; fpcalc makes the fingerprints that it takes
audible_magic  a service's program       composite  several backends as one
backends       settings, and the backend that they name
stage          the step of the curation
"""

from auralith.curation.identification.acoustid import AcoustIdIdentifier
from auralith.curation.identification.audible_magic import AudibleMagicIdentifier
from auralith.curation.identification.backends import (
    IdentifierFiles,
    IdentifySettings,
    make_identifier,
)
from auralith.curation.identification.composite import CompositeIdentifier
from auralith.curation.identification.fpcalc import Fpcalc
from auralith.curation.identification.interface import (
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.matcher import LandmarkIdentifier
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
