"""The names of stable-audio-tools: parity with its runs, its arguments and shapes, none of its side effects."""

import copy
import inspect
import json
import logging
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from rounding import RUN
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.compat.stable_audio_tools import (
    StableAudioModel,
    copy_state_dict,
    create_model_from_config,
    create_model_from_config_path,
    generate_diffusion_cond,
    generate_diffusion_cond_inpaint,
    generate_diffusion_uncond,
    get_pretrained_model,
    load_ckpt_state_dict,
    prepare_audio,
    torchaudio,
)
from auralith.errors import AudioError, AuralithError, CheckpointError, InvalidRequest
from auralith.pipeline import EMBEDDED
from tests.conftest import GOLDEN, TINY_MODELS, relative_error

ROOT = Path(__file__).parents[2]
FRAME = 2048
CASES = [
    (model, name)
    for model in TINY_MODELS
    for name in json.loads((GOLDEN / model / "cases.json").read_text())
]
ITEM = {"prompt": "a bell", "seconds_start": 0, "seconds_total": 0.5}
QUICK: dict[str, Any] = {"steps": 3, "sample_size": 8 * FRAME, "seed": 3, "device": "cpu"}
CONDITIONED: dict[str, Any] = QUICK | {"conditioning": [ITEM]}
TONE = torch.sin(torch.linspace(0, 900, 8 * FRAME)).repeat(2, 1)


@pytest.fixture(scope="module")
def model() -> StableAudioModel:
    return get_pretrained_model(GOLDEN / "sao_tiny")[0]


@pytest.fixture(scope="module")
def small() -> StableAudioModel:
    return get_pretrained_model(GOLDEN / "sao_small_tiny")[0]


def generate(model: StableAudioModel, **changes: Any) -> Tensor:
    return generate_diffusion_cond(model, **(CONDITIONED | changes))


def golden_tensors(
    model: StableAudioModel, golden: dict[str, Tensor], context: str, rows: list[int]
) -> dict[str, tuple[Tensor, Tensor]]:
    """What the conditioner gave in the reference: text rows first, then a row per number."""
    states = golden[context][rows]
    names = model.cross_attn_cond_ids[1:]
    num_text = states.shape[1] - len(names)
    mask = golden["cond.prompt_mask"][rows].bool()
    if context == "cond.negative_context":
        mask = states[:, :num_text].abs().sum(-1) > 0
    tensors = {"prompt": (states[:, :num_text], mask)}
    for index, name in enumerate(names):
        row = states[:, num_text + index : num_text + index + 1]
        tensors[name] = (row, torch.ones(row.shape[:2]))
    return tensors


# --- parity ---


@pytest.mark.parametrize(("name", "case"), CASES)
def test_runs_of_the_reference_are_reproduced(name: str, case: str) -> None:
    model, _ = get_pretrained_model(GOLDEN / name)
    golden = load_file(GOLDEN / name / "golden.safetensors")
    cases = json.loads((GOLDEN / name / "cases.json").read_text())
    settings = cases[case]
    prompts = [entry[0] for entry in next(iter(cases.values()))["prompts"]]
    rows = [prompts.index(entry[0]) for entry in settings["prompts"]]
    expected = golden[f"gen.{case}.latents"]
    tensors = golden_tensors(model, golden, "cond.context", rows)
    inputs = model.get_conditioning_inputs(tensors)
    global_cond = inputs["global_cond"]
    assert global_cond is not None and torch.equal(global_cond, golden["cond.global"][rows])
    negative = None
    if settings["negative"]:
        negative = golden_tensors(model, golden, "cond.negative_context", rows)
    arguments: dict[str, Any] = {
        key: settings[key] for key in settings if key not in ("prompts", "negative")
    }
    arguments |= {"batch_size": len(rows), "sample_size": expected.shape[-1] * FRAME}
    arguments |= {"conditioning_tensors": tensors, "negative_conditioning_tensors": negative}
    latents = generate_diffusion_cond(model, device="cpu", return_latents=True, **arguments)
    assert relative_error(latents, expected) <= 1e-4
    waveform = generate_diffusion_cond(model, device="cpu", **arguments)
    assert relative_error(waveform, golden[f"gen.{case}.audio"]) <= 1e-4


