"""Stable Audio 3 through every way in: batches, streams, edits, commands, bad input."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.cli.main import run
from auralith.editing import (
    Clip,
    Extension,
    Inpainting,
    Loop,
    Variation,
    extend,
    inpaint,
    make_loop,
    vary,
)
from auralith.errors import CheckpointError, InvalidRequest
from auralith.families.model_config import config_from_json
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.resolution import Resolver
from auralith.sound.reading import read
from tests.sa3 import SA3, SIZES, write_sa3

QUICK: dict[str, Any] = {"steps": 2, "seed": 3, "seconds_total": 1.0}


def test_an_item_of_a_batch_is_the_sound_alone(sa3_small: Auralith) -> None:
    requests = [
        GenerationRequest("rain on tin roof", seconds_total=seconds, seed=seed, steps=2)
        for seconds, seed in ((1.0, 1), (0.63, 2), (1.0, 3))
    ]
    together = sa3_small.generate_batch(requests)
    for request, sound in zip(requests, together, strict=True):
        alone = sa3_small.generate(request).waveform
        assert sound.waveform.shape == alone.shape == (2, round(640 * (request.seconds_total or 0)))
        torch.testing.assert_close(sound.waveform, alone, rtol=1e-4, atol=1e-5)


def test_a_peak_beyond_full_scale_is_cut_and_told_unless_it_is_normalized(
    sa3_small: Auralith,
) -> None:
    request = GenerationRequest("rain", **QUICK, fade_in=0.0, fade_out=0.0)
    cut = sa3_small.generate(request)
    assert float(cut.waveform.abs().max()) == 1.0
    assert any("its peak was +" in warning for warning in cut.warnings)
    assert torch.equal(cut.leveled(), cut.waveform)
    whole = sa3_small.generate(replace(request, normalize=True))
    assert float(whole.waveform.abs().max()) > 1.0
    torch.testing.assert_close(whole.waveform.clamp(-1, 1), cut.waveform, rtol=0, atol=0)


def test_a_stream_is_the_whole(sa3_small: Auralith) -> None:
    request = GenerationRequest("rain", **QUICK)
    pieces: Iterator[Tensor] = sa3_small.stream(request, chunk_frames=4)
    streamed = torch.cat(list(pieces), dim=-1)
    torch.testing.assert_close(streamed, sa3_small.generate(request).waveform, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def clip() -> Clip:
    generator = torch.Generator().manual_seed(8)
    return Clip(0.3 * torch.randn(2, 900, generator=generator).clamp(-3, 3), 640)


@pytest.mark.parametrize("size", SIZES)
def test_repainting_keeps_the_rest_bit_for_bit(
    size: str, sa3_models: dict[tuple[str, str], Auralith], clip: Clip
) -> None:
    model = sa3_models[size, "rf_denoiser"]
    request = GenerationRequest("rain", steps=2, seed=1)
    made = inpaint(model, request, clip, Inpainting(((0.5, 0.7), (1.0, 1.1)), crossfade=0.02))
    changed = (made.waveform != clip.waveform).any(0).nonzero().flatten() / 640
    near = [bool(((t > 0.45) & (t < 0.75)) | ((t > 0.95) & (t < 1.15))) for t in changed]
    assert len(near) > 100
    assert all(near)


def test_the_network_is_shown_what_is_kept(
    sa3_small: Auralith, clip: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    prepare = sa3_small.dit.prepare

    def watched(context, vector, frames, extra, valid=None, **mask) -> Any:
        seen.append(extra)
        return prepare(context, vector, frames, extra, valid, **mask)

    monkeypatch.setattr(sa3_small.dit, "prepare", watched)
    inpaint(sa3_small, GenerationRequest("rain", steps=1, seed=1), clip, Inpainting(((0.5, 0.7),)))
    (extra,) = seen
    frames = 15 + 60  # of 900 samples, and of six seconds of headroom
    assert extra.shape == (1, 9, frames)
    assert extra[0, 0].tolist() == [float(f < 5 or 7 <= f < 15) for f in range(frames)]
    assert not extra[0, 1:, extra[0, 0] == 0].any()


def test_other_edits_work(sa3_small: Auralith, clip: Clip) -> None:
    request = GenerationRequest("rain", steps=2, seed=1)
    varied = vary(sa3_small, request, clip, Variation(strength=0.5))
    assert varied.waveform.shape == (2, 900)
    longer = extend(sa3_small, request, clip, Extension(2.0, crossfade=0.02))
    assert longer.waveform.shape == (2, 1280)
    assert torch.equal(longer.waveform[:, :860], clip.waveform[:, :860])
    loop = make_loop(sa3_small, request, Loop(seconds=2.0))
    assert loop.waveform.shape == (2, 1280)


def test_commands(tmp_path: Path, capsys) -> None:
    model = str(write_sa3("small", tmp_path / "model", sample_rate=6_400))
    copied = tmp_path / "copied"
    assert run(["inspect", model]) == 0
    assert "231 tensors" in capsys.readouterr().out
    assert run(["convert", model, str(copied), "--to", "single-file"]) == 0
    assert (copied / "t5gemma" / "model.safetensors").is_file()
    made, again, other = (str(tmp_path / name) for name in ("made.wav", "again.wav", "other.wav"))
    options = ["--seconds", "0.5", "--steps", "2", "--seed", "4", "--subtype", "float"]
    assert run(["generate", "rain", "--model", model, *options, "-o", made]) == 0
    assert run(["generate", "rain", "--model", str(copied), *options, "-o", other]) == 0
    assert (
        run(["generate", "--from", made, "--model", model, "--subtype", "float", "-o", again]) == 0
    )
    sounds = [read(path)[0] for path in (made, again, other)]
    assert sounds[0].shape == (2, 3_200)
    assert all(torch.equal(sound, sounds[0]) for sound in sounds[1:])
    rows = tmp_path / "rows.csv"
    rows.write_text("prompt,seconds,steps\nrain,0.4,2\nwind,0.5,2\n")
    assert run(["batch", str(rows), "--model", model, "-o", str(tmp_path / "set")]) == 0
    assert len(list((tmp_path / "set").glob("*.wav"))) == 2


def test_bad_input_is_refused_in_one_line(sa3_small: Auralith, tmp_path: Path, capsys) -> None:
    with pytest.raises(InvalidRequest, match=r"at most 40\.00 s at once"):
        sa3_small.generate(GenerationRequest("rain", seconds_total=41.0))
    without = write_sa3("small", tmp_path / "without")
    for path in (without / "t5gemma").iterdir():
        path.unlink()
    assert run(["generate", "rain", "--model", str(without), "-o", str(tmp_path / "x.wav")]) == 2
    error = capsys.readouterr().err
    assert "put the folder t5gemma of a T5Gemma encoder beside it" in error
    assert len(error.strip().splitlines()) == 1
    unknown = write_sa3("small", tmp_path / "unknown", diffusion_objective="v")
    with pytest.raises(CheckpointError, match=r"diffusion_objective is 'v'; supported: rect"):
        load(unknown)


@pytest.mark.parametrize("name", ["small-music", "medium-base"])
def test_a_sound_is_as_long_as_the_published_default(name: str) -> None:
    """The published 120 s, within the window: medium's is of 380 s."""
    config = config_from_json(json.loads((SA3 / f"{name}.model_config.json").read_text()))
    resolver = Resolver(config)
    assert resolver.resolve(GenerationRequest("rain")).seconds_total == 120.0
    short = replace(config, window_samples=40 * 44_100)
    assert Resolver(short).resolve(GenerationRequest("rain")).seconds_total == 40.0


def test_prompts_are_given_as_they_are_encoded(sa3_small: Auralith) -> None:
    request = GenerationRequest("rain on tin roof", **QUICK)
    encoded = sa3_small.encode_prompt("rain on tin roof")
    found = sa3_small.generate(replace(request, prompt=encoded)).waveform
    assert np.array_equal(found.numpy(), sa3_small.generate(request).waveform.numpy())
