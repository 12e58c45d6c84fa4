"""Debian packages: the sounds of an unpacked package, each with what the package's copyright file says of it.

The file is in Debian's machine-readable format (DEP-5): stanzas with globs of files, copyright and license; of several
that match a file the last one counts. `*` matches slashes too, `?` any one character. Globs are those of the source
package, so a source says where in it the folder of sounds lies. A glob that names an archive stands for the files in it,
which lie in a folder of the archive's name, with or without its ending.

A file without a stanza has no license, and is refused by the license step. Links to deeds in the text of a license count
beside its name, so that of two contradicting statements the stricter wins.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auralith.archives import SUFFIXES, is_archive
from auralith.curation.sources.records import (
    CONTROL,
    SLICE_ROWS,
    BadRow,
    Record,
    SourceRow,
    identity,
    named_path,
)
from auralith.curation.sources.tables import batch_of, check_source_name
from auralith.errors import InvalidRequest
from auralith.tables.sidecars import walk_sounds
from auralith.tables.text import decoded

Fields = Mapping[str, str]
"""Fields of a paragraph by their names in lower case; lines after the first without their indent."""
_FIELD = re.compile(r"([!-9;-~]+):[ \t]*(.*)")
_FORMAT = re.compile(r"copyright-format|dep-?5|\bformat/1\.0", re.I)
_LINK = re.compile(r"https?://[^\s<>\"']+[^\s<>\"'.,;)]")
_DEED = re.compile(r"https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/[^\s<>\"'),;]+")  # fmt: skip
_YEARS = re.compile(r"^(?:\(c\)|©|copyright|[\s,:-]|\d{4}(?:\s*[-–]\s*(?:\d{4}|present))?(?=[\s,;]|$))+", re.I)  # fmt: skip
_MAIL = re.compile(r"\s*<[^<>]*@[^<>]*>")
_CHOICE = re.compile(r"\bor\b|\|", re.I)


@dataclass(frozen=True)
class Stanza:
    """Statement of a copyright file about some files."""

    matches: re.Pattern[str]
    copyright: str
    license: str
    """Short name or expression."""
    deeds: str | None
    """Links to deeds in the license's text, separated by spaces."""
    comment: str | None
    url: str | None


@dataclass(frozen=True)
class CopyrightFile:
    """A copyright file."""

    stanzas: tuple[Stanza, ...]
    url: str | None
    """Source of the whole package."""

    def of(self, path: str) -> Stanza | None:
        """Return the last stanza that matches a file, by its path in the source package or that of its archive."""
        names = _names(path)
        return next((s for s in reversed(self.stanzas) if any(map(s.matches.fullmatch, names))), None)  # fmt: skip


def parse_copyright(text: str) -> CopyrightFile:
    """Return what a copyright file says. Raise `InvalidRequest` if it isn't in Debian's format."""
    header, *rest = [*_paragraphs(text), {}]
    if not _FORMAT.search(header.get("format", header.get("format-specification", ""))):
        raise InvalidRequest(
            "the copyright file is not in Debian's machine-readable format (DEP-5), so it says nothing of single files"
        )
    texts = {
        _first(one["license"]): _rest(one["license"])
        for one in rest
        if "license" in one and "files" not in one
    }
    stanzas = tuple(_stanza(one, texts) for one in rest if "files" in one)
    return CopyrightFile(stanzas, _link(header.get("source", "")))


class DebianSource:
    """The sounds of an unpacked package."""

    def __init__(
        self, copyright_file: Path, root: Path, source: str = "debian", prefix: str = ""
    ) -> None:
        """Read the copyright file; `prefix` is the place of `root` in the source package.

        Raises `InvalidRequest` if the file can't be read or isn't in Debian's format, or `root` is not a folder.
        """
        check_source_name(source)
        if not root.is_dir():
            raise InvalidRequest(f"{root} is not a folder; give that of the unpacked package")
        try:
            self._copyright = parse_copyright(decoded(copyright_file.read_bytes()))
        except InvalidRequest as error:
            raise InvalidRequest(f"{copyright_file}: {error}") from error
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{copyright_file} can't be read ({error})") from error
        self.root, self.name, self.prefix = root, source, prefix.strip("/")
        self.slice_rows, self.start = SLICE_ROWS, 0
        self.batch = batch_of("debian", [copyright_file], source, self.prefix, *self._sounds())

    def rows(self) -> Iterator[SourceRow]:
        """Yield a row for each sound."""
        for number, relative in enumerate(self._sounds(), 1):
            try:
                yield SourceRow(relative, number, relative, self._record(relative))
            except BadRow as bad:
                yield SourceRow(relative, number, relative, None, bad.reason_code)

    def _sounds(self) -> list[str]:
        """Return the paths of the sounds from the root, in a fixed order."""
        from auralith.sound.sources import SOUND_SUFFIXES  # with torch: not for tables

        found = walk_sounds(self.root, SOUND_SUFFIXES)
        return [one.path.relative_to(self.root).as_posix() for one in found]

    def _record(self, relative: str) -> Record:
        if CONTROL.search(relative):
            raise BadRow("bad_name")
        record = identity(self.name, relative) | {
            "path": named_path(relative, self.root),
            "title": Path(relative).stem,
        }
        stanza = self._copyright.of(f"{self.prefix}/{relative}" if self.prefix else relative)
        return record | (_about(stanza, self._copyright.url) if stanza else {})


