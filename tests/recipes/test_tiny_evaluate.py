"""The measures of the tiny model's evaluation, on signals whose tempo, pitch and end are known."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from recipes.tiny import evaluate, measures, synth

RATE = 44100


def _clicks(starts: np.ndarray, seconds: float) -> np.ndarray:
    """Short decaying noise bursts at the given times."""
    out = np.zeros((2, round(seconds * RATE)), np.float32)
    click = np.random.default_rng(0).standard_normal(800) * np.exp(-np.arange(800) / 150)
    for start in (starts * RATE).astype(int):
        out[:, start : start + 800] += click[: out.shape[1] - start].astype(np.float32) * 0.2
    return out


def _tone(hz: float, seconds: float, partials: tuple[float, ...] = (1.0,)) -> np.ndarray:
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(a * np.sin(2 * np.pi * hz * (k + 1) * time) for k, a in enumerate(partials))
    return np.tile(0.3 * np.asarray(wave, np.float32), (2, 1))


@pytest.mark.parametrize("bpm", [70, 93.5, 120, 178])
def test_tempo_of_clicks(bpm: float) -> None:
    found = measures.tempo(_clicks(np.arange(0, 5, 60 / bpm), 5.1))
    assert measures.tempo_matches(found, bpm)
    assert not measures.tempo_matches(found, bpm * 1.06)
    assert not measures.tempo_matches(found, bpm * 1.5)


def test_tempo_tolerates_octaves_and_three_percent_only() -> None:
    assert all(measures.tempo_matches(bpm, 100) for bpm in (97.1, 102.9, 50, 200, 51.4))
    assert not any(measures.tempo_matches(bpm, 100) for bpm in (96.5, 104, 150, 66.7, 75, 400))
    assert not measures.tempo_matches(None, 100)


def test_no_tempo_without_a_beat() -> None:
    irregular = np.cumsum(np.random.default_rng(3).uniform(0.1, 0.9, 12))
    assert measures.tempo(_clicks(irregular, 7)) is None
    assert measures.tempo(np.zeros((2, RATE * 3), np.float32)) is None


@pytest.mark.parametrize("hz", [65.4, 110, 441.3, 1046.5, 1999])
@pytest.mark.parametrize("partials", [(1.0,), (1, 1, 0.8, 0.5), (1, 0, 0.4, 0, 0.2)])
def test_pitch_of_tones(hz: float, partials: tuple[float, ...]) -> None:
    found = measures.pitch(_tone(hz, 0.9, partials))
    assert found is not None and abs(1200 * np.log2(found / hz)) < 10
    assert measures.pitch_matches(found, hz)
    assert not measures.pitch_matches(found, hz * 2)
    assert not measures.pitch_matches(found, hz * 2 ** (1 / 12))


def test_pitch_survives_noise_and_a_decay_but_noise_has_none() -> None:
    noise = np.random.default_rng(1).standard_normal((2, 2 * RATE)).astype(np.float32)
    decaying = _tone(220, 2, (1, 0.5)) * np.exp(-np.arange(2 * RATE) / 0.4 / RATE)
    assert measures.pitch_matches(measures.pitch(decaying.astype(np.float32) + 0.003 * noise), 220)
    assert measures.pitch(noise) is None
    assert measures.pitch(0 * noise) is None
    assert not measures.pitch_matches(None, 220)


def test_end_and_pause() -> None:
    sound = _tone(300, 3)
    assert measures.end(sound) == pytest.approx(3, abs=0.02)
    sound[:, 2 * RATE :] *= 0.005  # 46 dB down
    assert measures.end(sound) == pytest.approx(2, abs=0.03)
    sound[:, RATE // 2 : RATE] = 0
    assert measures.longest_pause(sound) == pytest.approx(0.5, abs=0.03)
    late = np.concatenate([np.zeros((2, RATE), np.float32), sound], axis=1)
    assert measures.longest_pause(late) == pytest.approx(1, abs=0.03)
    assert measures.end(np.zeros((2, RATE), np.float32)) == 0


def _sound(kind: str, seconds: float = 4.0, **values: float) -> synth.Sound:
    pitched = {"bpm": None, "hz": None, **values}
    return synth.Sound(synth.family_of(kind), kind, seconds, note=None, descriptors=(), **pitched)


def test_end_limits_depend_on_how_a_kind_ends() -> None:
    early = _tone(300, 4.0)
    early[:, RATE:] = 0
    assert evaluate.end_limits(_sound("rain"), [early]) == pytest.approx((3.65, 4.35))
    assert evaluate.end_limits(_sound("snare"), [early]) == pytest.approx((0.65, 1.35), abs=0.03)
    pausing = _tone(300, 4.0)
    pausing[:, 2 * RATE : 3 * RATE] = 0
    assert evaluate.end_limits(_sound("door_knock"), [early, pausing]) == pytest.approx(
        (2.65, 4.35), abs=0.03
    )


def _hears(kind: str) -> measures.Classifier:
    """Return a classifier that always hears the same kind."""
    size = measures.features(_tone(440, 1)).size
    return measures.Classifier((kind,), np.zeros(size), np.eye(size), np.zeros((1, size)))


def test_judge_marks_what_is_wrong() -> None:
    case = evaluate.Case("a tone", _sound("organ", hz=440.0), _tone(440, 4), 3.65, 4.35)
    right = evaluate.judge(case, case.waveform, _hears("organ")).right
    assert right == dict.fromkeys(("family", "kind", "end", "length", "pitch"), True)
    cut = _tone(470, 3.5)
    wrong = evaluate.judge(case, cut, _hears("flute")).right
    assert wrong == {
        "family": True,
        "kind": False,
        "end": False,
        "length": False,
        "pitch": False,
    }
    silent = evaluate.judge(case, np.zeros_like(cut), _hears("rain")).right
    assert not any(silent.values())
    loop = replace(case, sound=_sound("metronome", bpm=120.0))
    clicks = _clicks(np.arange(0, 4, 0.5), 4)
    assert evaluate.judge(loop, clicks, _hears("metronome")).right["tempo"]
    assert not evaluate.judge(loop, case.waveform, _hears("metronome")).right["tempo"]


def test_classifier_finds_the_nearest_class_and_features_ignore_level() -> None:
    rng = np.random.default_rng(0)
    centers = 3 * rng.standard_normal((3, 20))
    rows = np.concatenate([center + rng.standard_normal((30, 20)) for center in centers])
    classifier = measures.Classifier.fit(rows, ["a"] * 30 + ["b"] * 30 + ["c"] * 30)
    found = [classifier.label(center + rng.standard_normal(20)) for center in centers]
    assert found == ["a", "b", "c"]
    clip = synth.clip(1).waveform
    assert np.allclose(measures.features(clip), measures.features(0.1 * clip), atol=0.05)


def test_cases_are_held_out_balanced_and_repeatable() -> None:
    cases = list(evaluate.draw_cases(20, 5))
    families = Counter(case.sound.family for case in cases)
    assert len(cases) == 20 and families["drums"] == 6 and families["note"] == 7
    assert len({case.sound.kind for case in cases}) >= 18
    assert all(
        synth.bpm_is_held_out(case.sound.bpm) for case in cases if case.sound.bpm is not None
    )
    again = next(iter(evaluate.draw_cases(20, 5)))
    assert again.prompt == cases[0].prompt and np.array_equal(again.waveform, cases[0].waveform)
    assert next(iter(evaluate.draw_cases(20, 6))).prompt != cases[0].prompt


class _Fake:
    """A model whose autoencoder halves the level and whose sounds are silent and one sample short."""

    def encode(self, waveform: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(waveform, (0, 100)) / 2

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return latents

    def generate_batch(self, requests: list):
        assert len(requests) <= 3 and all(request.steps == 7 for request in requests)
        return [
            type("Sound", (), {"waveform": torch.zeros(2, round(r.seconds_total * RATE) - 1)})()
            for r in requests
        ]


def test_report_has_a_row_for_each_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(evaluate, "load", lambda source, device: _Fake())
    report, folder = tmp_path / "new" / "report.json", tmp_path / "sounds"
    options = "--prompts 8 --per-kind 1 --batch 3 --steps 7".split()
    evaluate.main([*options, "--output", str(report), "--save", str(folder)])
    figures = json.loads(report.read_text())["figures"]
    assert list(figures) == ["corpus", "reconstruction", "generated"]
    assert figures["corpus"]["length"] == {"right": 1.0, "of": 8}
    assert figures["corpus"]["end"]["right"] == figures["reconstruction"]["end"]["right"] >= 0.75
    assert figures["generated"]["length"]["right"] == figures["generated"]["end"]["right"] == 0
    assert len(list(folder.glob("*.wav"))) == 24
    assert "reconstruction" in capsys.readouterr().out


def test_unknown_row_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        evaluate.main(["--rows", "corpus,dreams"])
    assert "dreams" in capsys.readouterr().err
