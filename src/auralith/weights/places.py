"""Folders of weights, and weights found and verified in them."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from auralith.errors import CheckpointError
from auralith.files import file_hash
from auralith.weights.manifest import WeightsEntry, WeightsFile, weights_entry
from auralith.weights.pins import cache_folder, check_pin

VARIABLE = "AURALITH_WEIGHTS"
"""Environment variable that names the folder of weights."""


@dataclass(frozen=True)
class Found:
    """Weights on disk."""

    path: Path
    """The file, or the folder of several."""
    sha256: str
    """SHA-256 of the file; of several, that over their digests in the order of the manifest."""


def weights_folder(given: Path | None = None) -> Path:
    """Return the folder of weights: the given one, that of AURALITH_WEIGHTS, or one of the user's cache."""
    if given is not None:
        return given
    named = os.environ.get(VARIABLE)
    return Path(named) if named else cache_folder() / "weights"


def find_weights(name: str, given: Path | None = None) -> Found:
    """Return the weights of an entry of the manifest.

    `given` is a folder of weights or the weights themselves, which are then taken as they are. In a folder of weights
    sizes and hashes must be those of the manifest or, where it has none, the ones that were used first.

    Raises:
        InvalidRequest: no entry has that name.
        CheckpointError: a file is missing, or another one than expected; the message says how to get it.
        ResourceError: the hash of a first use can't be kept.
    """
    entry = weights_entry(name)
    if given is not None and (own := _own(entry, given)) is not None:
        return own
    folder = weights_folder(given)
    paths = [present(folder, file) for file in entry.files]
    if None in paths:
        raise CheckpointError(_missing(entry, folder, entry.files[paths.index(None)]))
    digests = [verified(folder, file) for file in entry.files]
    return Found(folder / entry.place, _total(digests))


def present(folder: Path, file: WeightsFile) -> Path | None:
    """Return the path of a file in a folder of weights; None if it is missing."""
    return next((path for place in file.anyof if (path := folder / place).is_file()), None)


def verified(folder: Path, file: WeightsFile) -> str:
    """Return the SHA-256 of a file that is there. Raises `CheckpointError` unless it is the known or the first used one."""
    path = present(folder, file)
    assert path is not None
    digest = file_hash(path)
    if file.sha256 is None:
        check_pin(path.relative_to(folder).as_posix(), path, digest)
    elif digest != file.sha256:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) has the SHA-256 {digest}, not {file.sha256}"
            f" ({file.size:,} bytes); remove it and fetch it again"
        )
    return digest


def _own(entry: WeightsEntry, given: Path) -> Found | None:
    """Return the weights that a path names itself: a file, or a folder with all files of an entry directly in it."""
    if len(entry.files) == 1:
        return Found(given, file_hash(given)) if given.is_file() else None
    names = [[given / Path(place).name for place in file.anyof] for file in entry.files]
    paths = [next((path for path in paths if path.is_file()), None) for paths in names]
    if None in paths:
        return None
    return Found(given, _total([file_hash(path) for path in paths if path is not None]))


def _total(digests: list[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _missing(entry: WeightsEntry, folder: Path, file: WeightsFile) -> str:
    megabytes = f"{entry.size / 1e6:,.3g} MB"
    size = f"{megabytes}: {entry.size:,} bytes" if entry.is_exact else f"about {megabytes}"
    digest = f"SHA-256 {file.sha256}" if file.sha256 else "SHA-256 kept from the first use on"
    return (
        f"{' or '.join(file.anyof)} is not in {folder}; get it by `auralith weights fetch {entry.name}`"
        f" ({size}, {digest}, published at {entry.page}, {entry.license}), or name its folder by --weights or {VARIABLE}"
    )
