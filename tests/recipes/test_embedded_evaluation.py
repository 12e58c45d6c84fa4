"""Judges of the embedded model: each hears what it is made for, in sounds whose truth is known."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.cli.main import run
from auralith.embedders.mel import MelStatistics
from auralith.errors import InvalidRequest
from recipes.embedded.corpus import Corpus, Played
from recipes.embedded.evaluation import __main__ as command
from recipes.embedded.evaluation import measures
from recipes.embedded.evaluation.cases import SHARES, Case, draw_cases, quotas
from recipes.embedded.evaluation.judging import Judges, judge, shares, tempo_is
from recipes.embedded.evaluation.neighbors import Neighbors
from recipes.embedded.evaluation.notes import LOWEST_KEY, Listener, heard_classes
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo
from tests.recipes.test_embedded_corpus import needs_fonts

NOTE = Played("piano", "note", 1.5, "muse:0:1", 90, hz=220.0, note="A3")
LOOP = Played("disco/tr808", "loop", 1.5, "fluid:128:25", 90, bpm=120.0)


def tone(hz: float, seconds: float = 1.5, harmonics: int = 6, seed: int = 0) -> Stereo:
    """Return a struck string's spectrum that dies away, with a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    partials = [
        np.sin(2 * np.pi * h * hz * time + rng.uniform(0, 6)) / h
        for h in range(1, harmonics + 1)
        if h * hz < 16_000
    ]
    mono = np.sum(partials, axis=0) * np.exp(-1.5 * time) + rng.normal(0, 1e-3, len(time))
    return np.stack([mono, mono]).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(hz=st.floats(41, 1_200), off=st.floats(-48, 48))
def test_cents_are_told_within_two(hz: float, off: float) -> None:
    found = measures.cents_off(tone(hz * 2 ** (off / 1_200)), hz)
    assert found is not None and abs(found - off) < 2


def test_noise_and_silence_have_no_pitch() -> None:
    for seed in range(8):
        noise = np.random.default_rng(seed).normal(0, 0.1, (2, 60_000)).astype(np.float32)
        assert [measures.cents_off(noise, hz) for hz in (60.0, 220.0, 880.0)] == [None] * 3
        assert measures.cents_off(noise * 0.2 + tone(220.0)[:, :60_000], 220.0) is not None
    assert measures.cents_off(np.zeros((2, 60_000), np.float32), 220.0) is None


def test_a_missing_harmonic_shows() -> None:
    whole = tone(55.0)
    assert np.allclose(measures.harmonic_levels(whole, 55.0), (0, -6, -9.5), atol=1)
    time = np.arange(whole.shape[1]) / SAMPLE_RATE
    hollow = np.tile(np.sin(2 * np.pi * 55 * time), (2, 1)).astype(np.float32)
    assert measures.harmonic_levels(hollow, 55.0)[1:].max() < -40


@pytest.mark.parametrize(
    ("gains", "side", "place"),
    [((1, 0.2), 0.0, "left"), ((0.2, 1), 0.0, "right"), ((1, 1), 0.7, "wide"), ((1, 1), 0.0, "mono"), ((1, 1), 0.1, "")],
)  # fmt: skip
def test_places(gains: tuple[float, float], side: float, place: str) -> None:
    rng = np.random.default_rng(4)
    mid, other = rng.normal(0, 0.1, (2, 40_000))
    sound = np.stack([mid + side * other, mid - side * other]) * np.array(gains)[:, None]
    assert measures.place_heard(sound.astype(np.float32)) == place


def test_edges_and_gaps() -> None:
    sound = tone(220.0)
    sound[:, 30_000:] = 0
    start, last = measures.edge_levels(sound)
    assert start > -30 and last == pytest.approx(-120, abs=6)
    assert measures.silent_share(sound) == pytest.approx(1 - 30_000 / sound.shape[1], abs=0.02)


def test_classes_of_heard_notes_ignore_octaves_and_moments() -> None:
    activations = np.zeros((50, 88))
    for key in (60, 64, 67, 79):
        activations[:30, key - LOWEST_KEY] = 0.8
    activations[3, 61 - LOWEST_KEY] = 1.0  # a single frame
    assert heard_classes(activations) == {0, 4, 7}


def test_tempi_are_octave_tolerant_and_narrow() -> None:
    assert all(tempo_is(bpm, 120.0) for bpm in (60.0, 119.0, 121.5, 240.0))
    assert not any(tempo_is(bpm, 120.0) for bpm in (None, 80.0, 124.0, 180.0))


