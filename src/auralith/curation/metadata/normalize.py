"""One spelling for titles and names, so that what differs only in how it was written compares equal.

    repair      HTML entities, UTF-8 that was read as Latin-1 (ftfy), and nothing else: most non-ASCII text is right
    fold        NFKD, combining marks dropped, casefold; full-width forms become ASCII
    strip       file suffix and track number, then guests, then bracketed qualifiers: moved aside, not lost
    words       & is and, a leading "the" goes, punctuation becomes space

Only the first 1,000 characters count, blanks in a row as one: several patterns take quadratic time.

Every step keeps what it would otherwise empty, so "(Live)" and "feat." remain titles. Scripts other than Latin stay as
they are; `latin` gives a second key for those who wrote the same name in Latin letters.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from auralith.curation.metadata.transliteration import latin
from auralith.extras import require

LONGEST = 1_000
"""Characters of a title or a name that are compared."""
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_SUFFIX = re.compile(r"\s*\.(mp3|wav|flac|ogg|aiff?|m4a|wma|opus)\s*$")
_TRACK_NUMBER = re.compile(
    r"^\s*(?:0\d{1,2}(?:\s*[-._)]\s*|\s+)|\d{1,3}(?:[.)]\s+|_(?!\d)|\s+-\s+))(?=\S)"
)
_GUEST_WORD = r"(?:(?:feat|ft)\.\s*|(?:feat|ft|featuring)\s+)"
_BRACKETED_GUESTS = re.compile(rf"\s*[(\[]\s*(?:{_GUEST_WORD}|with\s+)([^)\]]+)[)\]]")
_GUESTS = re.compile(rf"(?<![\s])(?<!\d(?=\s+ft\s))\s+-?{_GUEST_WORD}([^(\[]+)")
"""Not after a number, where "ft" are feet."""
_GUEST_SEPARATOR = re.compile(r"\s*(?:,|;|&|\band\b)\s*")
_QUALIFIERS = (
    "remaster",
    "live",
    "remix",
    "version",
    "mono",
    "edit",
    "instrumental",
    "acoustic",
    "demo",
)
_QUALIFIER = re.compile(rf"\b({'|'.join(_QUALIFIERS)})(?:ed|ing|s)?\b")
_YEAR = re.compile(r"\b(?:19|20)\d\d\b")
_BRACKET = re.compile(r"\s*[(\[]([^()\[\]]*)[)\]]")
_DASH = re.compile(
    rf"\s+-\s+((?:live\s+(?:at|from|in)\s.*)|(?:[^-]*\b(?:{'|'.join(_QUALIFIERS)})(?:ed)?(?:\s+(?:19|20)\d\d)?))\s*$"
)
_LEADING_THE = re.compile(r"^the\s+(?=\S)")
_NOT_ASCII_WORD = re.compile(r"[^0-9a-z]+")


@dataclass(frozen=True, slots=True)
class Normalized:
    """A title or a name in the spelling that is compared, and what was moved aside on the way."""

    key: str
    """Words with single spaces; empty where there is neither a letter nor a digit."""
    flags: tuple[str, ...] = ()
    """Of "suffix", "track_number", "year" and the qualifiers ("live", "remaster"), sorted."""
    guests: tuple[str, ...] = ()
    signs: str = ""
    """The folded text where the key is empty, so that "@" equals "@" and nothing else."""

    @property
    def comparable(self) -> str:
        """What to compare: the key, or the signs of a title without a word. Empty means that there is nothing."""
        return self.key or self.signs


@lru_cache(maxsize=1 << 16)
def normalize(raw: str) -> Normalized:
    """The key of a title or a name; never raises, whatever the text."""
    return _normalize_repaired(repair(_beginning(raw)))


@lru_cache(maxsize=1 << 16)
def normalize_latin(raw: str) -> Normalized:
    """The second key, of the text in Latin letters; the first key again where it is in Latin letters anyway."""
    if raw.isascii():
        return normalize(raw)
    return _normalize_repaired(latin(repair(_beginning(raw))))


def _beginning(text: str) -> str:
    """Return what counts of a text. Blanks beyond ASCII stay: in wrongly decoded UTF-8 they are bytes of a letter."""
    return _BLANKS.sub(" ", text[: 1 << 20]).strip(" ")[:LONGEST].rstrip(" ")


def repair(raw: str) -> str:
    """HTML entities decoded and wrongly decoded UTF-8 put right; good text of any script comes back as it is."""
    text = html.unescape(raw) if "&" in raw else raw
    return text if text.isascii() else str(require("ftfy", "curate").fix_encoding(text))


def _normalize_repaired(text: str) -> Normalized:
    folded = _beginning(fold(text))
    text, file_flags = _strip_file_marks(folded)
    text, guests = _strip_guests(text)
    text, qualifiers = _strip_qualifiers(text)
    key = _words(text)
    return Normalized(
        key=key,
        flags=tuple(sorted({*file_flags, *qualifiers})),
        guests=tuple(word for word in map(_words, guests) if word),
        signs="" if key else folded,
    )


def fold(text: str) -> str:
    """NFKD without combining marks, in one case."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text)
    bare = "".join(sign for sign in decomposed if not unicodedata.combining(sign))
    return unicodedata.normalize("NFKC", bare.casefold())


def _strip_file_marks(text: str) -> tuple[str, list[str]]:
    flags = []
    for name, pattern in (("suffix", _SUFFIX), ("track_number", _TRACK_NUMBER)):
        if (shorter := pattern.sub("", text)) != text and _has_word(shorter):
            text = shorter
            flags.append(name)
    return text.replace("_", " "), flags


def _strip_guests(text: str) -> tuple[str, list[str]]:
    guests: list[str] = []
    for pattern in (_BRACKETED_GUESTS, _GUESTS):
        found = pattern.findall(text)
        if found and _has_word(shorter := pattern.sub(" ", text)):
            text = shorter
            guests += [name for names in found for name in _GUEST_SEPARATOR.split(names)]
    return text, guests


def _strip_qualifiers(text: str) -> tuple[str, set[str]]:
    flags: set[str] = set()
    for match in _BRACKET.finditer(text):
        if (found := _qualifiers(match[1])) and _has_word(shorter := text.replace(match[0], " ")):
            text = shorter
            flags |= found
    while (match := _DASH.search(text)) and _has_word(text[: match.start()]):
        text = text[: match.start()]
        flags |= _qualifiers(match[1])
    return text, flags


def _qualifiers(text: str) -> set[str]:
    return set(_QUALIFIER.findall(text)) | ({"year"} if _YEAR.search(text) else set())


def _words(text: str) -> str:
    spaced = _spaced(text.replace("&", " and "))
    return _LEADING_THE.sub("", spaced)


def _spaced(text: str) -> str:
    if text.isascii():
        return _NOT_ASCII_WORD.sub(" ", text).strip()
    return " ".join("".join(sign if _is_word_sign(sign) else " " for sign in text).split())


def _has_word(text: str) -> bool:
    return any(map(_is_word_sign, text))


@lru_cache(maxsize=1 << 12)
def _is_word_sign(sign: str) -> bool:
    """Letters, digits, and the vowel signs of scripts that write them as marks."""
    return unicodedata.category(sign)[0] in "LNM"
