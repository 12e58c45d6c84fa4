"""Folders of weights, and weights found and verified in them.

A folder with a file `other_weights.txt` holds others than the published ones, such as random or fine-tuned weights under
the published names. Their hashes are not compared, and values that they give carry what the file says.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auralith.errors import CheckpointError, Field
from auralith.escaping import one_line
from auralith.files import cached_file_hash
from auralith.weights.manifest import WeightsEntry, WeightsFile, weights_entry
from auralith.weights.pins import cache_folder, check_pin

VARIABLE = "AURALITH_WEIGHTS"
"""Environment variable that names the folder of weights."""
OTHER_WEIGHTS = "other_weights.txt"
"""Name of the file that declares the weights of its folder to be others; its first line says which."""
_MOST_CHARACTERS = 120


@dataclass(frozen=True)
class WeightsOrigin:
    """Origin of weights, by their hash: the published ones, or others."""

    status: Literal["none", "published", "unverified", "other"]
    """ "none" where there are no weights; "unverified" where no published hash is known."""
    note: str = ""
    """Description of other weights, empty if nobody gave one."""

    @property
    def remark(self) -> str:
        """Return what a reader of their values has to know; nothing of published weights."""
        if self.status == "other":
            note = f" ({self.note})" if self.note else ""
            return f"made with weights other than the published ones{note}"
        if self.status == "unverified":
            return "made with weights that could not be verified: no published hash is known"
        return ""


@dataclass(frozen=True)
class FoundWeights:
    """Weights on disk."""

    path: Path
    """The file, or the folder of several."""
    sha256: str
    """SHA-256 of the file; of several, that over their digests in the order of the manifest."""
    origin: WeightsOrigin


def weights_folder(given: Path | None = None) -> Path:
    """Return the folder of weights: the given one, that of AURALITH_WEIGHTS, or one of the user's cache."""
    if given is not None:
        return given
    named = os.environ.get(VARIABLE)
    return Path(named) if named else cache_folder() / "weights"


def find_weights(name: str, given: Path | None = None) -> FoundWeights:
    """Return the weights of an entry of the manifest.

    `given` is a folder of weights or the weights themselves, which are then taken as they are. In a folder of weights
    hashes must be those of the manifest or, where it has none, the ones that were used first, unless the folder declares
    other weights.

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
        raise _missing(entry, folder, entry.files[paths.index(None)])
    note = _declared(folder)
    if note is not None:
        return _taken(entry, folder / entry.place, [path for path in paths if path], note)
    digests = [verified(folder, file) for file in entry.files]
    return FoundWeights(folder / entry.place, _total(digests), _origin(entry, digests))


def present(folder: Path, file: WeightsFile) -> Path | None:
    """Return the path of a file in a folder of weights; None if it is missing."""
    return next((path for place in file.anyof if (path := folder / place).is_file()), None)


def verified(folder: Path, file: WeightsFile) -> str:
    """Return the SHA-256 of a file that is there. Raises `CheckpointError` unless it is the known or the first used one."""
    path = present(folder, file)
    assert path is not None
    digest = cached_file_hash(path)
    if file.sha256 is None:
        check_pin(path.relative_to(folder).as_posix(), path, digest)
    elif digest != file.sha256:
        raise CheckpointError(
            f"{path} ({path.stat().st_size:,} bytes) has the SHA-256 {digest}, not {file.sha256}"
            f" ({file.size:,} bytes); remove it and fetch it again"
        )
    return digest


def _own(entry: WeightsEntry, given: Path) -> FoundWeights | None:
    """Return the weights that a path names itself: a file, or a folder with all files of an entry directly in it."""
    if len(entry.files) == 1:
        paths = [given if given.is_file() else None]
    else:
        names = [[given / Path(place).name for place in file.anyof] for file in entry.files]
        paths = [next((path for path in paths if path.is_file()), None) for paths in names]
    found = [path for path in paths if path is not None]
    if len(found) < len(paths):
        return None
    notes = (_declared(folder) for folder in (given, given.parent))
    return _taken(entry, given, found, next((note for note in notes if note is not None), None))


def _taken(
    entry: WeightsEntry, place: Path, paths: Sequence[Path], note: str | None
) -> FoundWeights:
    """Return weights as they are, whatever their hashes; a note says that they are declared to be others."""
    digests = [cached_file_hash(path) for path in paths]
    origin = _origin(entry, digests) if note is None else WeightsOrigin("other", note)
    return FoundWeights(place, _total(digests), origin)


def _origin(entry: WeightsEntry, digests: Sequence[str]) -> WeightsOrigin:
    known = [file.sha256 for file in entry.files]
    if list(digests) == known:
        return WeightsOrigin("published")
    differs = any(sha not in (None, digest) for sha, digest in zip(known, digests, strict=True))
    return WeightsOrigin("other" if differs else "unverified")


def _declared(folder: Path) -> str | None:
    """Return what a folder says of its weights; None unless it declares them to be others."""
    try:
        with (folder / OTHER_WEIGHTS).open("rb") as file:
            start = file.read(4 * _MOST_CHARACTERS)
    except OSError:
        return None
    text = start.decode("utf-8", "replace").strip()
    return one_line(text.partition("\n")[0], _MOST_CHARACTERS)


def _total(digests: list[str]) -> str:
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def _missing(entry: WeightsEntry, folder: Path, file: WeightsFile) -> CheckpointError:
    megabytes = f"{entry.size / 1e6:,.3g} MB"
    size = f"{megabytes}: {entry.size:,} bytes" if entry.is_exact else f"about {megabytes}"
    digest = f"SHA-256 {file.sha256}" if file.sha256 else "SHA-256 kept from the first use on"
    return CheckpointError(
        f"{' or '.join(file.anyof)} is not in {folder}; get it by `auralith weights fetch {entry.name}`"
        f" ({size}, {digest}, published at {entry.page}, {entry.license}), or name its folder by {VARIABLE} or ",
        Field("weights"),
    )
