"""License expressions: licenses joined by "or" and "and", as SPDX, Debian's copyright files and people write them.

A field is an expression only if it consists of operators, parentheses and names of licenses, each of them read in full:
Creative Commons by `license_parsing`, others by SPDX's list, the names in `license_names.toml` and the forms of the GNU
licenses. "And" binds before "or"; an operator after a comma binds last, as in Debian's format. Commas, slashes and
ampersands without an operator mean that all licenses apply, and what is "dual licensed" may be used under any of them.
Where an exception follows ("with"), the terms are another license, without an id here.
"""

import re
import tomllib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from auralith.curation.license_ids import License, spdx_licensing
from auralith.curation.license_parsing import parse, plain_text

Operator = Literal["AND", "OR"]


@dataclass(frozen=True)
class Joined:
    """Two or more expressions, of which all apply, or any may be chosen."""

    operator: Operator
    parts: "tuple[Expression, ...]"


Expression = License | Joined
LONGEST = 2_000
"""Length, in characters, beyond which a text is no expression."""
_DEEPEST = 20
_LEAD = re.compile(
    r"^[\s:]*(?:(?:this (?:work|file|sound|track|recording) is|is|either|both|available|released|distributed|published"
    r"|licen[sc]ed|licen[sc]es?\s*:|under|the terms of|your choice of|the|an?)\b[\s:]*)+", re.I
)  # fmt: skip
_DUAL = re.compile(r"^\W*(?:(?:this \w+ )?is\s+)?(?:dual|tri|multi|multiple|triple)[\s-]?licen[sc](?:ed?|ing|es)\b[\s:,-]*(?:under\b)?", re.I)  # fmt: skip
_OPTION = r"(?:at your (?:option|choice)|\(at your (?:option|choice)\))"
_LATER = re.compile(
    rf",?\s*(?P<open>\()?\s*\bor\b[\s,-]*(?:{_OPTION}[\s,]*)?(?:any\s+)?(?:later|newer|higher|above|greater)\b"
    rf"(?:\s+versions?)?(?:,?\s*{_OPTION})?(?(open)\s*\))",
    re.I,
)
_OPERATORS = re.compile(r"([()]|,\s*(?:and/or|and|or)\b|\b(?:and/or|and|or|with)\b|,|;|&&?|\|\|?)", re.I)  # fmt: skip
_GNU = re.compile(
    r"(?:gnu)?(?P<kind>[al]|affero|lesser|library)?(?:gpl|generalpublic)(?:v|ver|version)?"
    r"(?P<version>[123](?:[.][01])?)(?P<later>\+|orlater|only)?"
)
_WORDS = re.compile(r"^the|(?:publiclicen[sc]e|licen[sc]es?|licen[sc]ed)$")
_GNU_VERSIONS = {"": ("1.0", "2.0", "3.0"), "L": ("2.0", "2.1", "3.0"), "A": ("1.0", "3.0")}


def read_expression(written: str) -> Expression | None:
    """Return the expression that a text is; None if any part of it isn't understood. Never raises."""
    text = plain_text(written)
    if not text or len(text) > LONGEST:
        return None
    is_dual = bool(dual := _DUAL.match(text))
    text = _LATER.sub("+", text[dual.end() :] if dual else text).rstrip(" .")
    found = _Parser(list(_tokens(text)), is_dual).whole()
    if is_dual and not isinstance(found, Joined):
        return None  # a second license that isn't named
    return found


