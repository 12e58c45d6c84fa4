"""Metadata search: decide whether a recording may be a track in a list of commercial music.

normalize   one spelling for titles and names, and a second one in Latin letters
catalogue   the list, reduced to distinct tracks
blocks      the pairs of tracks that are compared
tiers       similarity of a pair, and the tier that follows from it
stage       the step of a curation: every tier goes to people
"""

from auralith.curation.metadata.catalogue import Catalogue, Work, read_catalogue
from auralith.curation.metadata.stage import MetadataSettings, MetadataStage
from auralith.curation.metadata.tiers import TIERS, Searcher, SearchResult, TierOptions, TrackMatch

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