def test_the_conditioner_gives_the_references_tensors(
    model: StableAudioModel, small: StableAudioModel
) -> None:
    """Within the float16 of its text encoder."""
    for ours, name in ((model, "sao_tiny"), (small, "sao_small_tiny")):
        golden = load_file(GOLDEN / name / "golden.safetensors")
        cases = json.loads((GOLDEN / name / "cases.json").read_text())
        items = [
            {"prompt": prompt, "seconds_start": start, "seconds_total": [total], "unused": "x"}
            for prompt, start, total in next(iter(cases.values()))["prompts"]
        ]
        tensors = ours.conditioner(items, "cpu")
        states, mask = tensors["prompt"]
        assert torch.equal(mask, golden["cond.prompt_mask"].bool())
        assert relative_error(states, golden["cond.prompt_tokens"]) < 1e-2
        inputs = ours.get_conditioning_inputs(tensors, negative=True)
        context, global_cond = inputs["negative_cross_attn_cond"], inputs["negative_global_cond"]
        assert context is not None and relative_error(context, golden["cond.context"]) < 1e-2
        assert global_cond is not None
        assert relative_error(global_cond, golden["cond.global"]) < 1e-5


def test_pretransform_and_forward_compute_what_the_reference_does(model: StableAudioModel) -> None:
    golden = load_file(GOLDEN / "sao_tiny" / "golden.safetensors")
    encoded = model.pretransform.encode(golden["vae.waveform"])
    assert relative_error(encoded, golden["vae.mean"]) <= 1e-4
    decoded = model.pretransform.decode(golden["vae.latents"])
    assert relative_error(decoded, golden["vae.decoded"]) <= 1e-4
    rows = list(range(golden["dit.x"].shape[0]))
    tensors = golden_tensors(model, golden, "cond.context", rows)
    out = model(golden["dit.x"], golden["dit.t"], tensors)
    assert relative_error(out, golden["dit.out"]) <= 1e-4


def test_encoding_samples_with_a_generator_only(model: StableAudioModel) -> None:
    waveform = TONE[None]
    mean = model.pretransform.encode(waveform)
    first, again = (
        model.pretransform.encode(waveform, torch.Generator().manual_seed(1)) for _ in range(2)
    )
    assert torch.equal(first, again) and not torch.equal(first, mean)


# --- side effects ---


def test_nothing_global_changes_and_nothing_is_printed(
    model: StableAudioModel, capsys: pytest.CaptureFixture[str]
) -> None:
    """The seed is drawn elsewhere, even for −1; SDE sampler, init audio and random initial weights included."""
    matmul = torch.backends.cuda.matmul
    matmul.allow_tf32 = True
    before = torch.random.get_rng_state()
    generate(model, seed=-1, init_audio=(44_100, TONE), sampler_type="dpmpp-3m-sde")
    create_model_from_config_path(GOLDEN / "sao_tiny" / "model_config.json")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert matmul.allow_tf32
    matmul.allow_tf32 = False
    assert capsys.readouterr() == ("", "")


def test_a_drawn_seed_is_logged_and_makes_the_same_audio(
    model: StableAudioModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "auralith"):
        made = generate(model, seed=-1)
    seed = int(caplog.messages[-1].removeprefix("seed "))
    assert torch.equal(generate(model, seed=seed), made)
    assert not torch.equal(generate(model, seed=seed + 1), made)


def test_results_are_ordinary_tensors(model: StableAudioModel) -> None:
    made = generate(model)
    assert not made.requires_grad and not made.is_inference()
    made.div_(made.abs().max())


# --- arguments and shapes ---


