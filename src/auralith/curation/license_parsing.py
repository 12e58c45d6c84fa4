"""Read license statements: names, short forms, SPDX ids and links of Creative Commons, several in one field.

A field is cut into tokens, each word with a class from `license_words.toml`, and the sequence of classes must be a
sequence of statements: whatever is not understood ("Attribution, but ask me first", "CC0: no", "licensed by") makes
the whole field unknown, so a denial can't pass as a grant. NC, ND, SA or another license anywhere are enough to refuse
it. Spaces, hyphens and line breaks between words don't count, so that no spelling of "non-commercial" is overlooked.
All passes are linear in the length of the text.
"""

import html
import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import permutations
from typing import NamedTuple
from urllib.parse import unquote

from auralith.curation.license_ids import ELEMENTS, License, is_known_id

_FIXED_VERSIONS: dict[str, str] = dict.fromkeys(
    ("zero", "mark", "sampling", "sampling+", "nc-sampling+"), "1.0"
)
_BY_VERSIONS = {"1.0", "2.0", "2.1", "2.5", "3.0", "4.0"}
_OTHER_CODES = {"gpl", "lgpl", "mit", "bsd", "devnations"}
_WINDOW = 8
"""Number of words in the longest phrase; each Chinese character is a word."""
_TELLING = 8
"""Least number of letters of a restriction that is recognized inside other words; shorter ones must be words."""
_HIDDEN = dict.fromkeys((0xAD, *range(0x200B, 0x2010), 0x2060, 0xFEFF))
"""Soft hyphens, zero-width characters and direction marks: they are invisible, so they don't separate words."""
_SIGNS = {ord(sign): "-" for sign in "‐‑‒–—―−"} | {ord(sign): "'" for sign in "’‘“”„«»「」『』"}
_SIGNS |= {ord(sign): "," for sign in "、。·・"}
_SEPARATORS = r"\s\-_:,;()\[\]{}/.&'\"|"
_WRAP = r"(?:[ \t]*\n[ \t]*)?"
_LANGUAGE = r"[.-][a-z]{2,5}(?:[_-][a-z]{2,6}){0,2}"
_SITE = r"(?<![\w@.%-])(?:(?:https?:)?//)?(?:www\.)?"
_LINK = (
    rf"{_SITE}creativecommons\.org/+{_WRAP}(?:licenses|publicdomain(?=/+{_WRAP}(?:zero|mark|certification)/))/+{_WRAP}"
    rf"(?P<code>[a-z+-]+)(?:/+{_WRAP}(?P<of_link>\d\.\d)(?:/+(?P<port>(?!deed|legal|rdf)[a-z]{{2,8}}))?)?"
    rf"(?:/+(?:(?:deed|legalcode)(?P<language>{_LANGUAGE})?|rdf))?/*(?P<query>[?#][\w=&.~:%/+-]*)?"
)
_BUTTON = (
    rf"{_SITE}(?:i\.creativecommons\.org|licensebuttons\.net)/[lp]/(?P<button>[a-z+-]+)/(?P<of_button>\d\.\d)"
    r"(?:/(?P<button_port>[a-z]{2,8}))?/\d+x\d+\.png"
)
_LINK_END = r"(?=[\s)\],;>\"'|}]|[.:](?:\s|\Z)|\Z)"
_TOKEN = re.compile(
    rf"(?P<link>(?:{_LINK}|{_BUTTON}){_LINK_END})"
    r"|(?P<version>(?<!\d)(?<!\d\.)\d\.\d(?!\d|\.\d))"
    r"|(?P<word>[\u4e00-\u9fff\u3005]|[\u3040-\u30fa\u30fc-\u30ff]+|\d+|[^\W\d_\u3005\u3040-\u30ff\u4e00-\u9fff]+)"
    rf"|(?P<odd>\.\.+|[^{_SEPARATORS}\w]+|[^{_SEPARATORS}])",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"[PWRHE]*(?P<grant>K|Z|M|C|U|nQ|Qn?|q|(?:PB|A|\AB(?=\Z)|(?<![WRH])B(?=v?V))[nds]*)"
    r"(?P<rest>[WT]*(?:L[WT]*)?(?:v?V[WT]*(?:L[WT]*)?)?)(?P<join>[&O](?!\Z))?"
)
_CODES = {"Z": "zero", "M": "mark", "C": "pddc", "U": "public-domain", "Q": "sampling+"}
_CODES |= {"q": "sampling", "nQ": "nc-sampling+", "Qn": "nc-sampling+"}
_ELEMENT_OF = {"n": "nc", "d": "nd", "s": "sa"}
_TAG = re.compile(r"<(/?)([a-z][a-z0-9]*)((?:[^<>\"']|\"[^\"]*\"|'[^']*')*+)>", re.IGNORECASE)
_TEXT_TAGS = {"a", "img", "br", "p", "span", "div", "b", "i", "em", "strong", "small", "li", "ul"}
_ATTRIBUTE = re.compile(r"([\w:-]++)\s*+=\s*+(?:\"([^\"]*)\"|'([^']*)')|([\w:-]++|[^\s/])")
_SILENT_ATTRIBUTES = {"rel", "target", "lang", "hreflang"}
_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,30});", re.IGNORECASE)
_AUTOLINK = re.compile(
    r"<((?:(?:https?:)?//|(?:www\.)?creativecommons\.org/)[^<>\s]+)>", re.IGNORECASE
)
_PLUS = re.compile(r"(?<!licenses/)(?<!licenses/nc-)\bsampling ?\+", re.IGNORECASE)
_SPDX_LINK = re.compile(
    r"(?<!\S)https?://(?:www\.)?spdx\.org/licenses/([\w.+-]+?)(?:\.html|\.json)?/?(?!\S)", re.I
)
_JSON_KEY = re.compile(r"[\"'](?:licen[cs]e|name|url|title|id|type|spdx(?:_?id)?)[\"']\s*:", re.I)
_DENIALS = {"no", "not", "non", "never", "without", "except"}


