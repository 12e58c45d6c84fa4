"""Is this recording, or what plays in it, one that is known?

interface     what every backend is: `ContentIdentifier`
landmark      hashes of a sound      index  those of the references, on disk      significance  how sure a match is
matcher       the built-in backend, of these three
stage         the step of the curation
"""

from auralith.curation.identification.index import IndexOptions, LandmarkIndex, build_index
from auralith.curation.identification.interface import (
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.landmark import pruned, read_landmarks
from auralith.curation.identification.matcher import LandmarkIdentifier, MatchOptions
from auralith.curation.identification.stage import Identify, IdentifySettings

__all__ = [
    "AudioRef",
    "ContentIdentifier",
    "Fingerprint",
    "Identification",
    "Identify",
    "IdentifySettings",
    "IndexOptions",
    "LandmarkIdentifier",
    "LandmarkIndex",
    "Match",
    "MatchOptions",
    "ProviderInfo",
    "build_index",
    "pruned",
    "read_landmarks",
]