def test_order_and_defaults_of_the_arguments() -> None:
    parameters = inspect.signature(generate_diffusion_cond).parameters
    positional = [p for p in parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert {p.name: p.default for p in positional[1:]} == {
        "steps": 250,
        "cfg_scale": 6,
        "conditioning": None,
        "conditioning_tensors": None,
        "negative_conditioning": None,
        "negative_conditioning_tensors": None,
        "batch_size": 1,
        "sample_size": 2097152,
        "sample_rate": 48000,
        "seed": -1,
        "device": "cuda",
        "init_audio": None,
        "init_noise_level": 1.0,
        "return_latents": False,
    }
    inpaint = list(inspect.signature(generate_diffusion_cond_inpaint).parameters)
    assert inpaint[8:16] == [
        *("sample_size", "seed", "device", "init_audio", "init_noise_level"),
        *("inpaint_audio", "inpaint_mask", "return_latents"),
    ]
    uncond = list(inspect.signature(generate_diffusion_uncond).parameters)
    assert uncond[:9] == [
        *("model", "steps", "batch_size", "sample_size", "seed", "device", "init_audio"),
        *("init_noise_level", "return_latents"),
    ]


def test_the_whole_sample_size_is_returned(model: StableAudioModel) -> None:
    made = generate(model, conditioning=[ITEM, ITEM], batch_size=2, sample_size=5 * FRAME + 99)
    assert made.shape == (2, 2, 5 * FRAME)
    assert generate(model, return_latents=True).shape == (1, 16, 8)


def test_defaults_are_those_of_the_objective(
    model: StableAudioModel, small: StableAudioModel
) -> None:
    v = {"sampler_type": "dpmpp-2m-sde", "sigma_min": 0.01, "sigma_max": 100, "rho": 1}
    assert torch.equal(generate(model), generate(model, **v))
    assert not torch.equal(generate(model), generate(model, **(v | {"rho": 2.0})))
    flow = {"sampler_type": "euler", "sigma_max": 500, "sigma_min": 0.3, "rho": 3}
    assert torch.equal(generate(small), generate(small, **flow))


def test_attributes_that_programs_read(model: StableAudioModel, small: StableAudioModel) -> None:
    assert (model.sample_rate, model.io_channels, model.min_input_length) == (44_100, 16, FRAME)
    assert (model.diffusion_objective, small.diffusion_objective) == ("v", "rf_denoiser")
    assert model.pretransform.downsampling_ratio == FRAME and model.dist_shift is None
    assert model.pretransform.io_channels == 2
    assert next(model.parameters()).device == torch.device("cpu")


def test_model_generate_is_the_function(model: StableAudioModel) -> None:
    rest = {name: value for name, value in QUICK.items() if name != "steps"}
    assert torch.equal(model.generate(QUICK["steps"], 6, [ITEM], **rest), generate(model))


def test_conditioning_and_its_tensors_are_the_same(model: StableAudioModel) -> None:
    tensors = model.conditioner([ITEM], "cpu")
    negative = [ITEM | {"prompt": "hum"}]
    by_items = generate(model, negative_conditioning=negative)
    by_tensors = generate(
        model,
        conditioning=None,
        conditioning_tensors=tensors,
        negative_conditioning_tensors=model.conditioner(negative, "cpu"),
    )
    assert torch.equal(by_items, by_tensors)
    assert not torch.equal(by_items, generate(model))


def test_keywords_that_reach_the_network(model: StableAudioModel) -> None:
    plain, unguided = generate(model), generate(model, cfg_scale=1)
    assert not torch.equal(generate(model, scale_phi=0.7), plain)
    assert not torch.equal(generate(model, cfg_interval=(0.5, 1.0)), plain)
    high = {"sigma_min": 5.0, "cfg_interval": (0.0, 0.1)}  # never inside
    expected = generate(model, cfg_scale=1, sigma_min=5.0)
    assert relative_error(generate(model, **high), expected) <= RUN
    assert not torch.equal(plain, unguided)


@pytest.mark.parametrize("sampler_type", ["dpmpp-3m-sde", "v-ddim"])
def test_callbacks_get_the_references_keys(model: StableAudioModel, sampler_type: str) -> None:
    seen: list[dict[str, Any]] = []
    latents = generate(model, sampler_type=sampler_type, callback=seen.append, return_latents=True)
    assert [set(entry) for entry in seen] == [{"x", "i", "sigma", "sigma_hat", "denoised", "t"}] * 3
    assert [entry["i"] for entry in seen] == [0, 1, 2]
    assert torch.equal(seen[-1]["x"], latents)
    for entry in seen:
        t = torch.tensor(entry["t"].item())
        angle = t * torch.pi / 2
        expected = angle.sin() if sampler_type == "v-ddim" else angle.tan()
        assert torch.isclose(entry["sigma"], expected, rtol=1e-3)


def test_callbacks_can_stop_a_run(model: StableAudioModel) -> None:
    def stop(entry: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(model, callback=stop)


# --- init audio ---


def sampled_latents(model: StableAudioModel, waveform: Tensor, batch: int = 1) -> Tensor:
    """What the reference makes of init audio: the autoencoder draws after the initial noise."""
    generator = torch.Generator().manual_seed(QUICK["seed"])
    torch.randn(batch, 16, 8, generator=generator)
    return model.pretransform.encode(waveform, generator)


def test_init_audio_is_returned_for_little_noise(model: StableAudioModel) -> None:
    """And the distance to it grows with the noise."""
    z = sampled_latents(model, TONE[None])
    start = {"init_audio": (44_100, TONE), "sigma_min": 1e-4, "cfg_scale": 1}
    distances = [
        relative_error(generate(model, init_noise_level=level, return_latents=True, **start), z)
        for level in (1e-3, 1.0, 30.0)
    ]
    assert distances == sorted(distances) and distances[0] < 0.01 < distances[-1]


@pytest.mark.parametrize(("sampler_type", "scale"), [("v-ddim", 0.5**0.5), ("euler", 0.5)])
def test_init_audio_where_levels_are_times(
    model: StableAudioModel, small: StableAudioModel, sampler_type: str, scale: float
) -> None:
    """Latents and noise have equal shares at t = 0.5; noise is drawn first, then the autoencoder's sample."""
    ours = model if sampler_type == "v-ddim" else small
    seen: list[dict[str, Any]] = []
    start = {"init_audio": (44_100, TONE), "init_noise_level": 0.5, "steps": 1, "cfg_scale": 1}
    generate(ours, callback=seen.append, sampler_type=sampler_type, **start)
    noise = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(QUICK["seed"]))
    x = (sampled_latents(ours, TONE[None]) + noise) * scale
    v = ours(x, torch.tensor([0.5]), ours.conditioner([ITEM], "cpu"))
    expected = (x - v) * scale if sampler_type == "v-ddim" else x - v * scale
    assert relative_error(seen[0]["denoised"], expected) < 1e-5


def test_each_item_starts_from_its_own_audio(model: StableAudioModel) -> None:
    both = torch.stack((TONE, TONE.flip(-1)))
    start = {"init_noise_level": 1e-3, "sigma_min": 1e-4, "cfg_scale": 1, "return_latents": True}
    start |= {"conditioning": [ITEM, ITEM], "batch_size": 2}
    made = generate(model, init_audio=(44_100, both), **start)
    assert relative_error(made, sampled_latents(model, both, 2)) < 0.01
    shared = generate(model, init_audio=(44_100, TONE), **start)
    z = sampled_latents(model, TONE[None], 2)
    assert relative_error(shared, z.expand(2, -1, -1)) < 0.01


@pytest.mark.parametrize("shape", [(3000,), (1, 3000), (2, 3000), (1, 2, 3000), (5, 3000)])
def test_any_waveform_is_prepared(shape: tuple[int, ...]) -> None:
    prepared = prepare_audio(torch.ones(shape), 22_050, 44_100, 8000, 2, "cpu")
    assert prepared.shape == (1, 2, 8000)
    assert float(prepared[0, 1, 1000]) == pytest.approx(1, abs=0.01)
    assert not prepared[..., 6100:].any()
    assert prepare_audio(torch.ones(shape), 44_100, 44_100, 100, 1, "cpu").shape == (1, 1, 100)


# --- unconditional, inpainting ---


def test_unconditional_is_the_null_condition(model: StableAudioModel) -> None:
    """Zeros in place of the context, which tensors of zeros and masks of nothing give as well."""
    made = generate_diffusion_uncond(model, **QUICK)
    item = {"prompt": "", "seconds_start": 0, "seconds_total": 8 * FRAME / 44_100}
    tensors = model.conditioner([item], "cpu")
    context, _ = model.cross_attn_cond(tensors)
    assert made.shape == (1, 2, 8 * FRAME)
    inputs = model.global_cond(tensors, None)
    seen: list[dict[str, Any]] = []
    generate_diffusion_uncond(
        model, **(QUICK | {"callback": seen.append, "sampler_type": "v-ddim"})
    )
    noise = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(3))
    v = model.model(noise, torch.ones(1), torch.zeros_like(context), inputs)
    assert relative_error(seen[0]["denoised"], -v) < 1e-5


