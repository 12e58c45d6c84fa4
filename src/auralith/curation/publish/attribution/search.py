"""The index that a browser searches without a server, also from a file: scripts that hand their data to a function.

Words lie in shards by their first characters, two at first and more where a shard would be larger than `SHARD_BYTES`;
`index.js` names the shards. A word leads to places in the list of entries, written as steps in base 36; of a word that
is nearly everywhere the first `MOST_PLACES` are kept, and the page says so. What is shown of a result comes from small
blocks of entries, of which a search loads only those that it shows.
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
"""Of a shard, what is more than its words."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

Member = tuple[str, str]
"""A word, and the member of a JavaScript object that says where it is."""


def write_search(catalog: Catalog, folder: Path, page_entries: int) -> None:
    """Write the shards and blocks below `folder`; `page_entries` stand on a page."""
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
    """Rising numbers as the steps between them."""
    found, last = [], 0
    for place in places:
        found.append(_base36(place - last))
        last = place
    return " ".join(found)


def _members(catalog: Catalog) -> Iterator[Member]:
    """Every word in the order of the alphabet; with one place more than `MOST_PLACES` where there are more."""
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
    """A number for each word; then of each word in an entry its number, and the entry's place, which rises."""
    known: dict[str, int] = {}
    word_of, place_of = array("i"), array("i")
    for place, entry in enumerate(catalog):
        text = f"{entry.title} {entry.author} {entry.source} {entry.source_id}"
        for word in set(words(text)):
            word_of.append(known.setdefault(word, len(known)))
            place_of.append(place)
    return known, np.array(word_of, dtype=np.int32), np.array(place_of, dtype=np.int32)


def _shards(members: Iterable[Member]) -> Iterator[tuple[str, list[str]]]:
    """The prefix and members of each shard, sorted by prefix."""
    for prefix, some in groupby(members, key=lambda member: member[0][:2]):
        yield from _split(prefix, list(some))


def _split(prefix: str, members: Sequence[Member]) -> Iterator[tuple[str, list[str]]]:
    """A shard, or several by longer prefixes. A word that is the prefix itself stays with that name."""
    size = sum(len(member) + 1 for _, member in members)
    if len(members) == 1 or size <= SHARD_BYTES - _FRAME_BYTES:
        yield prefix, [member for _, member in members]
        return
    for longer, some in groupby(members, key=lambda member: member[0][: len(prefix) + 1]):
        yield from _split(longer, list(some))


def _shown(entry: Entry) -> list[str | None]:
    """What a result shows; the page's script has the same order."""
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
    """JSON in ASCII, which is JavaScript too, whatever a reader takes the file's encoding for."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=2**16)
def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
