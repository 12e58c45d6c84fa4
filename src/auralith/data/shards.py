"""WebDataset shards: tar files whose members belong together where their names agree up to the first dot.

`webdataset` streams. Training here needs the item at a position, so that a run can be resumed and split over processes
exactly; so each tar is indexed once, by its headers, and a sound is read from its place in it. Which shards a pattern
names and which members make a sample are webdataset's own rules, applied to places instead of bytes.
"""

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auralith.data.entries import Entry
from auralith.data.folders import described
from auralith.errors import InvalidRequest
from auralith.extras import require
from auralith.sound.sources import SOUND_SUFFIXES, Member


def expand_shards(pattern: Path) -> list[Path]:
    """The tar files of a folder, or of a pattern with braces like `sounds-{000..012}.tar`."""
    if pattern.is_dir():
        return sorted(pattern.glob("*.tar"))
    if pattern.is_file():
        return [pattern]
    urls = require("webdataset.shardlists", "train").expand_urls(pattern.as_posix())
    return [Path(url) for url in urls]


def read_shards(shards: list[Path], prompt_key: str | None) -> list[Entry]:
    """The recordings of the shards, in their order.

    Raises:
        InvalidRequest: a shard is missing, damaged or compressed, or two of its members have one name.
        MissingExtra: `webdataset` is not installed.
    """
    return [entry for shard in shards for entry in _read_shard(shard, prompt_key)]


def _read_shard(shard: Path, prompt_key: str | None) -> list[Entry]:
    if not shard.is_file():
        raise InvalidRequest(f"{shard} doesn't exist; correct the name of the shard")
    group = require("webdataset.tariterators", "train").group_by_keys
    try:
        return [_entry(shard, sample, prompt_key) for sample in group(_members(shard))]
    except (tarfile.TarError, OSError) as error:
        raise InvalidRequest(
            f"{shard} is not an uncompressed tar file; gunzip or replace it"
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"{shard} is not a WebDataset shard: {error.args[0]}") from error


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """What `webdataset` yields for a tar file, with the place of a member's bytes instead of the bytes."""
    with tarfile.open(shard, "r:") as tar:
        names = set(tar.getnames())
        for member in tar:
            hidden = member.name.rsplit("/", 1)[-1].startswith((".", "__"))
            if member.isreg() and not hidden and not _is_doubled(member.name, names):
                place = Member(shard, member.offset_data, member.size)
                yield {"fname": member.name, "data": (member.name, place), "__url__": str(shard)}


def _is_doubled(name: str, names: set[str]) -> bool:
    """Return whether this is an `A.TXT` beside an `A.txt`, which wins as it does in a folder."""
    stem, suffix = os.path.splitext(name)
    lower = suffix.lower()
    return lower in (".txt", ".json") and suffix != lower and stem + lower in names


def _entry(shard: Path, sample: dict[str, Any], prompt_key: str | None) -> Entry:
    members = {key: value for key, value in sample.items() if not key.startswith("__")}
    sounds = [key for key in members if f".{key.rsplit('.', 1)[-1]}" in SOUND_SUFFIXES]
    # Without a sound any member stands for it: the scan then names and counts it as unreadable.
    name, place = members[sounds[0] if sounds else next(iter(members))]
    path = f"{shard}/{name}"
    text, table = (_bytes(members[key][1]) if key in members else None for key in ("txt", "json"))
    return Entry(described(text, table, f"{shard.name}/{name}", path, prompt_key), place)


def _bytes(member: Member) -> bytes:
    with member.path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)
