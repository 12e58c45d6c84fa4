"""The files beside a sound: `name.txt` holds its description, `name.json` its fields, with suffixes in any case.

Folders are walked in sorted order, hidden files left out, so that two machines list the same sounds alike.
"""

import os
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple


class SoundFile(NamedTuple):
    """A sound file, and the files beside it."""

    path: Path
    text: Path | None
    fields: Path | None


def walk_sounds(
    root: Path, suffixes: Collection[str], *, with_links: bool = False
) -> Iterator[SoundFile]:
    """Every file with one of these suffixes (lower case) in a folder and below it; links to folders are not followed,
    and given too with `with_links`."""
    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        beside = _by_lower_suffix(names)
        for name in sorted([*names, *links] if with_links else names):
            stem, suffix = os.path.splitext(name)
            if name.startswith(".") or not (suffix.lower() in suffixes or name in links):
                continue
            found = [beside.get(stem + kind) for kind in (".txt", ".json")]
            text, fields = (None if one is None else Path(parent, one) for one in found)
            yield SoundFile(Path(parent, name), text, fields)


def _by_lower_suffix(names: Iterable[str]) -> dict[str, str]:
    """Files by their name with a lower-case suffix; of `A.txt` and `A.TXT` the first."""
    found: dict[str, str] = {}
    for name in sorted(names):
        stem, suffix = os.path.splitext(name)
        key = stem + suffix.lower()
        if key == name or key not in found:
            found[key] = name
    return found
