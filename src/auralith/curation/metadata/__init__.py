"""Metadata search: decide whether a recording may be a track in a list of commercial music.

normalize   one spelling for titles and names, and a second one in Latin letters
catalogue   the list, reduced to distinct tracks, and its index: the pairs of tracks that are compared
search      similarity of a pair, the tier that follows from it, and the step: every tier goes to people
"""

from auralith.curation.metadata.catalogue import Catalogue, Work, read_catalogue
from auralith.curation.metadata.search import (
    TIERS,
    MetadataSettings,
    MetadataStage,
    Searcher,
    SearchResult,
    TierOptions,
    TrackMatch,
)

__all__ = [
    "TIERS",
    "Catalogue",
    "MetadataSettings",
    "MetadataStage",
    "SearchResult",
    "Searcher",
    "TierOptions",
    "TrackMatch",
    "Work",
    "read_catalogue",
]