@dataclass(frozen=True)
class Statements:
    """The statements in a text."""

    licenses: tuple[License, ...] = ()
    """Licenses in order, and last the restrictions outside of understood statements."""
    understood: bool = True
    """Everything in the text is understood; also true for a blank text."""
    is_choice: bool = False
    """The statements are joined by "or"."""
    restricted: bool = False
    """Restrictions, or another license, stand outside of understood statements."""


class _Token(NamedTuple):
    kind: str
    """Class in `license_words.toml`, or K for a link, V for a version, L for a port."""
    value: str
    """Version, port code, or squashed word."""
    license: License | None = None
    """License of a link."""


def parse(written: str) -> Statements:
    """Return the statements in text, HTML, Markdown or a JSON list, by names, links or both; never raises."""
    text = plain_text(written)
    if not text:
        return Statements()
    if is_known_id(text) and not text.startswith(("CC", "LicenseRef")):
        return Statements((License("other", other_id=text),))
    tokens = _classified(text)
    found, is_read, is_choice = _statements(tokens)
    limits = _limits(text, tokens) - {name for one in found for name in one.elements}
    if limits:
        code = "-".join(["by", *(name for name in ELEMENTS if name in limits)])
        found, is_read = [*found, License(code)], True
    is_other = _has_other_license(text, tokens)
    if is_other:
        found, is_read = [*found, License("other")], True
    is_read = is_read and not text.endswith("-")  # cut off: what follows "CC BY-" is not known
    return Statements(tuple(found), is_read, is_choice, bool(limits) or is_other)


def plain_text(written: str) -> str:
    """Return the text without markup and encodings: one form of each character, without accents, trimmed."""
    text = written.replace("\r\n", "\n").replace("\r", "\n").replace("\\/", "/")
    text = _AUTOLINK.sub(r" \1 ", text)
    if "<" in text:
        text = _TAG.sub(_tag_text, text)
    text = unquote(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text))
    text = unicodedata.normalize("NFKC", text.translate(_HIDDEN)).translate(_HIDDEN)
    text = _SPDX_LINK.sub(r"\1", _without_accents(text.translate(_SIGNS)))
    text = _PLUS.sub("sampling plus ", text)
    if "{" in text:
        text = _JSON_KEY.sub(" ", text)
    return text.strip()


def _tag_text(tag: re.Match[str]) -> str:
    """Return the text of a tag for text, links or pictures; for any other tag, a character that is not understood."""
    name = tag[2].lower()
    if name not in _TEXT_TAGS:
        return " \ufffd "
    parts = []
    for attribute, double, single, odd in _ATTRIBUTE.findall(tag[3]):
        key, value = attribute.lower(), double or single
        if odd or (key == "style" and value.replace(" ", "").rstrip(";") != "border-width:0"):
            parts.append("\ufffd")
        elif key in ("href", "src", "alt", "title"):
            parts.append(value)
        elif key != "style" and key not in _SILENT_ATTRIBUTES:
            parts.append("\ufffd")
    return f" {' '.join(parts)} "