def test_a_verdict_says_what_is_wrong() -> None:
    case = Case("a piano playing A3", "note", NOTE, tone(220.0))
    right = judge(case, tone(220.0, seed=3), Judges()).right
    assert right == {"pause": True, "end": True, "samples": True, "cents": True}
    wrong = judge(case, tone(224.0)[:, :40_000], Judges()).right
    assert wrong == {"pause": True, "end": False, "samples": False, "cents": False}
    late = np.concatenate([np.zeros((2, 30_000), np.float32), tone(220.0)], axis=1)
    assert not judge(case, late[:, : tone(220.0).shape[1]], Judges()).right["pause"]
    left = replace(NOTE, descriptors=("left",))
    beside = tone(220.0) * np.array([[0.2], [1.0]], np.float32)
    assert not judge(Case("A3, Panned left", "note", left, tone(220.0)), beside, Judges()).right[
        "place"
    ]
    assert shares([judge(case, tone(220.0), Judges())])["cents"] == (1.0, 1)


def test_neighbors_find_the_timbre() -> None:
    bright, dark = replace(NOTE, kind="harpsichord"), replace(NOTE, kind="flute")
    known = [(bright, tone(hz, harmonics=30)) for hz in (196.0, 262.0, 330.0)]
    known += [(dark, tone(hz, harmonics=1)) for hz in (196.0, 262.0, 330.0)]
    neighbors = Neighbors.of(MelStatistics(), known)
    assert neighbors.name(tone(233.0, harmonics=30), "instrument") == "harpsichord"
    assert neighbors.name(tone(233.0, harmonics=1), "instrument") == "flute"


def test_a_timbre_is_asked_for_where_the_prompt_names_it_and_values_are_not_where_it_is_bare() -> (
    None
):
    neighbors = Neighbors.of(MelStatistics(), [(NOTE, tone(220.0)), (LOOP, tone(80.0))])
    judges = Judges(neighbors=neighbors)

    def asked(prompt: str, group: str, sound: Played) -> set[str]:
        return judge(Case(prompt, group, sound, tone(220.0)), tone(220.0), judges).right.keys() - {
            "pause", "end", "samples",
        }  # fmt: skip

    assert asked("drums only: disco, 120 bpm", "loop", LOOP) == {"tempo"}
    assert asked("disco on a TR-808, 120 bpm", "loop", LOOP) == {"tempo", "kit"}
    assert asked("someone playing an 808 kit", "bare", LOOP) == {"kit"}
    assert asked("a note of a piano", "bare", NOTE) == {"instrument"}
    assert asked("a piano, A3", "note", NOTE) == {"instrument", "cents"}


@pytest.mark.parametrize(
    ("prompt", "asked"),
    [
        ("a piano, A3", set()),
        ("a piano, A3, from the left side", {"place"}),
        ("Staccato piano | A3", {"end"}),
        ("a short piano note, A3, on the left", {"place", "end"}),
    ],
)
def test_only_what_a_prompt_says_is_asked(prompt: str, asked: set[str]) -> None:
    short = replace(NOTE, descriptors=("short", "left"))
    right = judge(Case(prompt, "note", short, tone(220.0)), tone(220.0), Judges()).right
    assert right.keys() & {"place", "end"} == asked


@pytest.mark.parametrize("number", [1, 17, 400])
def test_cases_have_fixed_shares(number: int) -> None:
    sizes = quotas(number, Corpus())
    assert sum(sizes.values()) == number and "recording" not in sizes
    if number == 400:
        assert sizes["note"] / sizes["bass"] == pytest.approx(
            SHARES["note"] / SHARES["bass"], rel=0.1
        )


@needs_fonts
def test_the_corpus_answers_its_own_questions() -> None:
    cases = list(draw_cases(Corpus(), 30, seed=1))
    assert Counter(case.group for case in cases) == Counter(quotas(30, Corpus()))
    found = shares(judge(case, case.waveform, Judges()) for case in cases)
    assert found["samples"][0] == found["end"][0] == 1
    assert found["cents"][0] > 0.85 and found["harmonics"][0] == 1


def test_a_folder_of_other_sounds_is_refused(tmp_path: Path) -> None:
    command.claim(tmp_path, {"seed": 1})
    command.claim(tmp_path, {"seed": 1})
    with pytest.raises(InvalidRequest, match="other settings"):
        command.claim(tmp_path, {"seed": 2})
    assert json.loads((tmp_path / "settings.json").read_text()) == {"seed": 1}


def test_what_is_no_wheel_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime")
    (tmp_path / "x.whl").write_text("no")
    with pytest.raises(InvalidRequest, match="no wheel of basic-pitch"):
        Listener(tmp_path / "x.whl")
    assert run(["-o", str(tmp_path), "--basic-pitch", str(tmp_path / "no.whl")], command.app) == 2
    assert capsys.readouterr().err.count("\n") == 1