def test_inpainting_says_what_the_model_lacks(model: StableAudioModel) -> None:
    mask = torch.ones(1, 8 * FRAME)
    with pytest.raises(InvalidRequest, match=r"not trained for inpaint_audio.*auralith inpaint"):
        generate_diffusion_cond_inpaint(
            model, **CONDITIONED, inpaint_audio=(44_100, TONE), inpaint_mask=mask
        )
    assert torch.equal(generate_diffusion_cond_inpaint(model, **CONDITIONED), generate(model))


# --- the module ---


def test_train_and_eval_change_nothing(model: StableAudioModel) -> None:
    ours = copy.deepcopy(model)
    expected = generate(ours)
    assert torch.equal(generate(ours.train()), expected)
    assert torch.equal(generate(ours.eval().requires_grad_(False)), expected)


def test_half_precision_keeps_frequencies_exact(model: StableAudioModel) -> None:
    ours = copy.deepcopy(model).to(torch.bfloat16)
    kept = {n: p for n, p in ours.named_parameters() if n.endswith(".frequencies")}
    assert len(kept) == 3
    for name, parameter in kept.items():
        assert torch.equal(parameter, model.get_parameter(name))
    made = generate(ours)
    assert made.dtype is torch.bfloat16 and next(ours.parameters()).dtype is torch.bfloat16
    assert generate(ours, return_latents=True).dtype is torch.bfloat16
    assert ours.conditioner.ours.text.model.dtype is torch.bfloat16


