"""The search index for a browser without a server, even from `file://`: scripts that pass their data to a function.

Words are sharded by their first two characters, or more where a shard would exceed `SHARD_BYTES`; `index.js` names the
shards. A word has places in the list of entries, written as steps in base 36; of a word with more than `MOST_PLACES`, the
first ones are kept, and the page says so. Results are shown from small blocks of entries, of which a search loads only
those that it shows.
"""

import json
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Int

from auralith.curation.publish.attribution.catalog import Catalog
from auralith.curation.publish.attribution.entries import Entry, words

SHARD_BYTES = 256 * 1024
MOST_PLACES = 20_000
BLOCK_ENTRIES = 200
_FRAME_BYTES = 64
"""Bytes of a shard beside its words."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Member = tuple[str, str]
"""A word, and the member of a JavaScript object with its places."""


def write_search(catalog: Catalog, folder: Path, page_entries: int) -> None:
    """Write the shards and blocks below `folder`, for pages of `page_entries`."""
    folder.mkdir()
    names = []
    for number, (prefix, members) in enumerate(_shards(_members(catalog))):
        names.append(prefix)
        _write(folder / f"words-{number}.js", f"auralithWords({number},{{{','.join(members)}}});\n")
    for number, start in enumerate(range(0, len(catalog), BLOCK_ENTRIES)):
        block = [_shown(entry) for entry in catalog.entries(start, start + BLOCK_ENTRIES)]
        _write(folder / f"entries-{number}.js", f"auralithEntries({number},{_json(block)});\n")
    sizes = {"page": page_entries, "block": BLOCK_ENTRIES, "most": MOST_PLACES}
    _write(folder / "index.js", f"auralithIndex({_json(names)},{_json(sizes)});\n")


def steps(places: Iterable[int]) -> str:
    """Return rising numbers as the steps between them, in base 36."""
    found, last = [], 0
    for place in places:
        found.append(_base36(place - last))
        last = place
    return " ".join(found)


def _members(catalog: Catalog) -> Iterator[Member]:
    """Yield every word in alphabetical order, with at most one place more than `MOST_PLACES`."""
    known, word_of, place_of = _occurrences(catalog)
    alphabet = sorted(known)
    rank = np.empty(len(alphabet), dtype=np.int32)
    rank[[known[word] for word in alphabet]] = np.arange(len(alphabet), dtype=np.int32)
    ranks = rank[word_of]
    order = np.argsort(ranks, kind="stable")
    ends = np.cumsum(np.bincount(ranks, minlength=len(alphabet)))
    places, start = place_of[order], 0
    for word, end in zip(alphabet, ends.tolist(), strict=True):
        few = places[start : min(end, start + MOST_PLACES + 1)].tolist()
        yield word, f"{_json(word)}:{_json(steps(few))}"
        start = end


def _occurrences(
    catalog: Catalog,
) -> tuple[dict[str, int], Int[np.ndarray, "found"], Int[np.ndarray, "found"]]:
    """Return a number for each word, and number and place of each word in an entry, in the order of places."""
    known: dict[str, int] = {}
    word_of, place_of = array("i"), array("i")
    for place, entry in enumerate(catalog):
        text = f"{entry.title} {entry.author} {entry.source} {entry.source_id}"
        for word in set(words(text)):
            word_of.append(known.setdefault(word, len(known)))
            place_of.append(place)
    return known, np.array(word_of, dtype=np.int32), np.array(place_of, dtype=np.int32)


def _shards(members: Iterable[Member]) -> Iterator[tuple[str, list[str]]]:
    """Yield prefix and members of each shard, sorted by prefix."""
    for prefix, some in groupby(members, key=lambda member: member[0][:2]):
        yield from _split(prefix, list(some))


def _split(prefix: str, members: Sequence[Member]) -> Iterator[tuple[str, list[str]]]:
    """Yield a shard, or several with longer prefixes. A word that equals the prefix keeps that name."""
    size = sum(len(member) + 1 for _, member in members)
    if len(members) == 1 or size <= SHARD_BYTES - _FRAME_BYTES:
        yield prefix, [member for _, member in members]
        return
    for longer, some in groupby(members, key=lambda member: member[0][: len(prefix) + 1]):
        yield from _split(longer, list(some))


def _shown(entry: Entry) -> list[str | None]:
    """Return the fields of a result, in the order that the page's script expects."""
    return [
        entry.shown_title,
        entry.url,
        entry.author,
        entry.author_url,
        entry.source,
        entry.license_text,
        entry.license_link,
        entry.restriction,
    ]


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii", newline="\n")


def _json(value: object) -> str:
    """Return JSON in ASCII, which is JavaScript in any encoding that a reader may assume."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=2**16)
def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
