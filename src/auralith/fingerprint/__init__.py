"""Acoustic fingerprints: find where recordings contain other recordings, by landmarks of their spectra (Wang 2003).

landmark      pairs of spectral peaks of a sound, each a hash with its frame
index         postings of reference recordings on disk, memory-mapped
votes         alignments of a query and a reference by the hashes that they share
significance  tails of the Poisson distribution, in logarithms
search        every reference in an index that a query contains, each with its probability under chance
"""

from auralith.fingerprint.index import IndexOptions, LandmarkIndex, build_index, sounds_root
from auralith.fingerprint.landmark import Landmarks, landmarks_of, pruned, read_landmarks
from auralith.fingerprint.search import Occurrence, SearchOptions, search

__all__ = [
    "IndexOptions",
    "LandmarkIndex",
    "Landmarks",
    "Occurrence",
    "SearchOptions",
    "build_index",
    "landmarks_of",
    "pruned",
    "read_landmarks",
    "search",
    "sounds_root",
]