def test_state_dicts_have_the_published_names(model: StableAudioModel, tmp_path: Path) -> None:
    state = model.state_dict()
    published = load_ckpt_state_dict(GOLDEN / "sao_tiny" / "model.safetensors")
    assert {name: t.shape for name, t in state.items()} == {
        name: t.shape for name, t in published.items()
    }
    save_file(state, tmp_path / "model.safetensors")
    for file in ("model_config.json", "t5"):
        (tmp_path / file).symlink_to(GOLDEN / "sao_tiny" / file)
    again, _ = get_pretrained_model(tmp_path)
    assert relative_error(generate(again), generate(model)) <= RUN


def test_a_model_from_its_config_takes_the_published_tensors(model: StableAudioModel) -> None:
    folder = GOLDEN / "sao_tiny"
    config = json.loads((folder / "model_config.json").read_text())
    ours = create_model_from_config(config, text_encoder=folder / "t5")
    assert not torch.equal(generate(ours), generate(model))
    published = load_ckpt_state_dict(folder / "model.safetensors")
    ours.load_state_dict(published)
    assert relative_error(generate(ours), generate(model)) <= RUN
    beside = create_model_from_config_path(folder / "model_config.json")
    copy_state_dict(beside, published)
    assert torch.equal(generate(beside), generate(ours))
    wrapper = torch.nn.ModuleDict({"inner": copy.deepcopy(ours)})
    wrapper.load_state_dict({f"inner.{name}": t for name, t in published.items()})
    del published["model.model.preprocess_conv.weight"]
    with pytest.raises(CheckpointError, match="preprocess_conv"):
        copy_state_dict(beside, published)


def test_the_config_is_the_files(model: StableAudioModel) -> None:
    """Also of a model whose global vector holds the text: the embedded one."""
    folder = GOLDEN / "sao_tiny"
    _, config = get_pretrained_model(str(folder))
    assert config == json.loads((folder / "model_config.json").read_text())
    embedded, config = get_pretrained_model(EMBEDDED)
    item = {"prompt": "a drum", "seconds_total": 1.0}
    made = generate(embedded, conditioning=[item], sampler_type="dpmpp-2m")
    negative = generate(
        embedded, conditioning=[item], sampler_type="dpmpp-2m", negative_conditioning=[item]
    )
    assert made.isfinite().all() and not torch.equal(made, negative)
    with pytest.raises(InvalidRequest, match=f"at most {config['sample_size']}"):
        generate(embedded, conditioning=[item], sample_size=2097152)


def test_default_keys_stand_in_for_missing_ones(model: StableAudioModel) -> None:
    ours = copy.deepcopy(model)
    ours.conditioner.default_keys = {"seconds_start": "seconds_total"}
    tensors = ours.conditioner([{"prompt": "a", "seconds_total": 7}], "cpu")
    expected = model.conditioner([{"prompt": "a", "seconds_total": 7, "seconds_start": 7}], "cpu")
    assert torch.equal(tensors["seconds_start"][0], expected["seconds_start"][0])


