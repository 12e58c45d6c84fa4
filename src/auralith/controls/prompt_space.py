"""Placement, width, loops, fades, loudness and silence in free text."""

import re
from collections.abc import Iterator
from typing import Literal

from auralith.controls.numerals import number, stated_matches

Side = Literal["left", "right", "center"]
Width = Literal["wide", "mono"]
Fade = Literal["in", "out"]

_WHERE = r"(?P<side>left|right|cent(?:er|re))"
_SIDES = (
    re.compile(
        rf"\b(?:on|to|from|at|in|towards?)\s+(?:the\s+)?(?:far\s+|hard\s+|extreme\s+)?{_WHERE}(?:ed)?\b",
        re.I,
    ),
    re.compile(
        rf"\b(?:pan(?:ned|ning)?|hard|placed|positioned|far)[\s:=-]+(?:to\s+the\s+|fully\s+|hard\s+|slightly\s+|dead\s+)?{_WHERE}(?:ed)?\b",
        re.I,
    ),
    re.compile(
        rf"\b{_WHERE}(?:ed)?[\s-]+(?:channel|speaker|ear|pan(?:ned|ning)?|stereo|field)\b", re.I
    ),
    re.compile(r"\b(?P<side>cent(?:er|re))(?:e?d)\b", re.I),
    re.compile(rf"(?:^|[,;|])\s*{_WHERE}(?:ed)?(?:\s+side)?\s*(?=$|[,;|.])", re.I),
)
_NOT_SIDE_AFTER = re.compile(
    r"[\s-]+(?:of\s+(?!center|centre|the\s+(?:stereo|image|mix|field))|hand\b|after|away|now|before|when|then|moment|time"
    r"|behind|over\b|turn|to\s+(?:the\s+)?(?:left|right)|(?:and|or)\s+(?:the\s+)?(?:left|right)|foot|arm|stage\s+of)",
    re.I,
)
_NOT_SIDE_BEFORE = re.compile(
    r"(?:\b(?:turn\w*|veer\w*|driv\w+|swerv\w+|city|shopping|data|town|call|community|fitness|sports|medical|alternat\w+"
    r"|mov\w+|sweep\w*|travel\w*|pass\w*|fl(?:y|ies|ying)|pan(?:s|ning)|bounc\w+)\b[\w\s]*|\bleft\s+|\bright\s+|\b(?:left|right)\s+(?:and|or|to|then)\s+(?:the\s+)?)$",
    re.I,
)
_MOVING = re.compile(
    r"\bfrom\s+(?:the\s+)?(?:left|right)\b[\w\s]*?\bto\s+(?:the\s+)?(?:left|right)\b|\bleft\s+(?:and|to|or)\s+(?:the\s+)?right\b"
    r"|\bright\s+(?:and|to|or)\s+(?:the\s+)?left\b|\bping[\s-]?pong\b|\bside\s+to\s+side\b|\bauto[\s-]?pan",
    re.I,
)
_WIDTHS = (
    re.compile(
        r"\b(?P<width>wide)(?:[\s-]+(?:stereo|pad|synth\w*|image|reverb|panned|panning|sound|mix|strings|chorus|ambien\w+|drone|supersaw))\b",
        re.I,
    ),
    re.compile(r"\bstereo[\s-]+(?:field\s+|image\s+)?(?P<width>wide)\b", re.I),
    re.compile(
        r"(?:^|[,;|])\s*(?:(?:very|super|extra)\s+)?(?P<width>wide|mono)\s*(?=$|[,;|.])", re.I
    ),
    re.compile(
        r"\b(?P<width>mono)(?=[\s-]+(?!synth|lead|voice|legato|no\s+aware|lake|bass\s+synth)[a-z]|\s*$|[,;|.])",
        re.I,
    ),
    re.compile(r"\b(?P<width>mon)aural\b", re.I),
)
_LOOP = re.compile(
    r"\b(?:loop(?:s|ed|ing|able)?|seamless(?:ly)?)\b(?!\s*(?:pedal|station|hole|around))", re.I
)
_NOT_LOOP_BEFORE = re.compile(r"\b(?:fruity|fruit|chicago|time|for|hyper|feedback)[\s-]+$", re.I)
_FADE = re.compile(
    r"(?<!cross)(?<!cross-)\bfad(?:e|es|ed|ing)[\s-]*(?P<way>in|out|away|up|to\s+(?:silence|nothing|black))\b",
    re.I,
)
_WAYS: dict[str, Fade] = {"in": "in", "up": "in"}
_LOUDNESS = re.compile(
    r"(?:(?<!\w)-\s?)?(?<![\w.,])(?P<value>\d+(?:[.,]\d+)?)\s*(?:LUFS|LKFS)\b", re.I
)
_SILENCE = re.compile(
    r"\W*(?:(?:a|an|the|sound|of|only|just|digital|complete|total|pure|absolute|utter|dead|perfect|nothing|but"
    r"|[\d.]+|s|seconds?|minutes?|one|two|three|four|five|ten)\s+)*(?:silence|silent(?:\s+(?:audio|track|file|clip|recording))?)\W*",
    re.I,
)


def sides(text: str) -> Iterator[tuple[Side, int, int]]:
    """Yield placements: "panned left", "on the right", "centered"; none where the sound moves between sides."""
    if _MOVING.search(text):
        return
    for pattern in _SIDES:
        for match in stated_matches(pattern, text):
            word = match["side"].lower()
            before, after = text[: match.start()], match.end("side")
            ends = match.end()
            if _NOT_SIDE_AFTER.match(text, after) or _NOT_SIDE_AFTER.match(text, ends):
                continue
            if not _NOT_SIDE_BEFORE.search(before):
                yield _side(word), *match.span()


def widths(text: str) -> Iterator[tuple[Width, int, int]]:
    """Yield "wide" and "mono" where they are said of stereo, not of rivers or of monophonic synthesizers."""
    for pattern in _WIDTHS:
        for match in stated_matches(pattern, text):
            yield "wide" if match["width"].lower() == "wide" else "mono", *match.span("width")


def loops(text: str) -> Iterator[tuple[bool, int, int]]:
    """Yield where a loop is asked for."""
    for match in stated_matches(_LOOP, text):
        if not _NOT_LOOP_BEFORE.search(text[: match.start()]):
            yield True, *match.span()


def fades(text: str) -> Iterator[tuple[Fade, int, int]]:
    """Yield "in" and "out" for fades; crossfades are none."""
    for match in stated_matches(_FADE, text):
        yield _WAYS.get(match["way"].lower(), "out"), *match.span()


def loudnesses(text: str) -> Iterator[tuple[float, int, int]]:
    """Yield integrated loudness in LUFS: "-14 LUFS", with or without its sign."""
    for match in stated_matches(_LOUDNESS, text):
        yield -number(match["value"]), *match.span()


def silences(text: str) -> Iterator[tuple[bool, int, int]]:
    """Yield once where a text asks for nothing but silence."""
    if _SILENCE.fullmatch(text):
        yield True, 0, len(text)


def _side(word: str) -> Side:
    return "left" if word == "left" else "right" if word == "right" else "center"
