"""`--fast`: what a level stands for, how far its sounds drift, and that a sound stays its own in any batch."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from rounding import RUN

from auralith import GenerationRequest
from auralith.cli.main import run
from auralith.config import ModelConfig
from auralith.diffusion import OBJECTIVES
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
from auralith.errors import InvalidRequest
from auralith.fast import LEVELS, MOST_FAST, OVERRULED, level_of
from auralith.models import step_cache
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import changed
from auralith.resolution import Resolver
from auralith.samplers import find_sampler
from auralith.sound.reading import read
from tests.conftest import GOLDEN, relative_error

NUMBERS = range(1, MOST_FAST + 1)
DRIFT = {1: 0.1, 2: 0.2, 3: 0.5}
"""Relative error of latents; docs/speed.md has the figures that these bounds are some three times of."""
TINY = GOLDEN / "sao_tiny"


@pytest.fixture(scope="module")
def embedded() -> Auralith:
    return load(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def tiny() -> Auralith:
    model = load(TINY, device="cpu", dtype="float32")
    model.config = replace(model.config, window_samples=2_048 * 64)
    return model


def settings_of(request: GenerationRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in OVERRULED}


@pytest.fixture
def whole_rows(embedded: Auralith) -> Iterator[list[int]]:
    """Rows that went through the last block of the embedded model, call by call."""
    rows: list[int] = []
    last = embedded.dit.blocks[-1]
    hook = last.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    yield rows
    hook.remove()


@pytest.mark.parametrize("objective", LEVELS)
def test_each_level_takes_less_than_the_one_before(objective: Any) -> None:
    levels = LEVELS[objective]
    assert len(levels) == MOST_FAST
    for level in levels:
        find_sampler(level.sampler, OBJECTIVES[objective])
    for slower, faster in pairwise(levels):
        assert slower.steps > faster.steps
        assert slower.cache_threshold <= faster.cache_threshold


@pytest.mark.parametrize("number", NUMBERS)
def test_a_level_is_filled_in_and_what_is_given_besides_wins(number: int) -> None:
    resolver = Resolver(ModelConfig())
    resolved = resolver.resolve(GenerationRequest("rain", fast=number))
    level = LEVELS["v"][number - 1]
    assert settings_of(resolved) == vars(level) and resolved.fast is None
    assert resolver.resolve(resolved) == resolved
    own = {
        "steps": 50,
        "sampler": "k-heun",
        "cfg_interval": (0.0, 1.0),
        "cache_threshold": 0.0,
    }
    for name, value in own.items():
        resolved = resolver.resolve(GenerationRequest("rain", fast=number, **{name: value}))
        assert settings_of(resolved) == vars(level) | {name: value}
    sigmas = (80.0, 5.0, 1.0, 0.0)
    resolved = resolver.resolve(GenerationRequest("rain", fast=number, sigmas=sigmas))
    assert (resolved.steps, resolved.sigmas, resolved.sampler) == (3, sigmas, level.sampler)


def test_without_one_nothing_is_left_out_and_no_level_takes_more_than_usual() -> None:
    config = ModelConfig()
    resolved = Resolver(config).resolve(GenerationRequest("rain"))
    assert settings_of(resolved) == vars(level_of(None, config.objective, config.sampling))
    assert (resolved.cfg_interval, resolved.cache_threshold) == ((0.0, 1.0), 0.0)
    short = replace(config.sampling, steps=5)
    assert all(level_of(number, "v", short).steps == 5 for number in NUMBERS)


def test_a_level_overrules_what_an_earlier_sound_was_made_with() -> None:
    resolver = Resolver(ModelConfig())
    made = resolver.resolve(GenerationRequest("rain", sigmas=(80.0, 1.0, 0.0), cache_threshold=0.5))
    again = resolver.resolve(changed(made, {"fast": 2}))
    assert settings_of(again) == vars(LEVELS["v"][1]) and again.sigmas is None
    again = resolver.resolve(changed(made, {"fast": 2, "steps": 9}))
    assert settings_of(again) == vars(LEVELS["v"][1]) | {"steps": 9}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fast": 4}, "fast is 4; it must be from 1 to 3"),
        ({"fast": 0}, "from 1 to 3"),
        ({"fast": 1.5}, "whole number"),
        ({"fast": True}, "whole number"),
        ({"fast": "2"}, "whole number"),
        ({"cache_threshold": -0.1}, "at least 0"),
        ({"cache_threshold": 1.5}, "at most 1"),
        ({"cache_threshold": float("nan")}, "finite"),
    ],
)
def test_bad_values_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        GenerationRequest("rain", **change)


def test_a_distilled_model_has_no_levels(sa3_small: Auralith) -> None:
    with pytest.raises(InvalidRequest, match="fast is 1, but this model is distilled to 8 steps"):
        sa3_small.generate(GenerationRequest("rain", seconds_total=1.0, fast=1))


def test_drift_and_evaluations_are_within_what_is_stated(
    embedded: Auralith, whole_rows: list[int]
) -> None:
    request = GenerationRequest("a plucked string, note A4", seconds_total=1.0, seed=1)

    def denoised(**changes: Any) -> tuple[torch.Tensor, int]:
        whole_rows.clear()
        return embedded.denoise([replace(request, **changes)]), sum(whole_rows)

    exact, _ = denoised(steps=60)

    def error(latents: torch.Tensor) -> float:
        return float((latents - exact).norm() / exact.norm())

    usual, most = denoised()
    assert error(usual) < 0.05
    for number in NUMBERS:
        fast, rows = denoised(fast=number)
        again, _ = denoised(fast=number)
        assert torch.equal(again, fast)
        assert rows < most * (0.75 - 0.1 * number)
        assert error(usual) < error(fast) < DRIFT[number]
        assert error(fast) < error(denoised(fast=number, seed=2)[0])


@pytest.mark.parametrize(
    ("name", "steps", "threshold"),
    [("embedded", 16, 0.2), ("small", 8, 0.37), ("medium", 8, 0.377)],
)
def test_a_sound_is_the_same_alone_and_in_a_batch(
    name: str,
    steps: int,
    threshold: float,
    embedded: Auralith,
    sa3_models: dict[tuple[str, str], Auralith],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where others of the batch are computed at steps that it reuses, and the other way round."""
    model = embedded if name == "embedded" else sa3_models[name, "rectified_flow"]
    prompts = ("a gong", "kick drum loop at 120 BPM", "wind")
    changes: list[list[float]] = []
    change = step_cache._change

    def spied(*given: Any) -> torch.Tensor:
        found = change(*given)
        changes[-1].append(float(found))
        return found

    monkeypatch.setattr(step_cache, "_change", spied)
    requests = [
        GenerationRequest(
            prompt,
            seconds_total=0.7,
            seed=seed,
            steps=steps,
            cache_threshold=threshold,
            cfg_scale=3.0,
        )
        for seed, prompt in enumerate(prompts)
    ]
    changes.append([])
    together = model.denoise(requests)
    decided = [value <= threshold for value in changes[0]]
    by_step = [decided[start : start + 3] for start in range(0, len(decided), 3)]
    assert any(0 < sum(step) < 3 for step in by_step)
    assert all(abs(value - threshold) > 1e-3 * threshold for value in changes[0])  # no toss-up
    for place, request in enumerate(requests):
        changes.append([])
        alone = model.denoise([request])
        assert [value <= threshold for value in changes[-1]] == decided[place::3]
        assert relative_error(together[place : place + 1], alone) < RUN
        changes.append([])
        again = model.denoise([request] * len(requests))  # as --from makes one of a batch again
        assert torch.equal(again[place], together[place])


