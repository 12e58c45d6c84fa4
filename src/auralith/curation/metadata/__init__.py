"""The search of metadata in a list of commercial music: is this recording somebody's published track?

normalize   one spelling for titles and names (transliteration gives a second one)
catalogue   the list: read, reduced to distinct tracks
blocks      which pairs are looked at
tiers       how alike they are, and what it means
stage       the step of a curation: every tier goes to people
corruptions, generated   how well it works, measured on damage made for it
"""

from auralith.curation.metadata.catalogue import Catalogue, Work, read_catalogue
from auralith.curation.metadata.stage import MetadataSettings, MetadataStage, metadata_matches
from auralith.curation.metadata.tiers import TIERS, Found, Match, Searcher, TierOptions

__all__ = [
    "TIERS",
    "Catalogue",
    "Found",
    "Match",
    "MetadataSettings",
    "MetadataStage",
    "Searcher",
    "TierOptions",
    "Work",
    "metadata_matches",
    "read_catalogue",
]
