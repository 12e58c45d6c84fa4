"""Stable Audio 3 from a folder of its published layout, against the reference's runs."""

import copy
import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from auralith.conditioning import MaskedInput
from auralith.config import DistributionShift, ModelConfig
from auralith.diffusion import OBJECTIVES, Guidance, Projection, shift_times
from auralith.errors import InvalidRequest
from auralith.families.model_config import config_from_json, config_to_json
from auralith.guided import guided
from auralith.noise import ReferenceNoise
from auralith.pipeline import Auralith
from auralith.request import GenerationRequest, NoiseOrder
from auralith.resolution import Resolver
from auralith.samplers.path import rk4
from auralith.samplers.schedules import flux_shift, logsnr_shift, shifted_times
from auralith.steering import Steering
from tests.conftest import relative_error
from tests.sa3 import SA3, sa3_cases, sa3_tensors

pytestmark = pytest.mark.usefixtures("reference_frequencies")
SAMPLERS = {"dpmpp": "dpmpp-bounded"}
tensors = cache(sa3_tensors)


def names(group: str, *parts: str) -> list[Any]:
    found = [c for c in sa3_cases(group) if not parts or any(part in c["name"] for part in parts)]
    return [pytest.param(case, id=case["name"]) for case in found]


def given(case: dict[str, Any]) -> dict[str, Tensor]:
    return {key: tensors()[name] for key, name in case["inputs"].items()}


def expected(case: dict[str, Any], key: str) -> Tensor:
    return tensors()[case["outputs"][key]]


@pytest.mark.parametrize("case", names("conditioning"))
@torch.inference_mode()
def test_conditions_equal_the_reference(
    case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith], caplog
) -> None:
    conditioner = sa3_models[case["model"], "rf_denoiser"].conditioner
    params = case["params"]
    found = conditioner(params["prompts"], {"seconds_total": params["seconds_total"]})
    assert relative_error(found.context, expected(case, "cross_attn_cond")) < 1e-5
    assert relative_error(found.global_embed, expected(case, "global_cond")) < 1e-5
    assert "prompt has 20 tokens, the limit is 12" in caplog.text
    texts = conditioner.encode_text(params["prompts"])
    assert torch.equal(texts.mask, given(case)["attention_mask"].bool())
    states = expected(case, "last_hidden_state") * texts.mask.unsqueeze(-1)
    assert relative_error(texts.states, states) < 1e-5
    negative = conditioner(params["prompts"], {"seconds_total": [1.0] * 4}, negative=True)
    assert not negative.context[2, :-1].any()  # of an empty prompt only the seconds are left


def guided_velocity(
    model: Auralith, case: dict[str, Any], inputs: dict[str, Tensor], times: list[float]
) -> Tensor:
    """The velocity of each item, which has a time of its own."""
    params = case["params"]
    guidance = Guidance(
        params["cfg_scale"],
        params.get("scale_phi", 0.0),
        projection=Projection(
            1 - params.get("apg_scale", 1.0), params.get("cfg_norm_threshold", 0.0)
        ),
        rounds_as_reference=True,
    )
    found = []
    for index, time in enumerate(times):
        x, context, vector, local = (
            inputs[name][index : index + 1]
            for name in ("x", "cross_attn_cond", "global_cond", "local_add_cond")
        )
        if "negative_cross_attn_cond" in inputs:
            mask = inputs["negative_cross_attn_mask"][index : index + 1].unsqueeze(-1)
            negative = inputs["negative_cross_attn_cond"][index : index + 1] * mask
            context = torch.cat((context, negative))
        valid = inputs.get("padding_mask")
        predict = guided(
            model.dit,
            OBJECTIVES["rf_denoiser"],
            guidance,
            1,
            context,
            vector.repeat(2, 1),
            x.shape[-1],
            local.repeat(2, 1, 1),
            None if valid is None else [int(valid[index].sum())],
        )
        found.append(predict(x, time).v)
    return torch.cat(found)


@pytest.mark.parametrize("case", names("dit", "/cfg3", "/cfg4", "/cfg7"))
@torch.inference_mode()
def test_guidance_equals_the_reference(
    case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith]
) -> None:
    inputs = given(case)
    found = guided_velocity(
        sa3_models[case["model"], "rf_denoiser"], case, inputs, inputs["t"].tolist()
    )
    assert relative_error(found, expected(case, "v")) < 1e-5


