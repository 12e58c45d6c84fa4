"""Checks of planted sounds: each control is met by a sound that does it, missed by one that doesn't, or not told."""

import numpy as np
import pytest
import torch

from auralith.controls import (
    TOLERANCES,
    ControlResult,
    check,
    read_prompt,
    summary,
    wilson_interval,
)
from auralith.errors import InvalidRequest
from tests.controls import planted
from tests.controls.planted import RATE, TIMBRES, stereo

NOTE = planted.tone(440, 2, TIMBRES["saw"])
HITS = planted.placed(np.array([0.1, 0.6, 1.1]), [planted.burst()], 2.0)
SILENT = np.zeros((2, RATE), np.float32)
FADED = (planted.noise(3) * np.linspace(1, 0, 3 * RATE)).astype(np.float32)
LOOP = np.sin(2 * np.pi * 100 * np.arange(2 * RATE) / RATE).astype(np.float32)
WIDE = np.stack([planted.noise(2, 1), planted.noise(2, 2)])
DRUMS = planted.beat(120, 8)
CASES = {
    "tempo": ("a beat at 120 bpm", stereo(DRUMS), stereo(planted.beat(97, 6)), stereo(NOTE)),
    "key": (
        "in D major",
        stereo(planted.progression(2, "major")),
        stereo(planted.progression(9, "minor")),
        stereo(HITS),
    ),
    "pitch": ("bell A4", stereo(NOTE), stereo(planted.tone(466, 2)), stereo(planted.noise(2))),
    "count": ("three knocks", stereo(HITS), stereo(DRUMS[: 2 * RATE]), stereo(planted.noise(2))),
    "bars": ("4 bars at 120 bpm", stereo(DRUMS), stereo(DRUMS[: 7 * RATE]), None),
    "seconds": ("rain for 2 seconds", stereo(planted.noise(2)), stereo(planted.noise(3)), SILENT),
    "length": ("rain", stereo(planted.noise(2)), stereo(planted.noise(2)[1:]), None),
    "left": ("rain, panned left", stereo(NOTE, right=0.4), stereo(NOTE, left=0.4), NOTE[None]),
    "right": ("rain, panned right", stereo(NOTE, left=0.4), stereo(NOTE), NOTE[None]),
    "center": ("rain, centered", stereo(NOTE), stereo(NOTE, left=0.7), NOTE[None]),
    "wide": ("wide stereo rain", WIDE, stereo(NOTE), NOTE[None]),
    "mono": ("rain in mono", stereo(NOTE), WIDE, SILENT),
    "loop": ("loop", stereo(LOOP), stereo(LOOP[: -RATE // 271]), SILENT),
    "loop level": ("loop", stereo(LOOP), stereo(NOTE), SILENT),
    "fade in": ("rain fading in", stereo(FADED[::-1]), stereo(planted.noise(3)), SILENT),
    "fade out": ("rain fading out", stereo(FADED), stereo(planted.noise(3)), SILENT),
    "loudness": ("a tone at -17 LUFS", stereo(0.5 * NOTE), stereo(0.1 * NOTE), SILENT),
    "silence": ("silence", SILENT, stereo(NOTE), None),
    "sound": ("rain", stereo(NOTE), SILENT, None),
    "start": ("rain", stereo(NOTE), stereo(NOTE[1_000:]), SILENT),
    "end": ("rain", stereo(NOTE), stereo(NOTE[:-1_000]), SILENT),
    "clipping": ("rain", stereo(NOTE), stereo(np.clip(9 * NOTE, -1, 1)), None),
}


def _result(name: str, waveform: np.ndarray) -> ControlResult:
    (found,) = (r for r in check(CASES[name][0], waveform, RATE, seconds=2.0) if r.control == name)
    return found


def test_every_control_has_a_case() -> None:
    assert set(CASES) == set(TOLERANCES)


@pytest.mark.parametrize("name", CASES)
def test_a_control_is_met_missed_or_not_told(name: str) -> None:
    _, right, wrong, untold = CASES[name]
    met, missed = _result(name, right), _result(name, wrong)
    assert met.met is True and missed.met is False, (met, missed)
    assert met.measured is not None and missed.measured is not None
    assert missed.error is not None and (missed.error != 0) and met.reason is None
    if untold is not None:
        found = _result(name, untold)
        assert found.met is None and found.measured is None and found.error is None and found.reason


def test_nothing_else_is_asked_than_what_is_stated() -> None:
    always = {"sound", "start", "end", "clipping"}
    assert {r.control for r in check("rain", stereo(NOTE), RATE)} == always
    assert {r.control for r in check("silence", SILENT, RATE)} == {"silence"}
    asked = {r.control for r in check("a loop, 120 bpm, C minor, wide stereo", stereo(DRUMS), RATE)}
    assert asked == {"tempo", "key", "wide", "loop", "loop level", "sound", "clipping"}


def test_octaves_are_told_apart() -> None:
    (half,) = (
        r
        for r in check(
            "150 bpm", stereo(planted.placed(np.arange(0, 6, 0.8), [planted.burst()], 6)), RATE
        )
        if r.control == "tempo"
    )
    assert half.met is None and half.octave and (half.measured or "").startswith("75.")
    (low,) = (r for r in check("bell A5", stereo(NOTE), RATE) if r.control == "pitch")
    assert low.met is False and low.octave and low.error == pytest.approx(-1_200, abs=5)
    (any_octave,) = (r for r in check("the note A", stereo(NOTE), RATE) if r.control == "pitch")
    assert any_octave.met is True and not any_octave.octave


@pytest.mark.parametrize("cents", [-80, -55, -45, -10, 0, 10, 45, 55, 80])
def test_pitch_is_met_within_its_tolerance(cents: int) -> None:
    sound = stereo(planted.tone(440 * 2 ** (cents / 1_200), 1, TIMBRES["saw"]))
    (found,) = (r for r in check("note A4", sound, RATE) if r.control == "pitch")
    assert found.error == pytest.approx(cents, abs=2) and found.met == (abs(cents) < 50)


@pytest.mark.parametrize(
    "prompt",
    [
        "2 bars at 120 bpm",
        "2 bars",
        "2 bars in 4/4",
        "4 bars, 120 bpm, in 2/4",
        "a waltz, 2.5 bars",
    ],
)
def test_bars_last_as_the_meter_and_tempo_say(prompt: str) -> None:
    (found,) = (r for r in check(prompt, stereo(DRUMS[: 4 * RATE]), RATE) if r.control == "bars")
    assert found.met is (prompt != "a waltz, 2.5 bars"), found


def test_waveforms_come_as_tensors_too_and_must_be_one_sound() -> None:
    stated = read_prompt("bell A4")
    told = check(stated, torch.from_numpy(stereo(NOTE)), RATE)
    assert told == check("bell A4", stereo(NOTE), RATE)
    with pytest.raises(InvalidRequest, match="give one sound"):
        check(stated, np.zeros((2, 2, 100), np.float32), RATE)


def test_a_summary_counts_each_kind_of_result() -> None:
    made = [
        (True, False, 1.0),
        (True, False, -3.0),
        (False, False, 10.0),
        (None, True, 50.0),
        (None, False, None),
    ]
    results = [
        ControlResult("tempo", "120", None, error, met, octave=octave)
        for met, octave, error in made
    ]
    results.append(ControlResult("silence", "silence", "-90", 0.0, True))
    rates = summary(results)
    assert list(rates) == ["tempo", "silence"]
    tempo = rates["tempo"]
    assert (tempo.asked, tempo.met, tempo.missed, tempo.octaves, tempo.unknown) == (5, 2, 1, 1, 1)
    assert tempo.rate == pytest.approx(2 / 3) and tempo.median_error == 6.5
    assert summary([ControlResult("key", "C", None, None, None)])["key"].rate is None
    assert summary([ControlResult("key", "C", None, None, None)])["key"].interval is None


def test_wilson_intervals_are_those_of_the_literature() -> None:
    assert wilson_interval(81, 263) == pytest.approx(
        (0.2553, 0.3662), abs=1e-4
    )  # Newcombe 1998, table I
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert all(
        0 <= low <= k / n + 1e-12 and k / n - 1e-12 <= high <= 1
        for n in (1, 7, 40)
        for k in range(n + 1)
        for low, high in [wilson_interval(k, n)]
    )
