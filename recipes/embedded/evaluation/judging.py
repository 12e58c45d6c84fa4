"""Figures of a set of sounds: the share that is right of each question, and medians of plain measures."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from recipes.embedded.corpus import Recorded
from recipes.embedded.corpus.captions import says
from recipes.embedded.corpus.scores import QUALITIES
from recipes.embedded.corpus.sounds import CHORDAL, Played, drums
from recipes.embedded.evaluation import measures
from recipes.embedded.evaluation.cases import PITCHED, Case, timbre_of
from recipes.embedded.evaluation.neighbors import Neighbors
from recipes.embedded.evaluation.notes import Listener
from recipes.tiny.measures import end, longest_pause, tempo
from recipes.tiny.synth.pitch import midi_number
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

SETTINGS, VERDICTS = "settings.json", "verdicts.json"
"""Files in an evaluation's folder: what its sounds are made of, and the answers."""
CENTS = 20.0
HARMONIC_DB = 12.0
TEMPO = 0.02
PLACES, LENGTHS = {"left", "right", "wide", "mono"}, {"short", "sustained"}
"""Descriptors that are asked of a sound, and those that its end hangs on; captions leave one in five out."""
END_SECONDS = 0.25
PAUSE_SECONDS = 0.5
RIGHT = {
    "cents": f"pitch of notes within {CENTS:.0f} cents",
    "semitone": "semitone of notes, by basic-pitch",
    "harmonics": f"three harmonics of bass notes within {HARMONIC_DB:.0f} dB of the corpus",
    "chord": "all notes of chords, by basic-pitch",
    "instrument": "instrument, by the nearest neighbor",
    "kit": "kit of loops whose prompt names it, by the nearest neighbor",
    "tempo": f"tempo of loops within {TEMPO:.0%}, octave-tolerant",
    "place": "left, right, wide or mono as asked",
    "pause": f"no pause longer than the corpus's by {PAUSE_SECONDS} s",
    "end": f"end within {END_SECONDS} s",
    "samples": "number of samples",
}
"""Questions that a sound answers right or wrong."""
MEDIANS = {
    "start": "level of the first millisecond, dB",
    "last": "level of the last millisecond, dB",
    "side": "level of the side signal, dB",
    "gaps": "share of silence",
}
"""Measures of every sound, of which the median is told."""


@dataclass(frozen=True)
class Judges:
    """Listeners beside plain measures; the questions of one that is missing are not asked."""

    listener: Listener | None = None
    neighbors: Neighbors | None = None


@dataclass(frozen=True)
class Verdict:
    """Answers and measures of one sound."""

    prompt: str
    group: str
    right: dict[str, bool]
    values: dict[str, float]
    heard: dict[str, str] = field(default_factory=dict)


def judge(case: Case, waveform: Stereo, judges: Judges) -> Verdict:
    """Return the answers of a sound to every question that its case asks."""
    longest = longest_pause(case.waveform) + PAUSE_SECONDS
    said = {word for word in case.sound.descriptors if says(case.prompt, word)}
    right = {"pause": longest_pause(waveform) <= longest}
    if LENGTHS & set(case.sound.descriptors) <= said:
        right["end"] = abs(end(waveform) - end(case.waveform)) <= END_SECONDS
    right["samples"] = waveform.shape[1] == round(case.sound.seconds * SAMPLE_RATE)
    start, last = measures.edge_levels(waveform)
    values = {
        "start": start,
        "last": last,
        "side": measures.side_level(waveform),
        "gaps": measures.silent_share(waveform),
    }
    heard: dict[str, str] = {}
    if PLACES & said and not isinstance(case.sound, Recorded):
        right["place"] = measures.place_heard(waveform) in said
    if isinstance(case.sound, Played):
        _judge_music(case, case.sound, waveform, judges, right, values, heard)
    return Verdict(case.prompt, case.group, right, values, heard)


def _judge_music(
    case: Case, sound: Played, waveform: Stereo, judges: Judges,
    right: dict[str, bool], values: dict[str, float], heard: dict[str, str],
) -> None:  # fmt: skip
    if case.group in PITCHED:
        _judge_note(case, sound, waveform, judges, right, values)
    says_values = case.group != "bare"
    if says_values and sound.form in CHORDAL and judges.listener is not None:
        asked = {((sound.root or 0) + step) % 12 for step in QUALITIES[sound.quality or "major"]}
        right["chord"] = asked <= judges.listener.pitch_classes(waveform)
    if says_values and sound.form == "loop":
        assert sound.bpm is not None
        right["tempo"] = tempo_is(tempo(waveform), sound.bpm)
    if judges.neighbors is not None and _names_timbre(case.prompt, sound):
        what, name = timbre_of(sound)
        heard[what] = judges.neighbors.name(waveform, what)
        right[what] = heard[what] == name


def _judge_note(
    case: Case, sound: Played, waveform: Stereo, judges: Judges,
    right: dict[str, bool], values: dict[str, float],
) -> None:  # fmt: skip
    assert sound.hz is not None and sound.note is not None
    off = measures.cents_off(waveform, sound.hz)
    right["cents"] = off is not None and abs(off) <= CENTS
    if off is not None:
        values["cents"] = off
    if judges.listener is not None:
        right["semitone"] = judges.listener.key(waveform) == midi_number(sound.note)
    if case.group == "bass":
        wanted = measures.harmonic_levels(case.waveform, sound.hz)
        levels = measures.harmonic_levels(waveform, sound.hz)
        right["harmonics"] = bool(np.all(levels >= wanted - HARMONIC_DB))


def _names_timbre(prompt: str, sound: Played) -> bool:
    """Return whether a prompt names the instrument, which all but those of drums do, or the kit of a loop."""
    if sound.form == "loop":
        words = drums()["kits"][timbre_of(sound)[1]]["words"]
        return any(word.lower() in prompt.lower() for word in words)
    return sound.form != "hit"


def tempo_is(found: float | None, wanted: float) -> bool:
    """Return whether a tempo, its half or its double is the wanted one."""
    if found is None:
        return False
    return any(abs(found * octave / wanted - 1) <= TEMPO for octave in (0.5, 1.0, 2.0))


def shares(verdicts: Iterable[Verdict]) -> dict[str, tuple[float, int]]:
    """Return for each question the share of right sounds and the number that were asked."""
    found: dict[str, list[bool]] = {name: [] for name in RIGHT}
    for verdict in verdicts:
        for name, answer in verdict.right.items():
            found[name].append(answer)
    return {name: (sum(a) / len(a), len(a)) for name, a in found.items() if a}


def medians(verdicts: Sequence[Verdict]) -> Mapping[str, float]:
    """Return the median of each measure."""
    return {name: float(np.median([v.values[name] for v in verdicts])) for name in MEDIANS}


def figures(verdicts: Mapping[str, Sequence[Verdict]]) -> Iterator[tuple[str, int, list[str]]]:
    """Yield each figure's name, the number of sounds that it is of, and its value for each column of sounds."""
    answers = [shares(rows) for rows in verdicts.values()]
    for question, title in RIGHT.items():
        found = [one[question] for one in answers if question in one]
        if found:
            yield title, found[0][1], [f"{share:.1%}" for share, _ in found]
    middles = [medians(rows) for rows in verdicts.values()]
    count = len(next(iter(verdicts.values())))
    for measure, title in MEDIANS.items():
        yield f"median {title}", count, [f"{one[measure]:.2f}" for one in middles]
