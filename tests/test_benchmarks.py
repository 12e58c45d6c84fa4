"""The benchmarks run, and what they compare computes the same. No time is tested."""

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auralith.controls import check
from auralith.controls.notes import Key
from auralith.families.model_config import config_from_json
from tests.conftest import relative_error
from tests.sa3 import SA3

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def measured(folder: Path, script: str, *options: str) -> Any:
    output = folder / "rows.json"
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *options, "--rounds", "1", "--output", output],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    return json.loads(output.read_text())


@pytest.mark.slow
def test_generation_is_compared_on_equal_results(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    rows = measured(
        tmp_path,
        *("generate.py", "--scale", "small", "--only", "step,decode", "--dtype", "float32"),
    )["rows"]
    compared = {(row["what"], row["latents"]): row for row in rows if "ratio" in row}
    assert list(compared) == [("step", 216), ("step", 1_024), ("decode", 128)]
    for row in compared.values():
        assert set(row["values"]) == {"auralith", "diffusers"}
        assert row["difference"] < 2e-4
        assert row["share_of_ceiling"] > 0


def test_stable_audio_3_is_compared_on_equal_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ours and diffusers with one set of weights, at the sizes of the tests."""
    pytest.importorskip("diffusers")
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    candidates, sa3_peers, stable_audio_3 = map(
        import_module, ("candidates", "sa3_peers", "stable_audio_3")
    )
    data = json.loads((SA3 / "medium_tiny" / "model_config.json").read_text())
    config = config_from_json(data)
    networks = candidates.random_networks(config, torch.float32)
    weights = sa3_peers.single_file_weights(networks, config)
    peers = [sa3_peers.ours(networks), sa3_peers.diffusers(config, weights)]
    x, t, *given = stable_audio_3.inputs(config, 30)
    with torch.inference_mode():
        found = [(one.step(*given)(x, t), one.decode(x)) for one in peers if one is not None]
    (ours, our_sound), (theirs, their_sound) = found
    assert relative_error(ours, theirs) < 1e-3  # an epsilon of norms differs
    assert relative_error(our_sound, their_sound) < 1e-5


def test_growth_is_measured_above_the_loaded_model() -> None:
    options = json.dumps({"part": "clip", "amount": 0.5, "model": None, "steps": 1})
    command = [sys.executable, BENCHMARKS / "growth.py", "--point", options]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    point = json.loads(done.stdout)
    assert 0 < point["loaded_bytes"] <= point["peak_bytes"] and point["seconds"] > 0


@pytest.mark.slow
def test_int8_is_compared_with_its_error(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    options = ("--scale", "small", "--only", "step", "--budget", "1")
    rows = {row["what"]: row for row in measured(tmp_path, "quantized.py", *options)["rows"]}
    assert rows["transformer"]["ratio"] < 0.4
    for frames in (216, 1_024):
        assert rows[f"step, {frames} latents"]["ratio"] > 0
        # guidance by 7 takes 7 and -6 times two predictions that are nearly equal: √(7² + 6²) times their 1 %
        assert 0 < rows[f"error of the step, {frames} latents"]["values"]["int8"] < 0.1


@pytest.mark.slow
def test_training_is_compared_on_equal_losses(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    (row,) = measured(
        tmp_path,
        *("train_step.py", "--depth", "1", "--frames", "32", "--batch", "1"),
        *("--precision", "float32"),
    )
    assert set(row["seconds"]) == set(row["bytes"]) == {"auralith", "diffusers"}
    assert row["difference"] < 2e-3  # of the loss after an update


def test_the_clocks_of_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.metrics import frechet, search

    frechet(50, 8)
    search(3, 40, 16, 2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("50 × 8 frames: ") and second.startswith(
        "3 queries in 40 × 16, k = 2: "
    )


def test_measures_of_controls_are_judged_on_known_sounds(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from benchmarks.control_fonts import midi_file
    from benchmarks.control_sounds import Case, synthesized
    from benchmarks.controls import print_row, verdict

    known = list(synthesized(1, 0))
    chosen = [case for case in known if (case.control, case.source) == ("count", "corpus hits")]
    print_row("counter", chosen, lambda sound: 1, 0)
    row = "| count | corpus hits | 1 | counter | – | 100 · 0 · 0 · 0 | 100 · 0 · 0 · 0 |  |"
    assert capsys.readouterr().out.startswith(row)
    loop = Case("tempo", "loops", 120.0, known[0].sound)
    found = {value: verdict(loop, value) for value in (121.0, 240.5, 59.0, 100.0, None)}
    assert list(found.values()) == ["right", "octave", "octave", "wrong", "untold"]
    silent = Case("tempo", "textures", None, known[0].sound)
    assert (verdict(silent, None), verdict(silent, 90.0)) == ("right", "wrong")
    notes = midi_file([(0.0, 24, 60, 0.5, 96), (1.0, -1, 36, 0.1, 100)])
    assert notes[:4] == b"MThd" and notes.endswith(b"\xff\x2f\x00") and b"\x99\x24\x64" in notes


def test_recordings_are_read_for_what_their_names_and_lists_state(tmp_path: Path) -> None:
    from benchmarks.control_recordings import recorded

    tone = 0.3 * np.sin(2 * np.pi * 466.16 * np.arange(22_050) / 44_100)
    for name in (
        *("samples/loop_mika.flac", "samples/bd_pure.flac"),
        *("recorded/359628__mtg__sax-tenor-d-minor.wav", "x/oboe_As4_1_forte_normal.mp3"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, tone, 44_100)
    rng = np.random.default_rng(0)
    found = [case for part in ("tuning", "held-out") for case in recorded(8, part, rng, tmp_path)]
    truths = {(case.control, case.source): case.truth for case in found}
    assert truths["tempo", "recorded loops"] == pytest.approx(16 * 60 / 0.5)
    assert truths["key", "recorded music"] == Key(2, "minor")
    assert truths["pitch", "orchestra"] == pytest.approx(466.16, abs=0.01)
    shots = [case.truth for case in found if case.source == "recorded one-shots"]
    assert shots == list(range(1, 9))


def test_what_is_planted_at_ends_is_there() -> None:
    from benchmarks.control_ends import CHECKS, LOOP_CHECKS

    white = np.random.default_rng(0).standard_normal((2, 22_050))
    smooth = np.hanning(24) / 50
    noise = np.stack([np.convolve(one, smooth, "same") for one in white])
    for control, prompt, name, plant, should in (*CHECKS, *LOOP_CHECKS):
        if name in ("untouched", "peak at 0 dBFS", "cut short"):
            continue
        planted = plant(noise, 44_100, np.random.default_rng(1))
        assert planted is not None, name
        results = check(prompt, planted.astype(np.float32), 44_100)
        assert [r.met for r in results if r.control == control] == [should], (control, name)
