"""Hashes of files whose published hash nobody has verified: the first one that is used is trusted from then on.

They are kept in one file of the user's cache, by the file's place in a folder of weights.
"""

import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from auralith.errors import CheckpointError, ResourceError
from auralith.files import make_folder, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

PINS_NAME = "weights_sha256.json"


def cache_folder() -> Path:
    """Return this package's folder among the user's caches; XDG_CACHE_HOME and LOCALAPPDATA move it."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "auralith"


def check_pin(place: str, path: Path, digest: str) -> None:
    """Compare a file's SHA-256 with the one that was trusted first; the first becomes that.

    Raises:
        CheckpointError: another one was trusted.
        ResourceError: the pins can't be read or written.
    """
    file = cache_folder() / PINS_NAME
    trusted = _read(file).get(place)
    if trusted is None:
        make_folder(file.parent)
        with whole_file(file) as out:
            pins = {**_read(file), place: digest}
            out.write(json.dumps(pins, indent=2, sort_keys=True).encode() + b"\n")
    elif trusted != digest:
        raise CheckpointError(
            f"{path} has the SHA-256 {digest}, but {trusted} was used first; fetch it again, or remove"
            f" its line from {file} to trust the new one"
        )


def _read(file: Path) -> Mapping[str, str]:
    if not file.is_file():
        return {}
    try:
        pins = dict(parse_json(file.read_bytes()).items())
        valid = all(re.fullmatch("[0-9a-f]{64}", digest) for digest in pins.values())
    except (OSError, *SHAPE_ERRORS):
        valid, pins = False, {}
    if not valid:
        raise ResourceError(f"{file} is damaged; remove it to trust the weights that are there now")
    return pins
