"""The fingerprints of references on disk, memory-mapped.

    header.json   version, references and how many items each has, a digest of them all
    items.npy     the items of all references, one after the other
    order.npy     the places of items, sorted by their top 12 bits      offsets.npy   4,097 places in it

`order` leaves out items that repeat the one before: silence and a hum would be found everywhere. Making one takes about
20 bytes of memory for each item, so 4 GB for 7,300 h; on disk it takes 8.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, UInt32

from auralith.curation.identification.alignment import changes
from auralith.errors import InvalidRequest
from auralith.files import whole_folder
from auralith.foreign import SHAPE_ERRORS, parse_json

VERSION = 1
_KEY_BITS = 12


def build_fingerprints(
    sounds: Iterable[tuple[str, UInt32[np.ndarray, " item"]]], folder: Path
) -> int:
    """Store the items of references under their ids, and return how many items there are.

    Raises:
        CheckpointError: the folder exists. ResourceError: it can't be written.
        InvalidRequest: two references have one id, or there is none.
    """
    with whole_folder(folder) as target:
        names, parts = [], []
        for name, items in sounds:
            names.append(name)
            parts.append(items)
        _require_names(names)
        items = np.concatenate(parts).astype(np.uint32)
        new = np.flatnonzero(np.concatenate([changes(part) for part in parts]))
        keys = items[new] >> (32 - _KEY_BITS)
        order = new[np.argsort(keys.astype(np.uint16), kind="stable")].astype(np.uint32)
        counts = np.bincount(keys, minlength=1 << _KEY_BITS)
        np.save(target / "items.npy", items)
        np.save(target / "order.npy", order)
        np.save(target / "offsets.npy", np.concatenate(([0], np.cumsum(counts))))
        header = {
            "version": VERSION,
            "references": [[name, len(part)] for name, part in zip(names, parts, strict=True)],
            "items_sha256": hashlib.sha256(items.tobytes()).hexdigest(),
        }
        (target / "header.json").write_text(json.dumps(header, ensure_ascii=False))
    return len(items)


def _require_names(names: list[str]) -> None:
    if not names:
        raise InvalidRequest("there is no reference to store; give a folder of sounds")
    if len(set(names)) < len(names):
        raise InvalidRequest("two references have one id; give each its own")


@dataclass(frozen=True)
class FingerprintIndex:
    """Stored fingerprints, opened."""

    folder: Path
    references: tuple[str, ...]
    starts: Int[np.ndarray, " edge"]
    """Where the items of each reference begin, and where the last one's end."""
    digest: str
    """Of the header, which has a digest of the items: other references give other answers."""

    @classmethod
    def open(cls, folder: Path) -> "FingerprintIndex":
        """Raises `InvalidRequest` for what holds no fingerprints, or those of another version."""
        try:
            text = (folder / "header.json").read_bytes()
            header = parse_json(text)
            version, rows = header["version"], header["references"]
            names = tuple(str(name) for name, _ in rows)
            starts = np.cumsum([0, *(int(count) for _, count in rows)])
            header["items_sha256"]
        except (OSError, *SHAPE_ERRORS) as error:
            raise InvalidRequest(
                f"{folder} holds no fingerprints; make them with auralith curate index"
                " --provider chromaprint"
            ) from error
        if version != VERSION:
            raise InvalidRequest(f"{folder} was made by another version; index the sounds again")
        return cls(folder, names, starts, hashlib.sha256(text).hexdigest()[:16])

    def items(self, reference: int) -> UInt32[np.ndarray, " item"]:
        """The items of a reference."""
        first, last = self.starts[reference : reference + 2]
        return np.asarray(self._columns[0][first:last])

    def hits(
        self, items: UInt32[np.ndarray, " query"]
    ) -> tuple[Int[np.ndarray, " hit"], Int[np.ndarray, " hit"], Int[np.ndarray, " hit"]]:
        """(place in the query, reference, place in it) of every item that has the same top 12 bits."""
        _, order, offsets = self._columns
        keys = items >> (32 - _KEY_BITS)
        first, lengths = offsets[keys], offsets[keys + 1] - offsets[keys]
        query = np.repeat(np.arange(len(items)), lengths)
        before = np.concatenate(([0], np.cumsum(lengths)))[:-1]
        place = order[np.arange(len(query)) + np.repeat(first - before, lengths)].astype(np.int64)
        reference = np.searchsorted(self.starts, place, side="right") - 1
        return query, reference, place - self.starts[reference]

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        try:
            items, order, offsets = (
                np.load(self.folder / f"{name}.npy", mmap_mode="r")
                for name in ("items", "order", "offsets")
            )
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{self.folder} is damaged ({error}); index again") from error
        if (
            offsets.shape != ((1 << _KEY_BITS) + 1,)
            or len(items) != self.starts[-1]
            or len(order) != offsets[-1]
        ):
            raise InvalidRequest(f"{self.folder} is cut short; index again")
        return items, order, offsets
