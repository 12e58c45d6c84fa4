"""Tempo, bars, meter, seconds and numbers of events in free text."""

import re
from collections.abc import Iterator

from auralith.controls.numerals import DIGITS, NUMBER, number, stated_matches

Reading = tuple[float, int, int]
"""A value and the characters [start, stop) that state it."""

BPM_LIMITS = (20.0, 400.0)
BARS_LIMITS = (0.25, 512.0)
SECONDS_LIMITS = (0.01, 3_600.0)
MOST_EVENTS = 64

_PER_MINUTE = (
    r"(?:bpms?|b\.p\.m\.?|beats?[\s-]+(?:per|a)[\s-]+min(?:ute)?|beats/min(?:ute)?)(?![a-z])"
)
_RANGE = r"\s*(?:-|to|or|and|~|/)\s*"
_TEMPO = re.compile(
    rf"(?:(?P<low>{DIGITS}){_RANGE})?(?P<value>{NUMBER})\s*[-,_]?\s*{_PER_MINUTE}", re.I
)
_NAMED_TEMPO = re.compile(
    r"(?:\b(?:bpm|tempo|speed of)|♩|quarter(?:[\s-]note)?\s*=)"
    r"(?P<sign>(?:\s*[:=]|\s+(?:is|of|at|around|about|approximately|roughly|near|set|to))*)\s*-?\s*"
    rf"(?P<value>{DIGITS})"
    r"(?!\s*(?:%|percent|k?hz|hertz|s\b|sec|ms\b|min|bars?|beats?\b(?!\s+per)|measures?|years?|times|x\b|/|db|[-\s]?bit|[-\s]?step))(?!\w|\.\d)",
    re.I,
)
_MOST_BARE_TEMPO = 250.0
"""After "tempo" without a sign: "mid tempo 303 acid" names a machine."""

_BARS = re.compile(rf"(?P<value>{NUMBER})[\s-]*(?:bars?|measures?)(?![\w-]*\w)", re.I)
_HYPHENED_BARS = re.compile(rf"(?P<value>{NUMBER})[\s-]*(?:bars?|measures?)(?=-[a-z])", re.I)
_NAMED_BARS = re.compile(rf"\b(?:bars|measures)\s*[:=]\s*(?P<value>{DIGITS})(?!\w)", re.I)
_NOT_BARS = re.compile(
    r"[\s-]+(?:of\s+(?:gold|silver|soap|chocolate|candy|metal|steel|iron|pressure)|blues|pressure|charts?|stools?"
    r"|fights?|codes?|graphs?|counters?|tabs?|magnets?|clang\w*|of\s+a\s+(?:cage|prison))",
    re.I,
)

_METER = re.compile(r"(?<![\d/.])(?P<beats>[2-9]|1[0-2])/(?P<unit>[48])(?![\d/])", re.I)
_METER_AFTER = re.compile(
    r"\s*(?:time|meter|metre|signature|groove|beat|rhythm|waltz|feel|swing|loop|$|[,;|.])", re.I
)
_METER_BEFORE = re.compile(r"(?:\bin|time|signature|meter|metre)\s*[:=]?\s*$", re.I)

