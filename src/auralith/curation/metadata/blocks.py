"""Blocking: select the pairs of two lists that are worth comparing, those that share a block.

    artist      equal artists
    words       equal words of the artist in any order ("Smith, John")
    consonants  equal first eight consonants of the artist, for differing vowels and later typos
    title       equal rarest word of the title, for artists that are spelled very differently

A track has one spelling per artist and one for all of them together, and again in Latin letters if it has others: each
is a `Spelling`, and pairs are pairs of spellings.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

import numpy as np
from jaxtyping import Bool, Int

from auralith.curation.metadata.catalogue import Work
from auralith.curation.metadata.normalize import normalize, normalize_latin

_VOWELS = frozenset("aeiouyаеиоуыэюяіїєαεηιουω ")
_NUM_CONSONANTS = 8
_MAX_PAIRS = 1 << 20
"""Pairs that are compared at a time, which bounds memory."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """One spelling of a work. Artist, title and album are empty if they hold nothing to compare."""

    work: int
    """Position of the work in its list."""
    artist: str
    title: str
    album: str


def spellings(works: Sequence[Work]) -> list[Spelling]:
    """Return the distinct spellings of each work, in order."""
    return [
        spelling
        for position, work in enumerate(works)
        for spelling in dict.fromkeys(_spellings_of(position, work))
    ]


def _spellings_of(position: int, work: Work) -> Iterator[Spelling]:
    for form in (normalize, normalize_latin):
        title, album = form(work.title).comparable, form(work.album).comparable
        names = [form(name).comparable for name in work.artist.split(";")]
        for artist in filter(None, (*names, " and ".join(filter(None, names)))):
            yield Spelling(position, artist, title, album)


class TitleWords:
    """Frequencies of the words in a list's titles."""

    def __init__(self, listed: Sequence[Spelling]) -> None:
        titles = {(one.work, one.title) for one in listed}
        self._num_titles = len(titles)
        self._counts = Counter(word for _, title in titles for word in set(title.split()))

    def rarest(self, title: str) -> str:
        """Return the title's rarest word that occurs in the list; empty if none does."""
        known = [word for word in title.split() if word in self._counts]
        return min(known, key=lambda word: (self._counts[word], word), default="")

    def idf(self, title: str) -> float:
        """Return log(titles / titles with the word) of the rarest word, in nats; 0 for a title without known words."""
        word = self.rarest(title)
        return log(self._num_titles / self._counts[word]) if word else 0.0


def sorted_words(text: str) -> str:
    return " ".join(sorted(text.split()))


def consonants(artist: str) -> str:
    """Return the first eight consonants and digits; empty if there are none."""
    return "".join(sign for sign in artist if sign not in _VOWELS)[:_NUM_CONSONANTS]


class Blocks:
    """A list of spellings, indexed by block; `pairs` joins another list to it."""

    def __init__(self, listed: Sequence[Spelling]) -> None:
        self.words = TitleWords(listed)
        self._postings = [_Postings(keys) for keys in self._keys(listed)]

    def _keys(self, listed: Sequence[Spelling]) -> Iterator[list[str]]:
        yield [one.artist for one in listed]
        yield [sorted_words(one.artist) for one in listed]
        yield [consonants(one.artist) for one in listed]
        yield [self.words.rarest(one.title) for one in listed]

    def pairs(
        self, queries: Sequence[Spelling]
    ) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
        """Yield the positions (query, listed) of all pairs that share a block, each once, in bounded portions."""
        found = [
            postings.find(keys)
            for postings, keys in zip(self._postings, self._keys(queries), strict=True)
        ]
        sizes = np.stack([ranges.sizes for ranges in found]).sum(axis=0)
        for start, stop in _portions(sizes):
            joined = [ranges.expand(start, stop) for ranges in found]
            query = np.concatenate([each[0] for each in joined])
            listed = np.concatenate([each[1] for each in joined])
            codes = np.unique(query << 32 | listed)
            yield codes >> 32, codes & 0xFFFFFFFF


def _portions(sizes: Int[np.ndarray, " query"]) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries with about `_MAX_PAIRS` pairs each, or a single query."""
    portion = np.cumsum(sizes) // _MAX_PAIRS
    starts = np.flatnonzero(np.diff(portion, prepend=-1))
    yield from pairwise([*starts.tolist(), len(sizes)])


class _Postings:
    """Positions grouped by key: one array, and the range of each key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._codes = {key: code for code, key in enumerate(dict.fromkeys(filter(None, keys)))}
        codes = np.fromiter((self._codes.get(key, -1) for key in keys), np.int64, len(keys))
        order = np.argsort(codes, kind="stable")
        self._positions = order[np.searchsorted(codes[order], 0) :]
        self._starts = np.searchsorted(codes[self._positions], np.arange(len(self._codes) + 1))

    def find(self, keys: Sequence[str]) -> "_Ranges":
        codes = np.fromiter((self._codes.get(key, -1) for key in keys), np.int64, len(keys))
        known: Bool[np.ndarray, " query"] = codes >= 0
        starts = np.where(known, self._starts[codes], 0)
        stops = np.where(known, self._starts[codes + 1], 0)
        return _Ranges(self._positions, starts, stops - starts)


@dataclass(frozen=True)
class _Ranges:
    """The range of positions that share the block of each query."""

    positions: Int[np.ndarray, " position"]
    starts: Int[np.ndarray, " query"]
    sizes: Int[np.ndarray, " query"]

    def expand(
        self, start: int, stop: int
    ) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
        sizes = self.sizes[start:stop]
        query = np.repeat(np.arange(start, stop), sizes)
        within = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return query, self.positions[np.repeat(self.starts[start:stop], sizes) + within]
