"""Numbers in free text, in digits and in words, and what stands around them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_UNITS += "seventeen eighteen nineteen".split()
_TENS = dict(
    zip(
        "twenty thirty forty fifty sixty seventy eighty ninety".split(),
        range(20, 100, 10),
        strict=True,
    )
)
_VALUES = {word: value for value, word in enumerate(_UNITS)} | _TENS
_UNIT, _TEN = ("|".join(sorted(words, key=len, reverse=True)) for words in (_UNITS, _TENS))
_SMALL = rf"(?:(?:{_TEN})(?:[\s-](?:{_UNIT}))?|(?:{_UNIT}))"
DIGITS = r"(?<![a-z\d.])(?<!\d,)(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
"""Digits with a decimal point or comma, or with commas between thousands; not those in "C4" or "1.2.3"."""
WORDS = rf"\b(?:(?:a|{_UNIT})\s+hundred(?:\s+(?:and\s+)?{_SMALL})?|{_SMALL})\b"
NUMBER = rf"(?:{DIGITS}|{WORDS})"
"""A number in digits, or in words below a thousand. For patterns that ignore case."""
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_NEGATION = re.compile(
    r"\b(?:no|not|without|never|avoid|isn't|non)[\s-]+(?:(?:a|an|any|in|at)\s+)?$", re.I
)
_SAME = str.maketrans(
    {"♯": "#", "♭": "b", "–": "-", "—": "-", "‑": "-", "−": "-", "’": "'", "\u00a0": " "}
)


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """A value that a text states, and where."""

    value: T
    start: int
    stop: int
    text: str
    """The characters [start, stop) of the text."""


def plain(text: str) -> str:
    """Return a text of the same length with plain signs for accidentals, dashes, apostrophes and spaces."""
    return text.translate(_SAME)


def number(text: str) -> float:
    """Return the value of what `NUMBER` matches."""
    if text[0].isdigit() or text[0] == ".":
        if _THOUSANDS.fullmatch(text):
            return float(text.replace(",", ""))
        return float(text.replace(",", "."))
    total = 0
    for word in re.split(r"[\s-]+", text.lower()):
        if word == "hundred":
            total = max(total, 1) * 100
        else:
            total += _VALUES.get(word, 0)
    return float(total)


def stated_matches(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Return the matches of a pattern that no word before them denies ("no loop", "not in C minor")."""
    for match in pattern.finditer(text):
        if not _NEGATION.search(text[: match.start()]):
            yield match