def _about(stanza: Stanza, url: str | None) -> dict[str, Any]:
    return {
        "author": authors(stanza.copyright) or stanza.copyright,
        "url": stanza.url or url,
        "description": stanza.comment,
        "license_raw": stanza.license or None,
        "license_url_raw": stanza.deeds,
    }


def authors(copyright: str) -> str:
    """Return the names in a copyright field, without years, mail addresses and links, separated by "; "."""
    names = []
    for line in copyright.splitlines():
        bare = _YEARS.sub("", _LINK.sub("", _MAIL.sub("", line)).strip())
        if name := bare.replace("()", "").strip(" ,;\t\"'"):
            names.append(name)
    return "; ".join(dict.fromkeys(names))


def _stanza(fields: Fields, texts: Mapping[str, str]) -> Stanza:
    license, copyright = _first(fields.get("license", "")), fields.get("copyright", "").strip()
    text = _rest(fields.get("license", "")) or texts.get(license, "")
    deeds = [] if _CHOICE.search(license) else list(dict.fromkeys(_DEED.findall(text)))
    comment = fields.get("comment", "").strip() or None
    url = next(filter(None, map(_link, (copyright, fields.get("source", ""), comment or ""))), None)
    globs = "|".join(_pattern(glob) for glob in fields["files"].split())
    return Stanza(
        re.compile(globs or r"(?!)", re.DOTALL), copyright, license, " ".join(deeds) or None, comment, url
    )  # fmt: skip


def _pattern(glob: str) -> str:
    """Return the regular expression of a glob; that of an archive also matches what lies in a folder of its name."""
    glob = glob.removeprefix("./")
    signs = re.findall(r"\\[*?\\]|.", glob, re.DOTALL)
    kinds = {"*": ".*", "?": "."}
    pattern = "".join(kinds.get(sign) or re.escape(sign[-1]) for sign in signs)
    ending = next((suffix for suffix in SUFFIXES if glob.lower().endswith(suffix)), None)
    if ending is None:
        return pattern
    stem = "".join(kinds.get(sign) or re.escape(sign[-1]) for sign in signs[: -len(ending)])
    return f"{pattern}|{pattern}/.*|{stem}/.*"


def _names(path: str) -> list[str]:
    """Return the names that globs may give a file: its path, and those without the archives that it lies in."""
    parts = path.split("/")
    without = [part for part in parts[:-1] if not is_archive(part)]
    return [path, "/".join([*without, parts[-1]])]


def _paragraphs(text: str) -> Iterator[Fields]:
    """Yield the paragraphs of a control file. Raise `InvalidRequest` for a line that is neither field nor text."""
    fields: dict[str, str] = {}
    name = ""
    for number, line in enumerate([*text.splitlines(), ""], 1):
        if not line.strip():
            if fields:
                yield fields
            fields, name = {}, ""
        elif line[0] in " \t" and name:
            fields[name] += "\n" + ("" if line.strip() == "." else line.strip())
        elif match := _FIELD.fullmatch(line):
            name = match[1].lower()
            fields[name] = match[2].strip()
        elif not line.startswith("#"):
            raise InvalidRequest(
                f"line {number} of the copyright file is no field, so it is not in Debian's format (DEP-5)"
            )


def _first(field: str) -> str:
    return field.split("\n", 1)[0].strip()


def _rest(field: str) -> str:
    return field.partition("\n")[2]


def _link(text: str) -> str | None:
    """Return the first link in a text that is not a license's deed."""
    return next((one for one in _LINK.findall(text) if not _DEED.match(one)), None)