_LONG_UNIT = r"(?:seconds?|secs?|milliseconds?|ms|minutes?|mins?)"
_UNIT = rf"(?P<unit>{_LONG_UNIT}|s)(?![a-z])"
_SPAN_BEFORE = (
    r"\b(?:for|over|(?<!the\s)last|lasts|lasting|during|across|duration(?:\s+of)?|length(?:\s+of)?)\s*[:=]?\s*"
    r"(?:about|around|approximately|exactly|roughly|a\s+full|the\s+full)?\s*"
)
_SPAN_NOUN = (
    r"(?:long|in\s+length|in\s+duration|clip|loop|samples?|recording|sound|audio|track|snippet|excerpt|piece|song"
    r"|riser|rise|sweep|drone|beep|tone|burst|note|jingle|intro|outro|effect|ambience|ambient|pad|siren|cut|version)\b"
)
_SPANS = (
    re.compile(rf"{_SPAN_BEFORE}(?P<value>{NUMBER})[\s-]*{_UNIT}", re.I),
    re.compile(
        rf"(?P<value>{NUMBER})[\s-]*{_UNIT}[\s-]*(?:(?!of\b)[a-z]+[\s-]+){{0,2}}?{_SPAN_NOUN}", re.I
    ),
    re.compile(rf"(?P<value>{NUMBER})[\s-]+(?P<unit>second|sec|minute|min)[\s-]+(?=[a-z])", re.I),
    re.compile(
        rf"(?P<value>{NUMBER})[\s-]*(?P<unit>{_LONG_UNIT})\s+of\s+(?!delay|reverb|pause)", re.I
    ),
    re.compile(rf"(?:^|[,;|]\s*)(?P<value>{DIGITS})[\s-]*{_UNIT}\s*(?=$|[,;|.])", re.I),
    re.compile(rf"\b(?P<unit>seconds)(?:\s+total)?\s*[:=]\s*(?P<value>{DIGITS})(?!\w)", re.I),
)
_NOT_SPAN_AFTER = re.compile(
    r"[\s-]*(?:delay|reverb|decay|tail|release|attack|fade|crossfade|pause|silence|gap|intervals?|apart|later|echo"
    r"|pre-?delay|each|in\b|after|before|into|mark|ago|per)",
    re.I,
)
_NOT_SPAN_BEFORE = re.compile(
    r"\b(?:after|every|each|first|last|next|at|(?:delay|decay|reverb|attack|release|sustain|gap|pause)\w*(?:\s+time)?(?:\s+of)?"
    r"|fad\w+(?:\s+\w+){0,2}?|crossfad\w+|paus\w+|silen\w+|wait\w*|rest\w*|stops?|quiet|(?<=then )nothing)\s*$",
    re.I,
)
_DECADES = frozenset(range(20, 100, 10))
_SCALES = {"m": 60.0, "ms": 1e-3, "s": 1.0}

_EVENT_STEMS = (
    "knock clap hit beep bark ring toll chime click tap gunshot shot thump thud bang stomp footstep footfall drip drop"
    " blip ping snap honk whistle chirp meow cough sneeze pulse tick strike stroke blow boom explosion slam buzz note"
    " pluck strum crack pop burst splash quack moo croak hoot crow ribbit toot knell zap squeak blast kick snare cymbal"
    " cowbell crash rimshot whack smack punch slap stab hiccup burp gong bleep bounce clink clank ding tweet caw bell"
).split()
_VERB_FORMS = "rang rings struck hitting".split()
_EVENT = "|".join(sorted(_EVENT_STEMS, key=len, reverse=True))
_PLURAL = rf"(?:{_EVENT})(?:e?s)\b(?!-)"
_ADJECTIVE = (
    r"(?:(?!(?:and|or|the|per|people|men|women|children|bpm|minute|second|bar|beat|note|string|step)\b)"
    r"(?:[a-z]+(?:-[a-z]+)*(?<!s)|glass|brass|bass|drums?|808|909|707)[\s]+)"
)
_COUNTED = re.compile(
    rf"(?<![-/#])(?P<value>{NUMBER}|\ba\s+couple\s+of\b|\ba\s+pair\s+of\b|\bhalf\s+a\s+dozen\b|\ba\s+dozen\b)\s+"
    rf"{_ADJECTIVE}{{0,3}}?{_PLURAL}",
    re.I,
)
_SINGLE = re.compile(
    rf"\b(?P<value>one|a\s+single|single|just\s+one|only\s+one)\s+{_ADJECTIVE}{{0,3}}?(?:{_EVENT})(?:\s+hit)?\b(?!-)",
    re.I,
)
_DOUBLE = re.compile(
    r"\b(?P<value>double|triple)\s+(?:knock|clap|beep|tap|click|bark|hit|gunshot)\b(?!-)", re.I
)
_TIMES = re.compile(
    rf"\b(?:(?:{_EVENT})(?:e?s|ping|ping|ed|ing|ped)?|{'|'.join(_VERB_FORMS)}|play(?:s|ed)?|sounds?|fires?|fired)\b"
    rf"(?:\s+(?!times\b)[\w-]+){{0,5}}?\s+(?<!\bat )(?P<value>once|twice|thrice|(?:{NUMBER})\s+times)\b",
    re.I,
)
_NOT_TIMES = re.compile(
    r"\s+(?:faster|slower|as|louder|more|larger|again|upon|per|every|each|in\s+a\s+while|an?\s+(?:second|minute|bar|beat))",
    re.I,
)
_RATE = re.compile(
    r"\s*(?:/|(?:per|an?|each|every)\s+(?:second|minute|bar|beat|measure|hour)|every\b)", re.I
)
_NAMED_COUNTS: dict[str, int] = dict.fromkeys(
    ("once", "one", "single", "a single", "just one", "only one"), 1
)
_NAMED_COUNTS |= dict.fromkeys(("twice", "double", "a couple of", "a pair of"), 2)
_NAMED_COUNTS |= {"thrice": 3, "triple": 3, "half a dozen": 6, "a dozen": 12}