def shown(expression: Expression) -> str:
    """Return an expression as SPDX writes it; a license without an id as the license of its deed's code."""
    if isinstance(expression, License):
        return expression.spdx or f"LicenseRef-{expression.code}"
    parts = (
        f"({shown(part)})" if isinstance(part, Joined) else shown(part) for part in expression.parts
    )
    return f" {expression.operator} ".join(parts)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Yield operators by their kinds and the texts between them: "," stands for all that list without an operator."""
    for place, part in enumerate(_OPERATORS.split(text)):
        word = part.strip()
        if place % 2 == 0:
            if word:
                yield "text", word
        elif word in "()":
            yield word, word
        elif word in (",", ";", "&", "&&"):
            yield ("list" if word in ",;" else "AND"), word
        elif word in ("|", "||"):
            yield "OR", word
        elif word.lower() == "with":
            yield "WITH", word
        else:
            kind = "AND" if word.lower().endswith("and") else "OR"
            yield (f",{kind}" if word.startswith(",") else kind), word


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, tokens: list[tuple[str, str]], is_dual: bool) -> None:
        kinds = {kind.lstrip(",") for kind, _ in tokens} & {"AND", "OR"}
        marks = {kind for kind, _ in tokens} & {"list", "("}
        self._is_dual = is_dual
        self._listed = "OR" if kinds == {"OR"} or is_dual else "AND"
        self._is_unclear = "list" in marks and (len(kinds) == 2 or ("(" in marks and "OR" in kinds))
        if "list" in marks or (is_dual and len(kinds) < 2):
            tokens = [(self._in_list(kind), word) for kind, word in tokens]
        self._tokens = tokens
        self._at = 0

    def _in_list(self, kind: str) -> str:
        """Return the operator that a list has between all of its members."""
        return self._listed if kind.lstrip(",") in ("list", "AND", "OR") else kind

    def whole(self) -> Expression | None:
        """Return the expression of all tokens."""
        if self._is_unclear:
            return None
        found = self._level(0, 0)
        return found if self._at == len(self._tokens) else None

    def _level(self, level: int, depth: int) -> Expression | None:
        """Return parts joined by the operators of a level, the one that binds last first."""
        levels: tuple[tuple[str, ...], ...] = ((",OR",), (",AND",), ("OR",), ("AND",))
        if level == len(levels):
            return self._part(depth)
        parts = [self._level(level + 1, depth)]
        while self._kind() in levels[level]:
            self._at += 1
            parts.append(self._level(level + 1, depth))
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        operator: Operator = "OR" if levels[level][0].endswith("OR") else "AND"
        return known[0] if len(known) == 1 else Joined(operator, tuple(known))

    def _part(self, depth: int) -> Expression | None:
        if self._kind() == "(" and depth < _DEEPEST:
            self._at += 1
            inner = self._level(0, depth + 1)
            return inner if self._next() == ")" else None
        if self._kind() != "text":
            return None
        text = self._tokens[self._at][1]
        self._at += 1
        kinds = [kind for kind, _ in self._tokens[self._at : self._at + 3]]
        if kinds == ["(", "text", ")"]:  # the same again: "Creative Commons Zero (CC0)"
            return self._restated(text)
        if self._kind() == "WITH":
            return self._excepted(text)
        return _license(text) or self._slashed(text)

    def _restated(self, text: str) -> License | None:
        again = self._tokens[self._at + 1][1]
        self._at += 3
        whole, first, second = (_license(part) for part in (f"{text} ({again})", text, again))
        return whole or (first if first == second else None)

    def _excepted(self, text: str) -> License | None:
        self._at += 1
        found, kind = _license(text), self._next()
        return License("other") if found and found.code == "other" and kind == "text" else None

    def _slashed(self, text: str) -> Expression | None:
        """Return licenses between slashes: all of them, or any if the work is dual licensed."""
        found = [_license(part) for part in text.split("/")]
        known = [one for one in found if one is not None]
        if len(found) < 2 or len(known) < len(found):
            return None
        return Joined("OR" if self._is_dual else "AND", tuple(known))

    def _kind(self) -> str | None:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else None

    def _next(self) -> str | None:
        kind = self._kind()
        self._at += 1
        return kind


def _license(text: str) -> License | None:
    """Return the one license that a text names; None if it names none, several, or anything besides."""
    text = _LEAD.sub("", text).strip(" .:")
    key = _key(text)
    if not key:
        return None
    names = _names()
    for name in (key, _WORDS.sub("", key)):
        if (id := names.get(name)) is not None:
            return License("other", other_id=id or None)
        if id := _gnu(name):
            return License("other", other_id=id)
    found = parse(text)
    if not found.understood or found.restricted or found.is_choice:
        return None
    kinds = set(found.licenses)
    return kinds.pop() if len(kinds) == 1 else exact(kinds)


def exact(licenses: Collection[License]) -> License | None:
    """Return the license whose version and port the others leave open: "CC BY (Attribution 4.0)"."""
    best = max(licenses, key=lambda one: (one.version or "", one.port or ""), default=None)
    agree = best is not None and all(
        one.code == best.code
        and one.version in (None, best.version)
        and one.port in (None, best.port)
        for one in licenses
    )
    return best if agree else None


def _gnu(key: str) -> str | None:
    """Return the SPDX id of "gpl2+" or "lgplv2.1"; None for other keys and for versions that don't exist."""
    match = _GNU.fullmatch(key)
    if match is None:
        return None
    kind = {"affero": "A", "lesser": "L", "library": "L"}.get(
        match["kind"] or "", (match["kind"] or "").upper()
    )
    version = match["version"] if "." in match["version"] else f"{match['version']}.0"
    if version not in _GNU_VERSIONS[kind]:
        return None
    return f"{kind}GPL-{version}-{'or-later' if match['later'] in ('+', 'orlater') else 'only'}"


@cache
def _names() -> dict[str, str]:
    """Return the SPDX id of each name's key; an empty one where the name leaves it open."""
    text = (files("auralith.curation") / "license_names.toml").read_text(encoding="utf-8")
    listed = {_key(name): id for id, names in tomllib.loads(text).items() for name in names}
    ids = {_key(id): id for id in spdx_licensing().known_symbols if not id.startswith("CC")}
    return ids | listed


def _key(text: str) -> str:
    """Return a name without letter case, spaces, hyphens, quotes and the beginning of a link; dots and pluses count."""
    bare = re.sub(r"^https?://(?:www\.)?|/+$", "", text.strip().casefold())
    return re.sub(r"[\s\-_,'\"]+", "", bare)