def test_without_a_threshold_there_is_no_cache(
    tiny: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = GenerationRequest("rain", seconds_total=0.4, steps=16, seed=5, window="fit")
    plain = tiny.generate(request).waveform
    cached = tiny.generate(replace(request, cache_threshold=1.0)).waveform
    assert not torch.equal(cached, plain)
    monkeypatch.delattr("auralith.models.step_cache.StepCache.rows_after")  # whoever asks one fails
    for same in ({"cache_threshold": 0.0}, {"cfg_interval": (0.0, 1.0)}):
        assert torch.equal(tiny.generate(replace(request, **same)).waveform, plain)


def test_edits_take_a_level(tiny: Auralith) -> None:
    generator = torch.Generator().manual_seed(3)
    clip = Clip(0.1 * torch.randn(2, 44_100, generator=generator), 44_100)
    request = GenerationRequest("rain", seed=5, window="fit", cfg_scale=2.0, fast=3)
    level = vars(LEVELS["v"][2])
    for edit in (
        lambda: vary(tiny, request, clip, Variation(0.5)),
        lambda: inpaint(tiny, request, clip, Inpainting(((0.2, 0.5),), passes=1)),
        lambda: extend(tiny, request, clip, Extension(1.5)),
        lambda: make_loop(tiny, request, Loop(1.0)),
    ):
        assert settings_of(edit().provenance.settings) == level


def test_a_file_brings_its_level_back(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    made, again, faster = (str(tmp_path / name) for name in ("a.wav", "b.wav", "c.wav"))
    place = ("--model", str(TINY), "--subtype", "float")
    command = ["generate", "rain", *place, "--seconds", "0.3", "--seed", "2", "--dtype", "float32"]
    assert run([*command, "--fast", "2", "-o", made]) == 0
    settings = read_provenance(made).settings
    assert settings_of(settings) == vars(LEVELS["v"][1])
    assert run(["generate", "--from", made, *place, "-o", again]) == 0
    assert torch.equal(read(made)[0], read(again)[0])
    assert run(["generate", "--from", made, "--fast", "3", *place, "-o", faster]) == 0
    assert settings_of(read_provenance(faster).settings) == vars(LEVELS["v"][2])
    capsys.readouterr()
    assert run([*command, "--fast", "4"]) == 2
    assert "--fast is 4; it must be from 1 to 3" in capsys.readouterr().err