def tempi(text: str) -> Iterator[Reading]:
    """Yield tempi in beats per minute: "120 bpm", "tempo of 92.5", "120-130 BPM" (both)."""
    taken: list[tuple[int, int]] = []
    for match in stated_matches(_TEMPO, text):
        taken.append(match.span())
        for name in ("low", "value"):
            if match[name] and _within(number(match[name]), BPM_LIMITS):
                yield number(match[name]), *match.span()
    for match in stated_matches(_NAMED_TEMPO, text):
        value = number(match["value"])
        overlaps = any(start < match.end() and match.start() < stop for start, stop in taken)
        bare = not match["sign"].strip() and value > _MOST_BARE_TEMPO
        if not (overlaps or bare) and _within(value, BPM_LIMITS):
            yield value, *match.span()


def bars(text: str) -> Iterator[Reading]:
    """Yield lengths in bars: "4 bars", "an eight-bar loop"; not "12-bar blues", which is a form."""
    for pattern in (_BARS, _HYPHENED_BARS, _NAMED_BARS):
        for match in stated_matches(pattern, text):
            value = number(match["value"])
            if _within(value, BARS_LIMITS) and not _NOT_BARS.match(text, match.end()):
                yield value, *match.span()


def meters(text: str) -> Iterator[Reading]:
    """Yield quarter notes per bar: 4 for "4/4", 3 for "in 6/8 time" and for a waltz."""
    for match in stated_matches(_METER, text):
        if _METER_AFTER.match(text, match.end()) or _METER_BEFORE.search(text[: match.start()]):
            yield int(match["beats"]) * 4 / int(match["unit"]), *match.span()
    for match in stated_matches(re.compile(r"\bwaltz\b", re.I), text):
        yield 3.0, *match.span()


def seconds(text: str) -> Iterator[Reading]:
    """Yield lengths in seconds: "over 5 seconds", "a 2 s beep", "for 500 ms"; not those of fades, delays and pauses."""
    for index, pattern in enumerate(_SPANS):
        for match in stated_matches(pattern, text):
            value = number(match["value"])
            decade = index and value in _DECADES and _is_attached(match)
            before = text[: match.start()] if index else text[: match.start()].rstrip()
            if decade or _NOT_SPAN_BEFORE.search(before):
                continue
            if _NOT_SPAN_AFTER.match(text, match.end("unit")):
                continue
            value *= _scale(match["unit"])
            if _within(value, SECONDS_LIMITS):
                yield value, *match.span()


def counts(text: str) -> Iterator[Reading]:
    """Yield numbers of events: "three knocks", "claps twice", "a single bell"; not rates, nor things that aren't heard."""
    for pattern in (_COUNTED, _SINGLE, _DOUBLE, _TIMES):
        for match in stated_matches(pattern, text):
            value = _count(match["value"])
            unlike = _NOT_TIMES if pattern is _TIMES else _RATE
            whole = value == int(value) and 1 <= value <= MOST_EVENTS
            if whole and not unlike.match(text, match.end()):
                yield value, *match.span()


def _count(text: str) -> float:
    words = " ".join(text.lower().split())
    if words in _NAMED_COUNTS:
        return float(_NAMED_COUNTS[words])
    return number(words.removesuffix(" times"))


def _is_attached(match: re.Match[str]) -> bool:
    """Return whether a number and its "s" are one word that is not followed by "long": a decade, if it can be one."""
    attached = re.search(r"\ds(?![a-z])", match[0], re.I)
    return attached is not None and not match[0].endswith("long")


def _scale(unit: str) -> float:
    unit = unit.lower()
    if unit.startswith("milli") or unit == "ms":
        return _SCALES["ms"]
    return _SCALES["m"] if unit.startswith("m") else _SCALES["s"]


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]