# --- what can't be done ---


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 3}, "conditioning has 1 items, but batch_size is 3"),
        ({"conditioning": None}, "conditioning is missing"),
        ({"conditioning": ITEM}, "is a dict; give a list"),
        ({"conditioning": [{"prompt": "a"}]}, "item 0 .* no 'seconds_start'"),
        ({"conditioning": [ITEM | {"prompt": 3}]}, "prompt is 3, not text"),
        ({"conditioning": [ITEM | {"seconds_total": "long"}]}, "seconds_total is 'long'"),
        ({"negative_conditioning": [{"prompt": "hum"}]}, "no 'seconds_start'"),
        ({"sampler_type": "dpmpp-3m-sdd"}, 'did you mean "dpmpp-3m-sde"'),
        ({"sampler_type": "pingpong"}, "another objective"),
        ({"sigma_min": 200}, "sigma_min is 200"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"sample_size": 2047}, "at least 2048"),
        ({"seed": -2}, "seed is -2"),
        ({"device": "cuda"}, 'pass device="cpu"'),
        ({"device": "gpu9"}, "gpu9"),
        ({"scale_phi": 2}, "scale_phi is 2"),
        ({"cfg_interval": (1, 0)}, "cfg_interval"),
        ({"cfg_scale": float("nan")}, "cfg_scale"),
        ({"init_audio": (TONE, 44_100)}, "sample rate, tensor"),
        ({"init_audio": (44_100, TONE.long())}, "int64; give floats"),
        ({"init_audio": (0, TONE)}, "0 Hz"),
        ({"init_audio": (44_100, TONE * torch.nan)}, "NaN"),
        ({"init_audio": (44_100, TONE.repeat(3, 1, 1))}, "3 waveforms"),
        ({"init_audio": (44_100, TONE), "init_noise_level": 0}, "sigma_max 0"),
    ],
)
def test_bad_arguments_are_one_line(
    model: StableAudioModel, changes: dict[str, Any], message: str
) -> None:
    # beartype would be first: here the values are a user's, unchecked
    unchecked: Callable[..., Tensor] = inspect.unwrap(generate_diffusion_cond)
    expected = AudioError if message == "NaN" else InvalidRequest
    with pytest.raises(expected, match=message) as caught:
        unchecked(model, **(CONDITIONED | changes))
    assert "\n" not in str(caught.value)


def test_tensors_of_another_model_are_one_line(
    model: StableAudioModel, small: StableAudioModel
) -> None:
    tensors = small.conditioner([ITEM], "cpu")
    with pytest.raises(InvalidRequest, match="no states and mask of 'seconds_start'"):
        generate(model, conditioning=None, conditioning_tensors=tensors)
    two = model.conditioner([ITEM, ITEM], "cpu")
    with pytest.raises(InvalidRequest, match="batch_size 1 needs"):
        generate(model, conditioning=None, conditioning_tensors=two)
    short = {
        name: (s[:, -9:], m[:, -9:]) for name, (s, m) in model.conditioner([ITEM], "cpu").items()
    }
    with pytest.raises(InvalidRequest, match="tokens"):
        generate(model, negative_conditioning_tensors=short)


def test_unknown_keywords_are_named(model: StableAudioModel) -> None:
    with pytest.raises(TypeError, match="sampler"):
        generate(model, sampler="dpmpp-3m-sde")


def test_a_missing_checkpoint_is_one_line() -> None:
    with pytest.raises(AuralithError, match="there is no file or folder"):
        get_pretrained_model("./nowhere/at/all")


# --- the card's snippet ---


def test_the_cards_snippet_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ROOT / "examples" / "card_stable_audio_tools.py"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), str(GOLDEN / "sao_tiny")])
    runpy.run_path(str(script))
    assert capsys.readouterr().out == ""
    samples, rate = soundfile.read("output.wav", dtype="int16")
    assert rate == 44_100 and samples.shape == (65_536, 2)
    assert abs(samples).max() == 32_767


def test_saving_keeps_integers_bit_for_bit(tmp_path: Path) -> None:
    samples = torch.arange(-(2**15), 2**15, 7, dtype=torch.int16).repeat(2, 1)
    torchaudio.save(tmp_path / "a.wav", samples, 48_000)
    waveform, rate = torchaudio.load(tmp_path / "a.wav")
    assert rate == 48_000 and torch.equal((waveform * 2**15).short(), samples)
    torchaudio.save(tmp_path / "b.wav", waveform, 48_000)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a.wav").read_bytes()
    with pytest.raises(InvalidRequest, match="int64"):
        torchaudio.save(tmp_path / "c.wav", samples.long(), 48_000)