def _without_accents(text: str) -> str:
    """Drop the accents of Latin letters. Combining marks stay, since they may strike a letter out."""
    if text.isascii():
        return text
    return "".join(
        unicodedata.normalize("NFD", sign)[0] if "À" <= sign <= "ſ" or "Ḁ" <= sign <= "ỿ" else sign
        for sign in text
    )


@cache
def _vocabulary() -> tuple[dict[str, str], dict[str, str], frozenset[str]]:
    """Return the class of each squashed phrase, the port of each country's name, and every beginning of either."""
    tables = tomllib.loads(
        (files("auralith.curation") / "license_words.toml").read_text(encoding="utf-8")
    )
    classes = {
        _squashed(phrase): kind
        for table in ("elements", "names", "phrases")
        for kind, phrases in tables[table].items()
        for phrase in phrases
    }
    for size in (1, 2, 3):
        for letters in permutations(_ELEMENT_OF, size):
            code = "by" + "".join(_ELEMENT_OF[letter] for letter in letters)
            classes |= {code: "A" + "".join(letters), "cc" + code: "PB" + "".join(letters)}
    countries = {
        _squashed(name): port for port, names in tables["countries"].items() for name in names
    }
    keys = (*classes, *countries)
    beginnings = frozenset(key[:end] for key in keys for end in range(1, len(key) + 1))
    return classes, countries, beginnings


def _squashed(phrase: str) -> str:
    """Return the letters and digits of a phrase, for comparison with words of a text."""
    return "".join(sign for sign in _without_accents(phrase).casefold() if sign.isalnum())


def _classified(plain: str) -> list[_Token]:
    """Return the tokens of a text: links, versions with their ports, and the longest phrases."""
    matches = list(_TOKEN.finditer(plain))
    tokens: list[_Token] = []
    place = 0
    while place < len(matches):
        match = matches[place]
        if match["link"]:
            tokens.append(_link_token(match))
        elif match["version"]:
            tokens.append(_Token("V", match["version"]))
        elif match["word"]:
            token, length = _phrase(matches, place)
            if length == 1 and (port := _port_code(plain, matches, place, tokens)):
                token = _Token("L", port)
            tokens.append(_version_of_digit(token, tokens))
            place += length - 1
        else:
            tokens.append(_Token("?", ""))
        place += 1
    return tokens


def _phrase(matches: list[re.Match[str]], place: int) -> tuple[_Token, int]:
    """Return the longest phrase of the vocabulary that begins here, with its number of words; else the unknown word."""
    classes, countries, beginnings = _vocabulary()
    best, length, key = None, 1, ""
    for size, match in enumerate(matches[place : place + _WINDOW], 1):
        key += (match["word"] or "\0").casefold()
        if key not in beginnings:
            break
        if kind := classes.get(key) or (key in countries and "L"):
            best, length = _Token(kind, countries.get(key, key)), size
    return best or _Token("?", matches[place]["word"].casefold()), length


def _version_of_digit(token: _Token, before: list[_Token]) -> _Token:
    """Return the 4 of "CC BY 4" as version 4.0, and any other token unchanged."""
    is_version = token.kind == "?" and token.value in ("1", "2", "3", "4")
    follows = before and before[-1].kind[-1] in "BAndsZv"
    return _Token("V", f"{token.value}.0") if is_version and follows else token


def _port_code(
    plain: str, matches: list[re.Match[str]], place: int, before: list[_Token]
) -> str | None:
    """Return the port if this word is a code after a version. "no" is Norway only if it can't be a denial."""
    word = matches[place]["word"]
    if not word or not before or before[-1].kind != "V":
        return None
    _, countries, _ = _vocabulary()
    code = word.casefold()
    if code not in countries.values():
        return None
    gap = plain[matches[place - 1].end() : matches[place].start()]
    if code == "no" and not _is_norway(plain, matches, place, gap):
        return None
    return code if gap.strip() in ("", "-", "/", "_", "(") else None


def _is_norway(plain: str, matches: list[re.Match[str]], place: int, gap: str) -> bool:
    """Return whether "no" is in capitals after one space, or in an id such as cc-by-3.0-no."""
    if matches[place]["word"] == "NO" and gap in (" ", "-", "/", "_"):
        return True
    start = max(0, matches[place].end() - len("cc-by-3.0-no"))
    id = plain[start : matches[place].end()]
    return re.fullmatch(r"cc[-_/]by[-_/]3\.0[-_/]no", id, re.I) is not None


