"""The model card's second usage: what goes in, what comes out, what is refused, files. Numbers: test_diffusers_peer."""

import json
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch
import transformers
from rounding import RUN
from tiny_diffusers import FRAMES, HOP, RATE, SECONDS, seeded, tiny_pipeline, tiny_vae

from auralith.checkpoints import convert
from auralith.compat.diffusers import (
    CosineDPMSolverMultistepScheduler,
    StableAudioPipeline,
    StableAudioProjectionModel,
)
from auralith.errors import CheckpointError, InvalidRequest, NonFiniteError
from auralith.noise import BrownianTree
from auralith.samplers.sigma import dpmpp_2m_sde
from tests.conftest import GOLDEN, relative_error

EXAMPLE = Path(__file__).parents[2] / "examples/card_diffusers.py"
QUICK: dict[str, Any] = {"num_inference_steps": 3}


@pytest.fixture
def pipeline() -> StableAudioPipeline:
    return tiny_pipeline()


@pytest.fixture(scope="module")
def unchanged() -> StableAudioPipeline:
    """For calls that are refused."""
    return tiny_pipeline()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("diffusers") / "model"
    tiny_pipeline().save_pretrained(out)
    return out


def sound_of(pipeline: StableAudioPipeline, **call: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    return pipeline("a drum", generator=seeded(0), **QUICK | call).audios


# --- the card ---


def test_the_cards_snippet(
    saved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["card_diffusers.py", str(saved), "1.0"])
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    info = sf.info("hammer.wav")
    assert (info.frames, info.channels, info.samplerate) == (RATE, 2, RATE)
    assert "200/200" in capsys.readouterr().err  # the progress bar


def test_example_is_the_card_but_for_its_import() -> None:
    lines = EXAMPLE.read_text().splitlines()
    assert len(lines) <= 60
    assert "from auralith.compat.diffusers import StableAudioPipeline" in lines


# --- the scheduler ---


@pytest.mark.parametrize("solver", ["midpoint", "heun"])
def test_scheduler_is_our_2m_sde_from_another_scale(solver: Any) -> None:
    def denoise(x: torch.Tensor, sigma: float) -> torch.Tensor:
        return x * 0.25 / (0.25 + sigma**2)

    scheduler = CosineDPMSolverMultistepScheduler(solver_type=solver)
    scheduler.set_timesteps(12)
    assert scheduler.init_noise_sigma == pytest.approx(np.hypot(500, 1), rel=1e-12)
    x = start = torch.randn(1, 4, 16, generator=seeded(0)) * scheduler.init_noise_sigma
    for index, t in enumerate(scheduler.timesteps):
        sigma = float(scheduler.sigmas[index])
        c_skip, c_out = 1 / (sigma**2 + 1), -sigma / (sigma**2 + 1) ** 0.5
        v = (denoise(x, sigma) - c_skip * x) / c_out
        x = scheduler.step(v, t, x, generator=seeded(7)).prev_sample
        assert scheduler.step_index == index + 1
    noise = BrownianTree(7, (1, 4, 16), 0.3, 500.0)
    *_, last = dpmpp_2m_sde(denoise, start, scheduler.sigmas.tolist(), noise, solver=solver)
    assert relative_error(x, last.x) <= 1e-4
    with pytest.raises(InvalidRequest, match="set_timesteps"):
        scheduler.step(x, scheduler.timesteps[-1], x)


def test_scheduler_takes_what_the_caller_made_of_its_sample() -> None:
    """Programs blend latents between steps; what was returned before must stay as it was."""
    noise = torch.randn(1, 4, 16, generator=seeded(0))
    results = []
    for change in (False, True):
        scheduler = CosineDPMSolverMultistepScheduler()
        scheduler.set_timesteps(4)
        x, seen = noise * 500, []
        for t in scheduler.timesteps:
            given = x * 0 if change else x
            x = scheduler.step(torch.zeros_like(x), t, given, generator=seeded(1))[0]
            seen.append((x, x.clone()))
        assert all(torch.equal(*pair) for pair in seen)
        results.append(x)
    assert not results[1].any() and results[0].any()


def test_scheduler_begins_anywhere() -> None:
    scheduler = CosineDPMSolverMultistepScheduler()
    scheduler.set_timesteps(10)
    x = torch.ones(1, 4, 16)
    scheduler.step(x, scheduler.timesteps[8], x, generator=seeded(0))
    assert scheduler.step_index == 9
    scheduler.set_timesteps(5, sigma_max=2.0)
    assert float(scheduler.sigmas[0]) == pytest.approx(2.0)
    with pytest.raises(InvalidRequest, match="up to 500"):
        scheduler.set_timesteps(5, sigma_max=501.0)


def test_scheduler_settings_travel(tmp_path: Path) -> None:
    scheduler = CosineDPMSolverMultistepScheduler(solver_type="heun", sigma_max=80)
    scheduler.save_pretrained(tmp_path)
    again = CosineDPMSolverMultistepScheduler.from_pretrained(tmp_path)
    assert again.config == scheduler.config
    changed = CosineDPMSolverMultistepScheduler.from_config(scheduler.config, sigma_min=1)
    assert changed.config.sigma_min == 1 and changed.config.solver_type == "heun"
    assert len(changed) == 1000
    with pytest.raises(InvalidRequest, match="fixed"):
        changed.config["sigma_min"] = 2
    for wrong in (
        {"solver_order": 3},
        {"prediction_type": "epsilon"},
        {"sigma_min": 600},
        {"final_sigmas_type": "sigma_min"},
    ):
        with pytest.raises(InvalidRequest):
            CosineDPMSolverMultistepScheduler(**wrong)
    with pytest.raises(InvalidRequest, match="scheduler_config"):
        CosineDPMSolverMultistepScheduler.from_pretrained(tmp_path / "none")


# --- what comes out ---


def test_output_by_attribute_key_index_and_tuple(pipeline: StableAudioPipeline) -> None:
    call = {"prompt": "a", "audio_end_in_s": 1.0} | QUICK
    out = pipeline(**call)
    assert out.audios is out[0] is out["audios"] is out.to_tuple()[0]
    assert isinstance(pipeline(**call, return_dict=False), tuple)
    assert out.audios.shape == (1, 2, RATE)
    array = pipeline(**call, output_type="np").audios
    assert isinstance(array, np.ndarray) and array.dtype == np.float32


def test_seconds_become_samples_by_truncation(pipeline: StableAudioPipeline) -> None:
    for start, end, samples in ((0.0, 1.0019, 500), (0.5, 1.0, 250), (1.0, 1.0, 0)):
        sound = pipeline("a", end, start, **QUICK).audios
        assert sound.shape == (1, 2, samples)
    assert pipeline("a", **QUICK).audios.shape[-1] == FRAMES * HOP


def test_only_needed_frames_are_decoded_and_equal_the_whole(pipeline: StableAudioPipeline) -> None:
    whole = sound_of(pipeline)
    latents = sound_of(pipeline, output_type="latent", audio_end_in_s=SECONDS)
    assert relative_error(pipeline.vae.decode(latents).sample, whole) <= 1e-5
    short = sound_of(pipeline, latents=torch.zeros(1, 4, 20))
    assert short.shape[-1] == 20 * HOP


def test_items_of_a_list_of_generators_stand_alone(pipeline: StableAudioPipeline) -> None:
    prompts = ["a", "rain on a roof"]
    both = pipeline(
        prompts,
        num_waveforms_per_prompt=2,
        generator=[seeded(i) for i in range(4)],
        **QUICK,
    ).audios
    for i, sound in enumerate(both):
        alone = pipeline(prompts[i // 2], generator=[seeded(i)], **QUICK).audios
        assert relative_error(sound, alone[0]) <= RUN


def test_the_global_generator_is_touched_only_without_one(pipeline: StableAudioPipeline) -> None:
    before = torch.get_rng_state()
    sound_of(pipeline, initial_audio_waveforms=torch.zeros(1, 99), initial_audio_sampling_rate=RATE)
    assert torch.equal(before, torch.get_rng_state())
    sounds = []
    for _ in range(2):
        torch.manual_seed(4)
        sounds.append(pipeline("a", **QUICK).audios)
    assert torch.equal(*sounds)


def test_start_and_total_condition_the_model(pipeline: StableAudioPipeline) -> None:
    seen: dict[str, list[float]] = {}
    for name, embedder in pipeline.projection_model.numbers.items():

        def remember(_: object, values: tuple[torch.Tensor], name: str = name) -> None:
            seen[name] = values[0].tolist()

        embedder.register_forward_pre_hook(remember)
    pipeline(["a", "b"], [102.0, 101.0], 100.0, audio_total_in_s=180.0, **QUICK)
    assert seen == {"seconds_start": [100.0, 100.0], "seconds_total": [180.0, 180.0]}


def test_initial_audio_of_any_channel_count(pipeline: StableAudioPipeline) -> None:
    mono = 0.3 * torch.randn(1, 3 * RATE, generator=seeded(1))
    call = {"initial_audio_sampling_rate": RATE, "output_type": "latent"}
    forms = (mono, mono[:, None], mono[:, None].expand(-1, 2, -1))
    found = [sound_of(pipeline, initial_audio_waveforms=form, **call) for form in forms]
    assert all(torch.equal(found[0], other) for other in found[1:])
    to_mono = tiny_pipeline(channels=1)
    stereo = torch.stack((mono[0], -mono[0]))[None]
    silent = sound_of(to_mono, initial_audio_waveforms=torch.zeros_like(mono), **call)
    assert torch.equal(sound_of(to_mono, initial_audio_waveforms=stereo, **call), silent)


def test_initial_audio_survives_little_noise(pipeline: StableAudioPipeline) -> None:
    audio = 0.3 * torch.randn(1, 2, FRAMES * HOP, generator=seeded(1))
    with torch.no_grad():
        latents = pipeline.vae.encode(audio).latent_dist.sample(seeded(0))
    call = {"initial_audio_waveforms": audio, "initial_audio_sampling_rate": RATE}
    distances = [
        float(
            (sound_of(pipeline, output_type="latent", init_noise_level=s, **call) - latents).norm()
        )
        for s in (0.31, 3.0, 30.0)
    ]
    assert distances == sorted(distances)


# --- callbacks ---


def test_both_callbacks(pipeline: StableAudioPipeline) -> None:
    legacy, modern = [], []

    def on_step_end(pipe: Any, step: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        modern.append((step, float(t), tuple(tensors)))
        assert pipe.num_timesteps == 4
        if step == 3:
            tensors["latents"] = torch.zeros_like(tensors["latents"])
        return tensors

    out = pipeline(
        "a",
        num_inference_steps=4,
        output_type="latent",
        callback=lambda step, t, latents: legacy.append((step, latents.shape)),
        callback_steps=2,
        callback_on_step_end=on_step_end,
    ).audios
    assert legacy == [(0, (1, 4, FRAMES)), (2, (1, 4, FRAMES))]
    assert [step for step, *_ in modern] == [0, 1, 2, 3]
    assert all(names == ("latents",) for *_, names in modern)
    assert not out.any()


def test_a_callback_changes_guidance_and_stops(pipeline: StableAudioPipeline) -> None:
    plain = sound_of(pipeline, output_type="latent")
    steps: list[int] = []

    def louder(pipe: Any, step: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        pipe._guidance_scale += 1
        return tensors

    def stop(pipe: Any, step: int, t: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.append(step)
        pipe._interrupt = step == 1
        return tensors

    changed = sound_of(pipeline, output_type="latent", callback_on_step_end=louder)
    assert pipeline.guidance_scale == 10 and not torch.equal(plain, changed)
    sound_of(pipeline, output_type="latent", callback_on_step_end=stop, num_inference_steps=9)
    assert steps == [0, 1] and pipeline.interrupt


# --- what is refused ---

EMBEDS = torch.zeros(1, 16, 64)
WAVE: dict[str, Any] = {"initial_audio_waveforms": torch.zeros(1, 2, 99)}
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("set audio_total_in_s", {"audio_end_in_s": 9.0}),
    ("must not be below audio_start", {"audio_start_in_s": 2.0, "audio_end_in_s": 1.0}),
    ("audio_start_in_s is -1 s", {"audio_start_in_s": -1.0, "audio_end_in_s": 1.0}),
    ("audio_end_in_s is 513", {"audio_start_in_s": 512.0, "audio_end_in_s": 513.0}),
    ("below audio_end_in_s", {"audio_end_in_s": 2.0, "audio_total_in_s": 1.0}),
    ("give seconds", {"audio_end_in_s": "1"}),
    ("give seconds", {"audio_end_in_s": float("nan")}),
    ("differ in length", {"audio_end_in_s": [1.0, 2.0], "audio_start_in_s": [0.0] * 3}),
    ("2 values of seconds for 1", {"audio_end_in_s": [1.0, 2.0]}),
    ("callback_steps is 0", {"callback_steps": 0}),
    ("callback_steps is None", {"callback_steps": None}),
    ("not both", {"prompt_embeds": EMBEDS}),
    ("give a prompt", {"prompt": None}),
    ("prompt is a tuple", {"prompt": ("a",)}),
    ("not both", {"negative_prompt": "b", "negative_prompt_embeds": EMBEDS}),
    (
        "must be equal",
        {"prompt": None, "prompt_embeds": EMBEDS, "negative_prompt_embeds": EMBEDS[:, 1:]},
    ),
    (
        "one value per token",
        {
            "prompt": None,
            "prompt_embeds": EMBEDS,
            "negative_prompt_embeds": EMBEDS,
            "attention_mask": torch.ones(1, 3, dtype=torch.long),
        },
    ),
    ("initial_audio_sampling_rate, 500", WAVE),
    ("to 500", WAVE | {"initial_audio_sampling_rate": 44_100}),
    ("1 negative prompts for 2", {"prompt": ["a", "b"], "negative_prompt": ["c"]}),
    ("num_inference_steps is 0", {"num_inference_steps": 0}),
    ("num_waveforms_per_prompt", {"num_waveforms_per_prompt": 1.5}),
    ("guidance_scale is 'x'", {"guidance_scale": "x"}),
    ("2 generators for 1", {"generator": [seeded(0), seeded(1)]}),
    ("latents are", {"latents": torch.zeros(2, 4, FRAMES)}),
    (
        "noise level to begin at",
        WAVE | {"initial_audio_sampling_rate": RATE, "init_noise_level": 0.1},
    ),
    (
        "waveforms are",
        {"initial_audio_waveforms": torch.zeros(9), "initial_audio_sampling_rate": RATE},
    ),
    (
        "waveforms are",
        {"initial_audio_waveforms": torch.zeros(2, 9), "initial_audio_sampling_rate": RATE},
    ),
    ("output_type is 'wav'", {"output_type": "wav"}),
    ("tensor is 'prompt'", {"callback_on_step_end_tensor_inputs": ["prompt"]}),
]


@pytest.mark.parametrize(("message", "call"), REFUSED)
def test_refused_in_one_line(
    unchanged: StableAudioPipeline, message: str, call: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=message) as error:
        unchanged(**{"prompt": "a"} | QUICK | call)
    assert isinstance(error.value, InvalidRequest) and "\n" not in str(error.value)


def test_a_negative_prompt_of_another_kind_is_a_type_error(pipeline: StableAudioPipeline) -> None:
    for call in (
        {"prompt": "a", "negative_prompt": ["b"]},
        {"prompt": ["a"], "negative_prompt": "b"},
    ):
        with pytest.raises(TypeError, match="give both alike"):
            pipeline(**call, **QUICK)
    embeds = {"prompt_embeds": EMBEDS, "negative_prompt": "b"}
    with pytest.raises(TypeError):
        pipeline(**embeds, **QUICK)
    pipeline(**embeds, guidance_scale=1.0, **QUICK)  # ignored without guidance


def test_length_comes_before_the_rest(pipeline: StableAudioPipeline) -> None:
    with pytest.raises(ValueError, match="at most"):
        pipeline(None, 600.0, callback_steps=0)
    with pytest.raises(ValueError, match="callback_steps"):
        pipeline(None, 1.0, callback_steps=0, **WAVE)


def test_check_inputs_by_itself(pipeline: StableAudioPipeline) -> None:
    pipeline.check_inputs("a", 0.0, 1.0, 1)
    with pytest.raises(ValueError, match="give a prompt"):
        pipeline.check_inputs(None, 0.0, 1.0, 1)


def test_a_broken_network_is_named(pipeline: StableAudioPipeline) -> None:
    torch.nn.init.constant_(pipeline.transformer.network.conv_out.weight, float("nan"))
    with pytest.raises(NonFiniteError, match="float32"):
        pipeline("a", **QUICK)


# --- files ---


def test_save_and_load(pipeline: StableAudioPipeline, saved: Path) -> None:
    again = StableAudioPipeline.from_pretrained(saved)
    # weight norm is folded once at loading, not by torch's kernel at each call: equal up to rounding
    assert relative_error(sound_of(again), sound_of(pipeline)) <= 1e-5
    index = json.loads((saved / "model_index.json").read_bytes())
    assert index["_class_name"] == "StableAudioPipeline"
    assert sorted(again.components) == sorted(name for name in index if not name.startswith("_"))
    networks = [c for c in again.components.values() if isinstance(c, torch.nn.Module)]
    assert len(networks) == 4 and not any(network.training for network in networks)


def test_saving_over_what_is_there(pipeline: StableAudioPipeline, tmp_path: Path) -> None:
    pipeline.scheduler = CosineDPMSolverMultistepScheduler(solver_type="heun")
    pipeline.save_pretrained(tmp_path)
    pipeline.save_pretrained(tmp_path, safe_serialization=False)
    files = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 12 and not any(name.endswith(".bin") for name in files)
    assert StableAudioPipeline.from_pretrained(tmp_path).scheduler.config.solver_type == "heun"


def test_variants(pipeline: StableAudioPipeline, saved: Path, tmp_path: Path) -> None:
    shutil.copytree(saved, tmp_path, dirs_exist_ok=True)
    with torch.no_grad():
        pipeline.transformer.network.project_in.weight.zero_()
    pipeline.to(torch.float16).save_pretrained(tmp_path, variant="fp16")
    names = {path.name for path in (tmp_path / "transformer").iterdir()}
    assert {
        "diffusion_pytorch_model.safetensors",
        "diffusion_pytorch_model.fp16.safetensors",
    } < names
    plain = StableAudioPipeline.from_pretrained(tmp_path)
    half = StableAudioPipeline.from_pretrained(tmp_path, variant="fp16", dtype=torch.float16)
    assert plain.transformer.network.project_in.weight.any()
    assert not half.transformer.network.project_in.weight.any()
    with pytest.raises(ValueError, match="`variant=bf16`"):
        StableAudioPipeline.from_pretrained(tmp_path, variant="bf16")


def test_dtypes(saved: Path) -> None:
    half = StableAudioPipeline.from_pretrained(saved, torch_dtype=torch.bfloat16)
    networks = [c for c in half.components.values() if isinstance(c, torch.nn.Module)]
    assert {network.dtype for network in networks} == {torch.bfloat16}
    assert sound_of(half).dtype == torch.bfloat16
    assert sound_of(half, output_type="np").dtype == np.float32
    assert sound_of(half, output_type="latent").dtype == torch.bfloat16
    mixed = {"transformer": torch.bfloat16, "default": torch.float16}
    dtypes = StableAudioPipeline.from_pretrained(saved, dtype=mixed)
    assert dtypes.transformer.dtype == torch.bfloat16 and dtypes.vae.dtype == torch.float16
    with pytest.raises(ValueError, match="not both"):
        StableAudioPipeline.from_pretrained(saved, dtype=torch.float32, torch_dtype=torch.float32)


def test_casts_leave_frequencies_exact(pipeline: StableAudioPipeline) -> None:
    exact = pipeline.transformer.network.timestep_features.frequencies.clone()
    pipeline.to(torch.bfloat16).to("cpu", torch.float32)
    assert torch.equal(pipeline.transformer.network.timestep_features.frequencies, exact)
    pipeline.transformer.half()
    assert pipeline.transformer.dtype == torch.float16
    assert torch.equal(pipeline.transformer.network.timestep_features.frequencies, exact)


def test_components_by_keyword(saved: Path) -> None:
    vae = tiny_vae()
    pipeline = StableAudioPipeline.from_pretrained(
        saved,
        vae=vae,
        text_encoder=None,
        tokenizer=None,
        scheduler=CosineDPMSolverMultistepScheduler(sigma_max=80),
        device_map="cpu",
        use_safetensors=True,
    )
    assert pipeline.vae is vae and pipeline.scheduler.config.sigma_max == 80
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline(prompt_embeds=EMBEDS, **QUICK).audios.isfinite().all()
    with pytest.raises(InvalidRequest, match="no text encoder"):
        pipeline("a", **QUICK)
    with pytest.raises(InvalidRequest, match="put it back"):
        pipeline.save_pretrained(saved)
    opened = type(vae).from_pretrained(saved, subfolder="vae")
    assert opened.sampling_rate == RATE


def test_other_layouts(tmp_path: Path) -> None:
    single = StableAudioPipeline.from_pretrained(GOLDEN / "sao_tiny")
    assert sound_of(single, audio_end_in_s=0.5).shape == (1, 2, 22_050)
    assert single.tokenizer is not None and single.tokenizer.model_max_length == 32
    # programs may call whatever these classes have
    assert isinstance(single.tokenizer, transformers.PreTrainedTokenizerBase)
    assert isinstance(single.text_encoder, transformers.T5EncoderModel)
    assert single.scheduler.config.sigma_max == 500
    single.save_pretrained(tmp_path / "folder")
    convert(tmp_path / "folder", tmp_path / "back")
    again = StableAudioPipeline.from_pretrained(tmp_path / "back")
    assert torch.equal(sound_of(again, audio_end_in_s=0.5), sound_of(single, audio_end_in_s=0.5))
    with pytest.raises(CheckpointError, match="no scheduler"):
        StableAudioPipeline.from_pretrained(GOLDEN / "sao_small_tiny")


def test_the_embedded_model_through_the_cards_names(tmp_path: Path) -> None:
    import auralith.pipeline

    pipeline = StableAudioPipeline.from_pretrained(auralith.pipeline.EMBEDDED)
    sound = sound_of(pipeline, audio_end_in_s=1.0, num_inference_steps=1)
    assert sound.shape == (1, 2, 44_100)
    with pytest.raises(InvalidRequest, match="knows no start"):
        sound_of(pipeline, audio_start_in_s=1.0, audio_end_in_s=2.0)
    with pytest.raises(CheckpointError, match="no diffusers form"):
        pipeline.save_pretrained(tmp_path / "model")


def test_a_name_on_the_hub_from_the_cache(saved: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--owner--tiny"
    shutil.copytree(saved, repository / "snapshots" / "abc")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    options = {"cache_dir": tmp_path, "local_files_only": True}
    pipeline = StableAudioPipeline.from_pretrained("owner/tiny", **options)
    assert pipeline.vae.sampling_rate == RATE
    with pytest.raises(CheckpointError, match="not in the local cache"):
        StableAudioPipeline.from_pretrained("owner/other", **options)
    with pytest.raises(CheckpointError, match="not in the local cache"):
        StableAudioPipeline.from_pretrained("owner/tiny", revision="v2", **options)


# --- components as programs use them ---


def test_surface_of_the_components(pipeline: StableAudioPipeline) -> None:
    assert pipeline.vae.sampling_rate == pipeline.vae.config.sampling_rate == RATE
    assert pipeline.vae.hop_length == HOP
    assert pipeline.transformer.config["sample_size"] == pipeline.transformer.config.sample_size
    assert pipeline.device.type == "cpu" and pipeline.dtype == torch.float32
    with pytest.raises(AttributeError, match="sampling_rate"):
        _ = pipeline.vae.config.sample_rate
    waveform = torch.randn(3, 2, 4 * HOP, generator=seeded(0))
    with torch.no_grad():
        whole = pipeline.vae.encode(waveform, return_dict=False)[0].mode()
        pipeline.vae.enable_slicing()
        assert relative_error(pipeline.vae.encode(waveform).latent_dist.mode(), whole) <= 1e-5
        assert pipeline.vae(waveform).sample.shape == waveform.shape


def test_memory_switches_change_nothing(pipeline: StableAudioPipeline) -> None:
    plain = sound_of(pipeline)
    pipeline.enable_attention_slicing(1)
    pipeline.vae.enable_tiling()
    pipeline.enable_model_cpu_offload(device="cpu")
    assert torch.equal(sound_of(pipeline), plain)
    assert pipeline.device.type == "cpu"


def test_progress_bar_settings(
    pipeline: StableAudioPipeline, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline.set_progress_bar_config(desc="sound")
    pipeline("a", **QUICK)
    assert "sound" in capsys.readouterr().err
    sound_of(pipeline)
    assert not capsys.readouterr().err


def test_a_text_encoder_of_another_width_is_refused(pipeline: StableAudioPipeline) -> None:
    parts = pipeline.components
    parts["projection_model"] = StableAudioProjectionModel(32, 32)
    with pytest.raises(InvalidRequest, match="64 wide"):
        StableAudioPipeline(**parts)


def test_no_word_of_the_machine_in_saved_files(saved: Path) -> None:
    for path in saved.rglob("*.json"):
        assert os.sep + "tmp" not in path.read_text()
