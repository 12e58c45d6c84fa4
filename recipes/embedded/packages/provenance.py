"""Words of packages without a copyright file: what their own lists and readmes say of each sound, as rows of a table.

Nothing is filled in: a sound that a list doesn't name gets no license, and is refused. Of a license in a package's
metadata and another one in its readme both are kept, so that the stricter counts.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from auralith.errors import InvalidRequest
from auralith.files import whole_file

COLUMNS = ("id", "path", "title", "author", "author_url", "url", "license", "license_url")
Row = Mapping[str, str]
_DEED = re.compile(r"https?://creativecommons\.org/(?:licenses|publicdomain)/[\w./+-]+")
_LISTED = re.compile(r"^\* `:?(?P<name>\w+)`\s*- (?P<origin>.+)$", re.MULTILINE)
_FREESOUND = re.compile(r"(?P<author>https?://(?:www\.)?freesound\.org/people/(?P<name>[^/]+)/)sounds/\d+/?", re.I)  # fmt: skip
_DONATED = re.compile(r"Donated by (?P<name>.+?) under a (?P<license>CC0) license")


def write_words(kind: str, folder: Path, path: Path) -> None:
    """Write the table of an unpacked package.

    Raises:
        InvalidRequest: the package doesn't hold what its reader expects.
        ResourceError: the table can't be written.
    """
    try:
        rows = list(READERS[kind](folder))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InvalidRequest(f"{folder} can't be read as a package of the kind '{kind}' ({error})") from error  # fmt: skip
    with whole_file(path) as file:
        lines = [dict(zip(COLUMNS, COLUMNS, strict=True)), *rows]
        text = _Lines()
        csv.DictWriter(text, COLUMNS, restval="").writerows(lines)
        file.write("".join(text.lines).encode())


class _Lines:
    """A text that csv writes to, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def write(self, text: str) -> None:
        self.lines.append(text)


def _sonic_pi(folder: Path) -> Iterator[Row]:
    """Yield the sounds of Sonic Pi: a line for each in PROVENANCE.md, with a page on Freesound or a donor."""
    text = (folder / "PROVENANCE.md").read_text(encoding="utf-8")
    deed, whole = _DEED.findall(text)[0], _package(folder)["license"]
    listed = {_squashed(one["name"]): one["origin"] for one in _LISTED.finditer(text)}
    for path in _sounds(folder, "samples"):
        row = _row(folder, path)
        origin = listed.get(_squashed(path.stem), "")
        if page := _FREESOUND.search(origin):
            about = {"author": unquote(page["name"]), "author_url": page["author"], "url": page[0]}
            yield row | about | {"license": whole, "license_url": deed}
        elif donor := _DONATED.search(origin):
            about = {"author": donor["name"], "url": "https://github.com/sonic-pi-net/sonic-pi"}
            yield row | about | {"license": donor["license"], "license_url": deed}
        else:
            yield row


def _piano(folder: Path) -> Iterator[Row]:
    """Yield the notes of the Salamander piano. Its readme and its metadata disagree."""
    text = (folder / "README.md").read_text(encoding="utf-8")
    deed = _DEED.findall(text)[0]
    author = re.search(r"^- Author: (.+?)\s*$", text, re.MULTILINE)
    source = re.search(r"^\[[^]]+\]\((https?://[^)\s]+)\)", text.partition("## Samples source")[2].strip())  # fmt: skip
    assert author and source
    for path in _sounds(folder, "audio"):
        about = {"author": author[1], "url": source[1]}
        yield (
            _row(folder, path)
            | about
            | {"license": _package(folder)["license"], "license_url": deed}
        )


def _guitarsounds(folder: Path) -> Iterator[Row]:
    """Yield the plucked strings of the package's examples, under the license of the whole."""
    text = (folder / "PKG-INFO").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^(License|Home-page): (.+)$", text, re.MULTILINE))
    notice = (folder / "LICENSE.txt").read_text(encoding="utf-8").splitlines()[0]
    author = re.fullmatch(r"Copyright \(c\) \d{4}, (.+)", notice.strip())
    assert author
    for path in _sounds(folder, "example_sounds"):
        about = {"author": author[1], "url": fields["Home-page"], "license": fields["License"]}
        yield _row(folder, path) | about


def _animals(folder: Path) -> Iterator[Row]:
    """Yield the animals, each with its page in the table of CREDITS.md."""
    text = (folder / "CREDITS.md").read_text(encoding="utf-8")
    grant = re.search(r"released under a\s+(CC0) .*?license by ([^.]+)\.", text, re.DOTALL)
    assert grant
    pages = dict(re.findall(r"^\| (\w+) \| (https://\S+) \|$", text, re.MULTILINE))
    for path in _sounds(folder, "sounds/animals"):
        row = _row(folder, path)
        page = pages.get(path.stem.capitalize())
        about = {"author": " ".join(grant[2].split()).title(), "url": page, "license": grant[1]}
        yield row | about if page else row


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    "sonic_pi": _sonic_pi,
    "piano": _piano,
    "guitarsounds": _guitarsounds,
    "animals": _animals,
}


def _sounds(folder: Path, below: str) -> list[Path]:
    from auralith.sound.sources import SOUND_SUFFIXES

    return sorted(p for p in (folder / below).rglob("*") if p.suffix.lower() in SOUND_SUFFIXES)


def _row(folder: Path, path: Path) -> dict[str, str]:
    relative = path.relative_to(folder).as_posix()
    return {"id": relative, "path": relative, "title": path.stem}


def _package(folder: Path) -> Mapping[str, str]:
    return json.loads((folder / "package.json").read_text(encoding="utf-8"))


def _squashed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
