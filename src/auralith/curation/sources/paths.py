"""Paths of recordings stay below the folder that was given, whatever a table or a link says."""

import os
import re
from pathlib import Path

from auralith.errors import InvalidRequest

CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that stand in no name: controls, and bytes that weren't UTF-8."""
_LEAVES = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)")
"""Absolute, with a Windows drive, or with `..` between the separators of either system."""


def stays_below(relative: str) -> bool:
    """Whether a path, as written, can only lie below the folder it starts from; links aren't looked at."""
    return bool(relative) and not CONTROL.search(relative) and not _LEAVES.search(relative)


def safe_path(root: Path, relative: str) -> Path:
    """`root / relative`, which needn't exist.

    Raises:
        InvalidRequest: the path is absolute, has `..` in it, or leads out of `root` through a link.
    """
    top = os.path.realpath(root)
    path = root / relative
    if not stays_below(relative) or not _is_below(os.path.realpath(path), top):
        raise InvalidRequest(f"the path {relative!r} leaves {root}; only files below it are read")
    return path


def _is_below(resolved: str, top: str) -> bool:
    return resolved.startswith(top.rstrip(os.sep) + os.sep)