@pytest.mark.parametrize("case", names("sampler"))
@torch.inference_mode()
def test_rk4_equals_the_reference(
    case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith]
) -> None:
    inputs, model = given(case), sa3_models[case["model"], "rf_denoiser"]
    predict = guided(
        model.dit,
        OBJECTIVES["rf_denoiser"],
        Guidance(case["params"]["cfg_scale"], projection=Projection(0.0), rounds_as_reference=True),
        len(inputs["x"]),
        inputs["cross_attn_cond"],
        inputs["global_cond"].repeat(2, 1),
        inputs["x"].shape[-1],
        inputs["local_add_cond"].repeat(2, 1, 1),
    )
    *_, last = rk4(predict, inputs["x"], inputs["sigmas"].tolist(), lambda *_: inputs["x"])
    assert relative_error(last.x, expected(case, "x")) < 1e-5


def shift_of(name: str, length: int) -> Any:
    if name.startswith("logsnr"):
        return logsnr_shift(length, rate=1.0 if "rate1" in name else 0.0)
    if name.startswith("flux"):
        return flux_shift(length)
    if name == "none":
        return lambda t: t
    shift = DistributionShift(use_sine="sine" in name)
    return lambda t: shift_times(t, shift, length)


@pytest.mark.parametrize("case", names("schedule"))
def test_schedules_equal_the_reference(case: dict[str, Any]) -> None:
    params, rows = case["params"], expected(case, "sigmas").view(-1, case["params"]["steps"] + 1)
    for row, length in zip(rows, params.get("lengths", [params.get("length", 0)]), strict=True):
        shift = shift_of(params["shift"], length)
        top = params.get("sigma_max", 1.0)
        found = shifted_times(params["steps"], top, shift, rescaled=False)
        torch.testing.assert_close(torch.tensor(found), row, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", names("schedule_monotone"))
def test_a_schedule_below_full_noise_falls_unless_it_is_the_published_one(
    case: dict[str, Any], sa3_small: Auralith
) -> None:
    steps, top = case["params"]["steps"], case["params"]["sigma_max"]
    orders: dict[NoiseOrder, str] = {"item": "sigmas", "reference": "published"}
    for noise, key in orders.items():
        request = sa3_small.resolve(
            GenerationRequest("rain", steps=steps, sigma_max=top, noise=noise, seconds_total=1.0)
        )
        levels = torch.tensor(sa3_small.sampler(request).levels(sa3_small.schedule(request)))
        torch.testing.assert_close(levels, expected(case, key), rtol=1e-6, atol=1e-6)
        if noise == "item":
            assert (levels.diff() < 0).all()


def published(name: str) -> ModelConfig:
    return config_from_json(json.loads((SA3 / f"{name}.model_config.json").read_text()))


@pytest.mark.parametrize("name", ["small-music", "small-music-base", "medium", "medium-base"])
def test_published_configs_are_read_and_written(name: str) -> None:
    config = published(name)
    assert config_from_json(config_to_json(config)) == config
    sampling = config.sampling
    steps, scale, sampler = (50, 7.0, "euler") if "base" in name else (8, 1.0, "pingpong")
    assert (sampling.steps, sampling.cfg_scale, sampling.sampler) == (steps, scale, sampler)
    seconds = config.audio.seconds(config.window_samples)
    assert round(seconds) == (380 if "medium" in name else 121 if "base" in name else 120)


def test_lengths_are_the_published_ones() -> None:
    base = published("medium")
    for row in json.loads((SA3 / "lengths.json").read_text()):
        sampling = replace(base.sampling, headroom=row["padding"])
        limit = row["sample_size_limit"]
        resolver = Resolver(replace(base, window_samples=limit, sampling=sampling))
        seconds = row["seconds"]
        if seconds * 44_100 > limit:
            with pytest.raises(InvalidRequest, match="at most"):
                resolver.resolve(GenerationRequest("rain", seconds_total=seconds))
            continue
        alone = resolver.resolve(GenerationRequest("rain", seconds_total=seconds))
        padded = resolver.resolve(
            GenerationRequest("rain", seconds_total=seconds, noise="reference")
        )
        assert resolver.num_frames(alone) == row["valid_latents"]
        assert resolver.padded_frames([alone]) is None
        assert resolver.padded_frames([padded]) == row["latents"]
        assert abs(resolver.num_samples(alone) - row["output_samples"]) <= 1


def requests_of(params: dict[str, Any]) -> list[GenerationRequest]:
    prompts, seconds = (
        value if isinstance(value, list) else [value]
        for value in (params["prompt"], params["duration"])
    )
    sampler = params.get("sampler_type")
    return [
        GenerationRequest(
            prompt,
            negative_prompt=params.get("negative_prompt"),
            seconds_total=length,
            seed=params["seed"],
            steps=params.get("steps"),
            cfg_scale=params.get("cfg_scale"),
            sigma_max=params.get("init_noise_level"),
            sampler=SAMPLERS.get(sampler, sampler) if sampler else None,
            noise="reference",
        )
        for prompt, length in zip(prompts, seconds, strict=True)
    ]


def model_of(case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith]) -> Auralith:
    params = case["params"]
    model = sa3_models[case["model"], params["objective"]]
    if "duration_padding_sec" in params:
        model = copy.copy(model)
        sampling = replace(model.config.sampling, headroom=params["duration_padding_sec"])
        model.config = replace(model.config, sampling=sampling)
    return model