def _link_token(match: re.Match[str]) -> _Token:
    """Return the license of a link; an unknown one, or one with a telling query, is not understood."""
    code, version = match["code"] or match["button"], match["of_link"] or match["of_button"]
    port = match["port"] or match["button_port"]
    query = (match["query"] or "") + (match["language"] or "")
    classes, _, _ = _vocabulary()
    asked = re.split(r"[\W_]+", query.casefold())
    found = _of_link(code.casefold(), version, port and port.casefold())
    if found is None or any(
        word in _DENIALS or classes.get(word) in ("n", "d", "s", "x") for word in asked
    ):
        return _Token("?", " ".join([*re.split(r"[-+]", code.casefold()), *asked]))
    return _Token("K", "", found)


def _of_link(code: str, version: str | None, port: str | None) -> License | None:
    if code in ("publicdomain", "certification"):
        return License("pddc")
    if code in _OTHER_CODES:
        return License("other")
    return _published(code, version, port) if version else _restricted(set(code.split("-")))


def _statements(tokens: list[_Token]) -> tuple[list[License], bool, bool]:
    """Return the licenses of the statements from the start, whether the text has nothing else, and whether "or" joins them."""
    classes = "".join(token.kind for token in tokens)
    owner = [token for token in tokens for _ in token.kind]
    found: list[License] = []
    joins: set[str] = set()
    place = 0
    while place < len(classes):
        match = _STATEMENT.match(classes, place)
        license = match and _license_of(match, owner)
        if match is None or license is None:
            return found, False, False
        found.append(license)
        joins.add(match["join"] or "")
        place = match.end()
    return found, bool(found), "O" in joins and "&" not in joins


def _license_of(match: re.Match[str], owner: list[_Token]) -> License | None:
    """Return the license of one statement; None if that version or port was never published."""
    grant, start = match["grant"], match.start("rest")
    rest = list(zip(match["rest"], owner[start : match.end("rest")], strict=True))
    versions = [token.value for kind, token in rest if kind == "V"]
    ports = [token.value for kind, token in rest if kind == "L"]
    if grant == "K":
        link = owner[match.start("grant")].license
        return link if not versions and not ports else None
    names = {"by"} | {_ELEMENT_OF[letter] for letter in grant if letter in _ELEMENT_OF}
    code = _CODES.get(grant) or "-".join(name for name in ELEMENTS if name in names)
    if len(ports) > 1:
        return None
    return _published(code, next(iter(versions), None), next(iter(ports), None))


def _published(code: str, version: str | None, port: str | None) -> License | None:
    """Return the license if Creative Commons published that version and port, or its restrictions if it has any."""
    _, countries, _ = _vocabulary()
    known_port = port is None or port in countries.values()
    if fixed := _FIXED_VERSIONS.get(code):
        is_known = version in (None, fixed) and known_port
        return License(code, fixed, port) if is_known else _restricted(set(code.split("-")))
    if code in ("pddc", "public-domain"):
        return License(code) if not version and not port else None
    elements = set(code.split("-"))
    if not elements <= set(ELEMENTS):
        return None
    ported = known_port and (port is None or version != "4.0")
    if not ported or version not in {None, *_BY_VERSIONS} or (version == "2.1" and port is None):
        return _restricted(elements)
    return License("-".join(name for name in ELEMENTS if name in elements), version, port)


def _restricted(names: set[str]) -> License | None:
    """Return a license of the NC, ND and SA elements in text that isn't fully understood, to refuse it; None without."""
    limits = [name for name in ("nc", "nd", "sa") if name in names]
    return License("-".join(["by", *limits])) if limits else None


def _limits(plain: str, tokens: list[_Token]) -> set[str]:
    """Return the NC, ND and SA elements anywhere in the text, understood or not."""
    of_words = {letter for token in tokens for letter in token.kind if letter in _ELEMENT_OF}
    of_links = {name for token in tokens if token.license for name in token.license.elements}
    classes, _, _ = _vocabulary()
    loose = {word for token in tokens if token.kind == "?" for word in token.value.split()}
    of_words |= {
        letter for word in loose for letter in classes.get(word, "") if letter in _ELEMENT_OF
    }
    of_words |= {kind for kind in _inside(plain) if kind in _ELEMENT_OF}
    return (of_links - {"by"}) | {_ELEMENT_OF[letter] for letter in of_words}


def _has_other_license(plain: str, tokens: list[_Token]) -> bool:
    return "©" in plain or any(token.kind == "x" for token in tokens) or "x" in _inside(plain)


def _inside(plain: str) -> Iterator[str]:
    """Yield the classes of restrictions and other licenses that are long enough to be recognized inside words."""
    classes, _, _ = _vocabulary()
    squashed = _squashed(plain)
    for phrase, kind in classes.items():
        if kind in "ndsx" and len(phrase) >= _TELLING and phrase in squashed:
            yield kind
