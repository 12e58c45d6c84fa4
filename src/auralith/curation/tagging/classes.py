"""Which of AudioSet's 527 classes count as music, by their index in the order of the published label list.

The subtree is that of *Music* (/m/04rlf) in AudioSet's ontology: 150 classes. Names aren't shipped; `read_labels`
takes them from AudioSet's own `class_labels_indices.csv`, and a tagger may bring them.
"""

from pathlib import Path
from typing import Literal, get_args

from auralith.errors import InvalidRequest
from auralith.tables import strict_rows

NUM_LABELS = 527
MUSIC_ROOT = 137
ClassSet = Literal["music_only", "subtree", "subtree+singing", "subtree-bells"]

_INSTRUMENTS = {28, 92, *range(138, 216)}  # a choir and a cowbell stand elsewhere in the list
_GENRES = {30, 31, *range(216, 266)}  # and so do chant and mantra
_CONCEPTS_ROLES_MOODS = set(range(266, 283))
_SUBTREE = {MUSIC_ROOT} | _INSTRUMENTS | _GENRES | _CONCEPTS_ROLES_MOODS
_SINGING = {
    27,
    29,
    *range(32, 38),
}  # singing, yodeling, by voice, rapping, humming: outside the subtree
_BELLS = set(
    range(200, 208)
)  # bells of churches and bicycles, wind chimes: inside, and often not music

_SETS: dict[ClassSet, set[int]] = {
    "music_only": {MUSIC_ROOT},
    "subtree": _SUBTREE,
    "subtree+singing": _SUBTREE | _SINGING,
    "subtree-bells": _SUBTREE - _BELLS,
}


def class_indices(name: ClassSet) -> tuple[int, ...]:
    """The classes of a set, ascending; raises InvalidRequest for an unknown name."""
    if name not in _SETS:
        raise InvalidRequest(f"class set {name!r} is unknown; use {', '.join(get_args(ClassSet))}")
    return tuple(sorted(_SETS[name]))


def read_labels(path: Path) -> tuple[str, ...]:
    """Names of the 527 classes from a CSV file with the columns index, mid, display_name.

    Raises:
        InvalidRequest: the file can't be read, or isn't that list.
    """
    rows = [row.cells for row in strict_rows(path)]
    names = tuple(row.get("display_name") or "" for row in rows)
    in_order = [row.get("index") for row in rows] == [str(index) for index in range(NUM_LABELS)]
    if not in_order or not all(names):
        raise InvalidRequest(
            f"{path} isn't AudioSet's list of {NUM_LABELS} classes (index, mid, display_name);"
            " use its class_labels_indices.csv"
        )
    return names
