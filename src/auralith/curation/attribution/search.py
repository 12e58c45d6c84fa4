"""The index that a browser searches without a server, also from a file: scripts that hand their data to a function.

Words lie in shards by their first characters, two at first and more where a shard would be larger than `SHARD_BYTES`;
`index.js` names the shards. A word leads to places in the list of entries, written as steps in base 36; of a word that
is nearly everywhere the first `MOST_PLACES` are kept, and the page says so. What is shown of a result comes from small
blocks of entries, of which a search loads only those that it shows.
"""

import json
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from auralith.curation.attribution.entries import Entry, license_link, license_name, words

SHARD_BYTES = 256 * 1024
MOST_PLACES = 20_000
BLOCK_ENTRIES = 200
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def write_search(entries: Sequence[Entry], folder: Path, page_entries: int) -> None:
    """Write the shards and blocks below `folder`; `page_entries` stand on a page."""
    folder.mkdir()
    names = []
    for number, (prefix, shard) in enumerate(_shards(_places(entries))):
        names.append(prefix)
        (folder / f"words-{number}.js").write_text(f"auralithWords({number},{{{shard}}});\n")
    for number, start in enumerate(range(0, len(entries), BLOCK_ENTRIES)):
        block = [_shown(entry) for entry in entries[start : start + BLOCK_ENTRIES]]
        text = f"auralithEntries({number},{_json(block)});\n"
        (folder / f"entries-{number}.js").write_text(text)
    sizes = {"page": page_entries, "block": BLOCK_ENTRIES, "most": MOST_PLACES}
    (folder / "index.js").write_text(f"auralithIndex({_json(names)},{_json(sizes)});\n")


def steps(places: Iterable[int]) -> str:
    """Rising numbers as the steps between them."""
    found, last = [], 0
    for place in places:
        found.append(_base36(place - last))
        last = place
    return " ".join(found)


def _places(entries: Sequence[Entry]) -> Mapping[str, "array[int]"]:
    """The entries that each word is in; one more than `MOST_PLACES` at most, which tells that there are more."""
    found: dict[str, array[int]] = defaultdict(lambda: array("L"))
    for place, entry in enumerate(entries):
        text = f"{entry.title} {entry.author} {entry.source} {entry.source_id}"
        for word in dict.fromkeys(words(text)):
            places = found[word]
            if len(places) <= MOST_PLACES:
                places.append(place)
    return found


def _shards(places: Mapping[str, Sequence[int]]) -> Iterator[tuple[str, str]]:
    """(prefix, members of a JavaScript object) of each shard, sorted by prefix."""
    written = ((word, f"{_json(word)}:{_json(steps(places[word]))}") for word in sorted(places))
    by_prefix: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for word, member in written:
        by_prefix[word[:2]].append((word, member))
    for prefix in sorted(by_prefix):
        yield from _split(prefix, by_prefix[prefix])


def _split(prefix: str, members: list[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """A shard, or several by longer prefixes. A word that is the prefix itself stays with that name."""
    if len(members) == 1 or sum(len(member) + 1 for _, member in members) <= SHARD_BYTES - 64:
        yield prefix, ",".join(member for _, member in members)
        return
    parts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for word, member in members:
        parts[word[: len(prefix) + 1]].append((word, member))
    for longer in sorted(parts):
        yield from (
            _split(longer, parts[longer])
            if longer != prefix
            else iter([(prefix, ",".join(member for _, member in parts[longer]))])
        )


def _shown(entry: Entry) -> list[str | None]:
    return [
        entry.shown_title,
        entry.author,
        entry.url,
        license_name(entry.license_spdx),
        license_link(entry),
        entry.source,
    ]


def _json(value: object) -> str:
    """JSON in ASCII, which is JavaScript too, whatever a reader takes the file's encoding for."""
    return json.dumps(value, separators=(",", ":"))


def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits
