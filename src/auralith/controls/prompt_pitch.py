"""Keys, notes and frequencies in free text."""

import re
from collections.abc import Iterator

from auralith.controls.notes import Key, Mode, Note, pitch_class
from auralith.controls.numerals import DIGITS, number, stated_matches

HZ_LIMITS = (20.0, 20_000.0)
"""Frequencies beyond are not heard as pitches: below, rates of modulation; above, sample rates."""

_ACCIDENTAL = r"(?P<accidental>#|b|[\s-]?(?:sharp|flat))?"
_LETTER = r"(?<![\w#'&./])(?P<letter>[a-g])"
_MODES: dict[str, Mode] = {"major": "major", "maj": "major", "ionian": "major", "dur": "major"}
_MODES |= {"minor": "minor", "min": "minor", "aeolian": "minor", "moll": "minor", "m": "minor"}

_FULL_KEY = re.compile(
    rf"{_LETTER}{_ACCIDENTAL}[\s-]*(?P<mode>{'|'.join(m for m in _MODES if m != 'm')})(?!\w)", re.I
)
_SHORT_MINOR = re.compile(
    r"(?<![\w#'&./-])(?P<letter>[A-G])(?P<accidental>#|b)?(?P<mode>m)(?![\w#'])"
)
_BARE_KEY = re.compile(
    rf"\b(?P<how>in\s+the\s+key\s+of|key\s+of|key\s*[:=]|key|in)\s+{_LETTER}{_ACCIDENTAL}(?![\w#'])"
    rf"(?!\s*-?(?:sharp|flat|major|minor|maj|min|m|dorian|phrygian|lydian|mixolydian|locrian)\b)",
    re.I,
)
_CHORD_AFTER = re.compile(
    r"[\s-]*(?:chords?\b|triads?\b|seventh|ninth|sixth|sus|7|9|6|11|13)", re.I
)
_MUSIC_AFTER = re.compile(
    r"\s*(?:$|[,.;:!?|)]|(?:scale|arpeggio\w*|progression|melody|piano|pad|guitar|bass\w*|loop|riff|lead|pluck|synth"
    r"|strings|organ|flute|bell|ballad|waltz|song|tune|drone|at|with|on|and)\b)",
    re.I,
)
_TAG_BEFORE = re.compile(r"(?:^|[,;|:=(]\s*|\b(?:in|key(?:\s+of)?)\s+)$", re.I)
_KEY_BEFORE = re.compile(r"\b(?:in|key\s+of|key\s*[:=]?|scale\s+of)\s+$", re.I)
_BARE_AFTER = re.compile(r"\s*(?:$|[,.;:!?|)]|(?:at|with|and|for|over)\b|\d)", re.I)
_CODE = re.compile(
    r"\b(?:hello\s+world|language|programming|programmed|program|compiler|code|coded|coding|software|written|developer)\b",
    re.I,
)
_PLACES = re.compile(
    r"\b(?:section|class|block|hall|gate|terminal|building|studio|room|plan|vitamin|seat|row|grade)\s+$",
    re.I,
)
_QUALITY = r"(?:maj|min|dim|aug|sus|add|m|M)"
_CHORD = rf"[A-G][#b]?(?:{_QUALITY}?\d{{0,2}})(?:sus\d)?(?:/[A-G][#b]?)?(?![\w#])"
_PROGRESSION = re.compile(
    rf"(?<![\w#]){_CHORD}(?:(?:\s*(?:,|-|>|\|)+\s*|\s+|\s+(?:to|and)\s+){_CHORD})+"
)
_HAS_QUALITY = re.compile(rf"[A-G][#b]?(?:{_QUALITY}|7|9|11|13)")

_NOTE = re.compile(
    rf"{_LETTER}(?P<accidental>#|b|\s?-?(?:sharp|flat)\s?)?(?P<octave>[0-8])(?![\w#/]|\.\w|'s)",
    re.I,
)
_MIDDLE_C = re.compile(r"\bmiddle[\s-]c\b", re.I)
_CLASS = re.compile(
    r"\b(?:note|pitch)(?P<of>\s+of|\s*[:=])?\s+(?P<letter>[A-Ga-g])(?P<accidental>#|b|[\s-](?:sharp|flat))?(?![\w#'])"
    r"(?=\s*(?:$|[,.;!?|)]|on\b|played|held|in\b))"
)
_THING_AFTER = re.compile(
    r"\s*(?:played|held)\s+(?!(?:on|by|with|for|at|in|long|softly|loudly)\b)\w", re.I
)
_NOT_NOTE_BEFORE = re.compile(
    r"(?:hammond|audi|vitamin|highway|route|road|motorway|autobahn|formula|channel|level|grade|gate|seat|row|model"
    r"|room|apartment|platform|section|tram|line|usb|din|iso|size|pawn(?:\s+to)?|knight(?:\s+to)?|bishop(?:\s+to)?)[\s:-]+$",
    re.I,
)
_NOT_NOTE_AFTER = re.compile(
    r"[\s-]+(?:paper|sheets?|pages?|size|notebook|envelope|explosi\w+|charge|bomb\w*|detonat\w*|plastic|highway"
    r"|motorway|road|cars?|race|racing|engine|grand\s+prix|tornado|jet|fighter|phantom|organ\s+with\s+leslie|chords?"
    r"|power\s+chords?|dice|die|rolls?|corvette|galaxy|tram|bus|train|visa|vitamin|hurricane)\b",
    re.I,
)
_CHORDS_MEANT = re.compile(r"\b(?:chords?|progression|voicings?)\b", re.I)
_CHORD_DIGITS = frozenset("5679")
_TUNING_AFTER = re.compile(r"\s*=\s*\d")

_HERTZ = re.compile(rf"(?P<value>{DIGITS})\s*(?P<kilo>k|kilo)?[\s-]?(?:hz|hertz)(?![a-z])", re.I)
_NOT_PITCH_BEFORE = re.compile(
    rf"(?:\b(?:sample[\s-]?rate|sampling(?:\s+(?:rate|frequency))?|(?:re)?sampled|low[\s-]?pass\w*|high[\s-]?pass\w*"
    rf"|band[\s-]?pass\w*|notch\w*|cut[\s-]?offs?|filter\w*|below|above|under|over|beyond|up\s+to|down\s+to|between|from|to|range|band(?:width)?"
    rf"|boost\w*|eq|roll[\s-]?off|tuned|tuning|lfo|vibrato|tremolo|modulat\w+|puls(?:e|es|ing|ating)|wobbl\w+|flicker\w*|refresh"
    rf"|rate|a4?\s*=|{DIGITS}\s*k?(?:hz)?\s*(?:-|and|to))"
    rf"(?:\s+(?:frequency|filter))?(?:\s+(?:of|at|is|to|around|about|set|the))*\s*[:=]?|a4?\s*=|{DIGITS}\s*k?(?:hz)?\s*-)\s*$",
    re.I,
)
_NOT_PITCH_AFTER = re.compile(
    r"[\s,-]*(?:sampl\w+|low[\s-]?pass|high[\s-]?pass|band[\s-]?pass|cut[\s-]?off|filter|lfo|vibrato|tremolo|modulation"
    r"|refresh|tuning|pitch\s+standard|bandwidth|eq\b|bands?\b|rate\b|(?:to|and|-)\s*\.?\d|and\s+(?:above|below|up))",
    re.I,
)
_RATES = frozenset(
    (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 88_200, 96_000, 176_400, 192_000)
)
_RATE_NEAR = re.compile(
    r"\b(?:\d+[\s-]?bit|mono|stereo|wav|mp3|flac|recording|recorded|quality|audio|codec|telephone)\b",
    re.I,
)
_NEAR = 24


def keys(text: str) -> Iterator[tuple[Key, int, int]]:
    """Yield keys: "A minor", "C# major", "in Eb", "F#m"; not chords, nor the article or the language."""
    text = _without_progressions(text)
    for match in stated_matches(_FULL_KEY, text):
        if not _CHORD_AFTER.match(text, match.end()) and _is_tonic(match, text):
            yield _key(match, _MODES[match["mode"].lower()]), *match.span()
    for match in stated_matches(_SHORT_MINOR, text):
        tagged = _TAG_BEFORE.search(text[: match.start()]) or match["accidental"]
        if tagged and not _CHORD_AFTER.match(text, match.end()):
            yield _key(match, "minor"), *match.span()
    for match in stated_matches(_BARE_KEY, text):
        if _is_bare_key(match, text):
            yield _key(match, None), *match.span()


def notes(text: str) -> Iterator[tuple[Note, int, int]]:
    """Yield notes: "C3", "f#4", "middle C", "the note A"; not paper sizes, chords or explosives."""
    text = _without_progressions(text)
    chords = _CHORDS_MEANT.search(text) is not None
    for match in stated_matches(_NOTE, text):
        before, after = text[: match.start()], match.end()
        is_chord = chords and match["octave"] in _CHORD_DIGITS
        unlike = _NOT_NOTE_BEFORE.search(before) or _NOT_NOTE_AFTER.match(text, after)
        if not (is_chord or unlike or _TUNING_AFTER.match(text, after)):
            yield _note(match, int(match["octave"])), *match.span()
    for match in stated_matches(_MIDDLE_C, text):
        yield Note(0, 4), *match.span()
    for match in stated_matches(_CLASS, text):
        if not _is_article(match, text):
            yield _note(match, None), *match.span()


def frequencies(text: str) -> Iterator[tuple[float, int, int]]:
    """Yield pitches in Hz: "440 Hz", "1.5 kHz"; not sample rates, filters, ranges, tunings or modulation."""
    for match in stated_matches(_HERTZ, text):
        value = number(match["value"]) * (1_000.0 if match["kilo"] else 1.0)
        start, stop = match.span()
        unlike = _NOT_PITCH_BEFORE.search(text[:start]) or _NOT_PITCH_AFTER.match(text, stop)
        around = f"{text[max(0, start - _NEAR) : start]} {text[stop : stop + _NEAR]}"
        is_rate = value in _RATES and _RATE_NEAR.search(around)
        if HZ_LIMITS[0] <= value <= HZ_LIMITS[1] and not (unlike or is_rate):
            yield value, start, stop


def _key(match: re.Match[str], mode: Mode | None) -> Key:
    return Key(_pitch_class(match), mode)


def _note(match: re.Match[str], octave: int | None) -> Note:
    """Return the note; C flat lies in the octave above its neighbor B, and B sharp below C."""
    value = _pitch_class(match)
    natural = pitch_class(match["letter"])
    if octave is not None and abs(value - natural) > 1:
        octave += 1 if natural == 11 else -1
    return Note(value, octave)


def _pitch_class(match: re.Match[str]) -> int:
    return pitch_class(match["letter"], (match["accidental"] or "").strip(" -"))


def _is_tonic(match: re.Match[str], text: str) -> bool:
    """Return whether a letter before "major" or "minor" is a tonic; "a" may be the article."""
    before = text[: match.start()]
    if match["letter"] not in "aA" or match["accidental"] in ("#", "b"):
        return True
    named = _KEY_BEFORE.search(before) is not None
    after = _MUSIC_AFTER.match(text, match.end())
    if match["letter"] == "a":
        return (named and after is not None) or _is_tag(match, text)
    if not before.strip() or before.rstrip()[-1] in ".!?":  # an article may begin a sentence
        return after is not None
    return not re.match(r"\s*key\b", text[match.end() :], re.I) or named


def _is_article(match: re.Match[str], text: str) -> bool:
    """Return whether the "a" of a match begins what has the note, as in "a note of a held trombone"."""
    is_a = match["letter"] == "a" or (match["letter"] == "A" and text.isupper())
    is_alone = is_a and match["of"] and not match["accidental"]
    return bool(is_alone) and _THING_AFTER.match(text, match.end()) is not None


def _is_tag(match: re.Match[str], text: str) -> bool:
    """Return whether a match is all there is between commas or bars."""
    before, after = text[: match.start()].rstrip(), text[match.end() :].lstrip()
    return (not before or before[-1] in ",;|:=") and (not after or after[0] in ",;|.")


def _is_bare_key(match: re.Match[str], text: str) -> bool:
    before, stop = text[: match.start()], match.end()
    accidental = match["accidental"]
    if match["how"].lower() != "in":
        named = match["how"].lower() != "key"
        return (
            _BARE_AFTER.match(text, stop) is not None
            if match["letter"] in "aA"
            else (named or match["letter"].isupper())
        )
    if _CODE.search(text) or _PLACES.search(before):
        return False
    if accidental and (len(accidental) == 1 or match["letter"] not in "aA"):
        return True
    upper = match["letter"].isupper() and not text.isupper()
    return upper and _BARE_AFTER.match(text, stop) is not None


def _without_progressions(text: str) -> str:
    """Return the text with rows of chord names ("Am F C G", "Dm7 G7") blanked out."""

    def blank(match: re.Match[str]) -> str:
        chords = re.findall(_CHORD, match[0])
        has_quality = sum(bool(_HAS_QUALITY.match(chord)) for chord in chords if chord != "A")
        bare = sum(len(chord.rstrip("#b")) == 1 for chord in chords)
        is_row = has_quality + bare >= 2 and (has_quality or len(chords) > 2)
        return " " * len(match[0]) if is_row else match[0]

    return _PROGRESSION.sub(blank, text)
