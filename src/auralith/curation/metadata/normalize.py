"""Normalize titles and names, so that those that differ only in spelling compare equal.

    repair      decode HTML entities and UTF-8 that was read as Latin-1 (ftfy), and nothing else: most text is right
    fold        NFKD without combining marks, casefold; full-width forms become ASCII
    strip       move aside file suffix and track number, then guests, then bracketed qualifiers
    words       & becomes and, a leading "the" is dropped, punctuation becomes space

Only the first 1,000 characters count, with runs of blanks as one: several patterns take quadratic time.

No step may empty a text, so "(Live)" and "feat." remain titles. Scripts other than Latin stay as they are; `latin` gives
a second key, which equals the key of a list that writes the same name in Latin letters. Letters without an entry in its
tables stay: a guess at the reading of a Chinese character would invent names.
"""

import html
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

from auralith.extras import require

LONGEST = 1_000
"""Number of leading characters of a title or a name that are compared."""
_BLANKS = re.compile(r"[ \t\n\r\f\v]+")
_SUFFIX = re.compile(r"\s*\.(mp3|wav|flac|ogg|aiff?|m4a|wma|opus)\s*$")
_TRACK_NUMBER = re.compile(
    r"^\s*(?:0\d{1,2}(?:\s*[-._)]\s*|\s+)|\d{1,3}(?:[.)]\s+|_(?!\d)|\s+-\s+))(?=\S)"
)
_GUEST_WORD = r"(?:(?:feat|ft)\.\s*|(?:feat|ft|featuring)\s+)"
_BRACKETED_GUESTS = re.compile(rf"\s*[(\[]\s*(?:{_GUEST_WORD}|with\s+)([^)\]]+)[)\]]")
_GUESTS = re.compile(rf"(?<![\s])(?<!\d(?=\s+ft\s))\s+-?{_GUEST_WORD}([^(\[]+)")
"""Pattern of guests behind a title; it does not match after a number, where "ft" means feet."""
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
_CYRILLIC = dict(
    zip(
        "абвгдезийклмнопрстуфхцчшщъыьэюяёіїєґўјљњћђџ",
        "a b v g d e z i y k l m n o p r s t u f kh ts ch sh shch  y  e yu ya e i yi ye g u j lj nj c dj dz".split(
            " "
        ),
        strict=True,
    )
) | {"ж": "zh"}
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξοπρσςτυφχψω",
        "a v g d e z i th i k l m n x o p r s s t y f ch ps o".split(),
        strict=True,
    )
)
_ARMENIAN = dict(
    zip(
        "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփքօֆ",
        "a b g d e z e y t zh i l kh ts k h dz gh ch m y n sh o ch p j r s v t r ts w p k o f".split(),
        strict=True,
    )
)
_LETTERS = _CYRILLIC | _GREEK | _ARMENIAN
_TABLE = str.maketrans(_LETTERS | {letter.upper(): text for letter, text in _LETTERS.items()})
_KANA = ("HIRAGANA LETTER ", "KATAKANA LETTER ")


@dataclass(frozen=True, slots=True)
class Normalized:
    """A title or a name in the spelling that is compared, and the parts that were moved aside."""

    key: str
    """Words with single spaces; empty if the text has neither a letter nor a digit."""
    flags: tuple[str, ...] = ()
    """Kinds of parts that were moved aside, sorted: "suffix", "track_number", "year" and qualifiers such as "live"."""
    guests: tuple[str, ...] = ()
    signs: str = ""
    """The folded text if the key is empty, so that "@" equals only "@"."""

    @property
    def comparable(self) -> str:
        """Return the text to compare: the key, or the signs of a title without words; empty if there is neither."""
        return self.key or self.signs


@lru_cache(maxsize=1 << 16)
def normalize(raw: str) -> Normalized:
    """Return the normalized form of a title or a name; never raises."""
    return _normalize_repaired(repair(_beginning(raw)))


@lru_cache(maxsize=1 << 16)
def normalize_latin(raw: str) -> Normalized:
    """Return the normalized form of the text in Latin letters; that of `normalize` if it is in Latin letters already."""
    if raw.isascii():
        return normalize(raw)
    return _normalize_repaired(latin(repair(_beginning(raw))))


def _beginning(text: str) -> str:
    """Return what counts of a text. Blanks beyond ASCII stay: in wrongly decoded UTF-8 they are bytes of a letter."""
    return _BLANKS.sub(" ", text[: 1 << 20]).strip(" ")[:LONGEST].rstrip(" ")


def repair(raw: str) -> str:
    """Decode HTML entities and repair wrongly decoded UTF-8; good text of any script is returned unchanged."""
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
    """Return the text in NFKD without combining marks, casefolded."""
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
    """Return whether a character is a letter, a digit, or a vowel sign of a script that writes them as marks."""
    return unicodedata.category(sign)[0] in "LNM"


def latin(text: str) -> str:
    """Return the text with Cyrillic, Greek, Armenian and kana in Latin letters, roughly as music catalogues write them."""
    composed = unicodedata.normalize("NFKC", _without_accents(text))
    return "".join(_kana(sign) for sign in composed.translate(_TABLE))


def _without_accents(text: str) -> str:
    """Drop the accents of Greek; marks that make other letters, as in Cyrillic and kana, stay."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(sign for sign in decomposed if sign not in "\u0301\u0300\u0342\u0344")


def _kana(sign: str) -> str:
    if sign == "ー":  # lengthens the vowel before it
        return ""
    if not "\u3041" <= sign <= "\u30fa":
        return sign
    name = unicodedata.name(sign, "")
    reading = next((name.removeprefix(prefix) for prefix in _KANA if name.startswith(prefix)), sign)
    return reading.removeprefix("SMALL ").lower()