@pytest.mark.parametrize("case", names("generate", "text", "batch", "negative", "base"))
def test_runs_equal_the_reference_draw_by_draw(
    case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith]
) -> None:
    model, result = model_of(case, sa3_models), expected(case, "result")
    requests = requests_of(case["params"])
    if case["params"].get("return_latents"):
        assert relative_error(model.denoise(requests), result) < 1e-5
        return
    sounds = model.generate_batch(requests)
    for sound, request, reference in zip(sounds, requests, result, strict=True):
        size = round((request.seconds_total or 0) * 640)
        assert sound.waveform.shape == (2, size)
        assert float((sound.waveform - reference[:, :size]).abs().max()) < 1e-5
        assert any("beyond full scale were cut off" in warning for warning in sound.warnings)


def kept_frames(params: dict[str, Any], num_frames: int) -> Tensor:
    """The reference's mask: samples outside the regions and before the end, seen at the first sample of each frame."""
    kept = torch.ones(num_frames * 64)
    starts, ends = (
        value if isinstance(value, list) else [value]
        for value in (params["inpaint_mask_start_seconds"], params["inpaint_mask_end_seconds"])
    )
    for start, end in zip(starts, ends, strict=True):
        kept[int(start * 640) : int(end * 640)] = 0
    kept[int(params["duration"] * 640) :] = 0
    return kept[::64][None, None]


@pytest.mark.parametrize("case", names("generate", "init_audio", "inpaint", "continuation"))
@torch.inference_mode()
def test_runs_from_a_sound_equal_the_reference(
    case: dict[str, Any], sa3_models: dict[tuple[str, str], Auralith]
) -> None:
    params, (sound,) = case["params"], given(case).values()
    model, (request,) = model_of(case, sa3_models), requests_of(params)
    if case["name"].endswith("monotone"):
        sigmas = model.resolve(replace(request, noise="item"))
        levels = model.sampler(sigmas).levels(model.schedule(sigmas))
        request = replace(request, sigmas=levels, steps=None, sigma_max=None)
    resolved = model.resolve(request)
    frames = model.padded_frames([resolved])
    assert frames is not None
    streams = ReferenceNoise(params["seed"], (1, 8, frames))
    padded = torch.nn.functional.pad(sound, (0, max(0, frames * 64 - sound.shape[-1])))
    encoded = model.codec.encode_as_reference(padded[None, :, : frames * 64], streams.draw)
    if "inpaint_audio" in case["inputs"]:
        shown = MaskedInput.of(encoded, kept_frames(params, frames))
        steering = Steering(shown=shown, streams=streams)
    else:
        steering = Steering(encoded, streams=streams)
    latents = model.denoise([request], steering)
    waveform = model.codec.decode_as_reference(latents, streams.draw).clamp(-1, 1)
    result = expected(case, "result")
    result = result.view(1, 2, -1)
    assert float((waveform[..., : result.shape[-1]] - result).abs().max()) < 1e-5
