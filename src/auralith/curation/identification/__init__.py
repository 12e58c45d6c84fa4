"""Is this recording, or what plays in it, one that is known?

interface     what every backend is: `ContentIdentifier`      answers  what all of them answer alike
matcher       landmark, the built-in backend: landmark  hashes of a sound; index  those of the references, on disk;
              votes  where a query and a reference run alongside; significance  how sure that is
chromaprint   optional: fpcalc  its fingerprint of a sound; fingerprints  those of the references, on disk;
              alignment  where two are the same
acoustid      a web service       audible_magic  a service's program       composite  several as one
backends      all of them by their names
stage         the step of the curation
"""

from auralith.curation.identification.acoustid import AcoustIdIdentifier
from auralith.curation.identification.audible_magic import AudibleMagicIdentifier
from auralith.curation.identification.backends import (
    IdentifierFiles,
    IdentifySettings,
    Provider,
    make_identifier,
)
from auralith.curation.identification.chromaprint import ChromaprintIdentifier
from auralith.curation.identification.composite import CompositeIdentifier
from auralith.curation.identification.fingerprints import FingerprintIndex, build_fingerprints
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
    "ChromaprintIdentifier",
    "CompositeIdentifier",
    "ContentIdentifier",
    "Fingerprint",
    "FingerprintIndex",
    "Fpcalc",
    "Identification",
    "IdentifierFiles",
    "Identify",
    "IdentifySettings",
    "LandmarkIdentifier",
    "Match",
    "Provider",
    "ProviderInfo",
    "build_fingerprints",
    "make_identifier",
]
