"""Beside diffusers itself: the same numbers from the same generators, and its defects, which are not ours."""

import importlib
import importlib.util
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from rounding import RUN
from tiny_diffusers import FRAMES, HOP, RATE, seeded, tiny_pipeline

from auralith.checkpoints import convert
from auralith.compat.diffusers import CosineDPMSolverMultistepScheduler, StableAudioPipeline
from tests.conftest import GOLDEN, relative_error

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchsde") is None,
    reason="diffusers' scheduler needs torchsde, which diffusers does not install",
)
QUICK: dict[str, Any] = {"num_inference_steps": 4}


def peer_library() -> Any:
    return importlib.import_module("diffusers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("peer") / "model"
    tiny_pipeline().save_pretrained(out)
    return out


@pytest.fixture(scope="module")
def ours(folder: Path) -> StableAudioPipeline:
    pipeline = StableAudioPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.fixture(scope="module")
def peer(folder: Path) -> Iterator[Any]:
    diffusers = peer_library()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = diffusers.StableAudioPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        yield pipeline


def peer_scheduler(**settings: Any) -> Any:
    diffusers = peer_library()

    return diffusers.CosineDPMSolverMultistepScheduler(**settings)


# --- the same numbers ---


@pytest.mark.parametrize("steps", [1, 2, 5, 12, 20, 60])
@pytest.mark.parametrize(
    "settings", [{}, {"solver_type": "heun"}, {"solver_order": 1}, {"sigma_schedule": "karras"}]
)
def test_scheduler_step_for_step(steps: int, settings: dict[str, Any]) -> None:
    ours, theirs = CosineDPMSolverMultistepScheduler(**settings), peer_scheduler(**settings)
    noise = torch.randn(steps, 2, 4, 16, generator=seeded(1))
    mine = other = torch.randn(2, 4, 16, generator=seeded(0)) * ours.init_noise_sigma
    assert ours.init_noise_sigma == theirs.init_noise_sigma
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(steps)
        levels = scheduler.sigmas.tolist()
        scheduler.noise_sampler = lambda a, b, levels=levels: noise[levels.index(float(a))]
    torch.testing.assert_close(ours.sigmas, theirs.sigmas, rtol=1e-6, atol=0)
    torch.testing.assert_close(ours.timesteps, theirs.timesteps, rtol=1e-6, atol=0)
    for t in theirs.timesteps:
        inputs = (ours.scale_model_input(mine, t), theirs.scale_model_input(other, t))
        assert relative_error(*inputs) <= RUN
        mine = ours.step(torch.sin(3 * inputs[0]), t, mine)[0]
        other = theirs.step(torch.sin(3 * inputs[1]), t, other)[0]
        assert relative_error(mine, other) <= RUN


def test_add_noise_agrees() -> None:
    ours, theirs = CosineDPMSolverMultistepScheduler(), peer_scheduler()
    for scheduler in (ours, theirs):
        scheduler.set_timesteps(10)
    clean, noise = torch.randn(2, 3, 4, 16, generator=seeded(0))
    t = theirs.timesteps[[2, 5, 9]]
    assert relative_error(ours.add_noise(clean, noise, t), theirs.add_noise(clean, noise, t)) < 1e-6


CALLS: dict[str, dict[str, Any]] = {
    "plain": {},
    "steps": {"num_inference_steps": 20},
    "negative": {"negative_prompt": "bad", "audio_end_in_s": 0.7},
    "no guidance": {"guidance_scale": 1.0, "num_waveforms_per_prompt": 3},
    "pairs": {
        "prompt": ["a", "b c"],
        "negative_prompt": ["x", "y z"],
        "num_waveforms_per_prompt": 2,
    },
    "array": {"output_type": "np"},
    "short latents": {"latents": torch.randn(1, 4, 20, generator=seeded(9))},
}


@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, "one") for name in CALLS), *product(("plain", "pairs"), ("list", "global"))],
)
def test_same_generator_same_sound(
    ours: StableAudioPipeline, peer: Any, name: str, kind: str
) -> None:
    call = {"prompt": "a drum loop", "num_inference_steps": 6} | CALLS[name]
    count = (2 if isinstance(call["prompt"], list) else 1) * call.get("num_waveforms_per_prompt", 1)
    found = []
    for pipeline in (ours, peer):
        torch.manual_seed(5)
        generators = {"one": seeded(3), "list": [seeded(i) for i in range(count)], "global": None}
        found.append(pipeline(**call, generator=generators[kind]).audios)
    assert found[0].shape == found[1].shape
    assert type(found[0]) is type(found[1])
    assert relative_error(*map(torch.as_tensor, found)) <= RUN


def test_embeds_and_masks_agree(ours: StableAudioPipeline, peer: Any) -> None:
    embeds = torch.randn(2, 2, 16, 64, generator=seeded(0))
    mask = torch.ones(2, 2, 16, dtype=torch.long)
    mask[0, :, 9:] = 0
    for masks in ({}, {"attention_mask": mask[0], "negative_attention_mask": mask[1]}):
        given = {"prompt_embeds": embeds[0], "negative_prompt_embeds": embeds[1]} | masks | QUICK
        found = [p(**given, generator=seeded(1)).audios for p in (ours, peer)]
        assert relative_error(*found) <= RUN


def test_encoders_agree(ours: StableAudioPipeline, peer: Any) -> None:
    with torch.no_grad():
        states = [p.encode_prompt(["a", "b c"], "cpu", True, ["x", "y"]) for p in (ours, peer)]
        seconds = [p.encode_duration(1.0, [2.0, 3.0], "cpu", True, 2) for p in (ours, peer)]
    assert relative_error(*states) <= 1e-5
    for mine, other in zip(*seconds, strict=True):
        assert mine.shape == other.shape == (4, 1, 64)
        assert relative_error(mine, other) <= 1e-5


def test_components_agree(ours: StableAudioPipeline, peer: Any) -> None:
    waveform = torch.randn(2, 2, 10 * HOP, generator=seeded(0))
    z = torch.randn(2, 4, 12, generator=seeded(1))
    states, condition = torch.randn(2, 20, 64), torch.randn(2, 1, 128)
    from diffusers.models.embeddings import get_1d_rotary_pos_embed

    rotary = get_1d_rotary_pos_embed(32, 13, use_real=True, repeat_interleave_real=False)
    with torch.no_grad():
        for pick in ("mean", "std"):
            found = [getattr(p.vae.encode(waveform).latent_dist, pick) for p in (ours, peer)]
            assert relative_error(*found) <= 1e-5
        found = [p.vae.encode(waveform).latent_dist.sample(seeded(2)) for p in (ours, peer)]
        assert relative_error(*found) <= 1e-5
        assert relative_error(*(p.vae.decode(z).sample for p in (ours, peer))) <= 1e-5
        t = torch.tensor([0.3])
        assert (
            relative_error(
                *(p.transformer(z, t, states, condition, rotary).sample for p in (ours, peer))
            )
            <= 1e-5
        )
    for name in ("transformer", "projection_model", "vae"):
        mine, other = (dict(getattr(p, name).config) for p in (ours, peer))
        assert mine == {key: other[key] for key in mine}
    mine, other = (dict(p.scheduler.config) for p in (ours, peer))
    assert mine == {key: other[key] for key in mine}


# --- the defects: each shown to be there, and not here ---


def test_b1_initial_audio_meets_its_own_prompt(
    ours: StableAudioPipeline, peer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    audio = torch.stack([torch.zeros(2, 600), torch.ones(2, 600)])

    def rows_of_the_second(pipeline: Any) -> list[bool]:
        nothing = torch.zeros(4, 4, FRAMES)
        x = pipeline.prepare_latents(
            4, 4, FRAMES, torch.float32, torch.device("cpu"), seeded(0), nothing, audio, 2, 2
        )
        second = pipeline.vae.encode(audio).latent_dist.mode()[1, :, 8]
        first = pipeline.vae.encode(audio).latent_dist.mode()[0, :, 8]
        return [bool((r - second).norm() < (r - first).norm()) for r in x[:, :, 8]]

    ours.scheduler.set_timesteps(4)
    with torch.no_grad():
        encode = narrow(ours.vae.encode)
        for pipeline in (ours, peer):
            monkeypatch.setattr(pipeline.vae, "encode", encode)
        assert rows_of_the_second(ours) == [False, False, True, True]
        assert rows_of_the_second(peer) == [False, True, False, True]


def narrow(encode: Any) -> Any:
    """An encoder whose distribution is narrow, so that a sample tells which input it is of."""

    def narrowed(audio: torch.Tensor) -> Any:
        found = encode(audio)
        found.latent_dist.std = found.latent_dist.std * 1e-3
        return found

    return narrowed


def test_b2_initial_audio_counts(ours: StableAudioPipeline, peer: Any) -> None:
    audio = 0.5 * torch.randn(2, 2, FRAMES * HOP, generator=seeded(0))

    def effect(pipeline: Any, **more: Any) -> float:
        call = {"prompt": "a", "output_type": "latent", "initial_audio_sampling_rate": RATE} | QUICK
        found = [
            pipeline(**call, **more, initial_audio_waveforms=a[None], generator=seeded(1)).audios
            for a in audio
        ]
        inputs = pipeline.vae.encode(audio).latent_dist.mode().detach()
        return float((found[0] - found[1]).norm() / (inputs[0] - inputs[1]).norm())

    assert effect(peer) < 0.1
    levels = (0.31, 1.0, 10.0, 500.0)
    effects = [effect(ours, init_noise_level=level) for level in levels]
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > 0.5
    assert effect(ours) == effects[1]


def test_b3_a_start_never_slices(ours: StableAudioPipeline, peer: Any) -> None:
    call = {"prompt": "a", "audio_start_in_s": 1.0, "audio_end_in_s": 4.0} | QUICK
    assert ours(**call).audios.shape[-1] == 3 * RATE
    assert peer(**call).audios.shape[-1] == FRAMES * HOP - RATE
    call |= {"audio_start_in_s": 100.0, "audio_end_in_s": 102.0}
    assert ours(**call, audio_total_in_s=180.0).audios.shape[-1] == 2 * RATE
    assert peer(**call).audios.shape[-1] == 0


def test_b4_seconds_per_prompt(ours: StableAudioPipeline, peer: Any) -> None:
    call = {"prompt": ["a", "b"], "audio_end_in_s": [1.0, 2.0]} | QUICK
    with pytest.raises(TypeError):
        peer(**call)
    generators = [seeded(0), seeded(1)]
    both = ours(**call, generator=generators).audios
    assert both.shape == (2, 2, 2 * RATE)
    assert not both[0, :, RATE:].any() and both[1, :, RATE:].all()
    alone = ours("a", 1.0, **QUICK, generator=[seeded(0)]).audios
    assert relative_error(both[0, :, :RATE], alone[0]) <= RUN


def test_b5_latents_honor_return_dict(ours: StableAudioPipeline, peer: Any) -> None:
    call = {"prompt": "a", "output_type": "latent", "return_dict": False} | QUICK
    assert not isinstance(peer(**call), tuple)
    found = ours(**call)
    assert isinstance(found, tuple) and found[0].shape == (1, 4, FRAMES)


def test_b6_no_query_outside_the_path(ours: StableAudioPipeline, peer: Any) -> None:
    heard = []
    for pipeline in (ours, peer):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            pipeline("a", **QUICK)
        heard.append(len(caught))
    assert heard[0] == 0 and heard[1] >= 4


def test_b7_tiled_encoding_keeps_the_frames(ours: StableAudioPipeline, peer: Any) -> None:
    frames = 128 * RATE // HOP
    waveform = torch.randn(1, 2, frames * HOP, generator=seeded(0))
    with torch.no_grad():
        whole = ours.vae.network.encode(waveform)
        for pipeline in (ours, peer):
            pipeline.vae.enable_tiling()
        found, other = (p.vae.encode(waveform).latent_dist.mode() for p in (ours, peer))
        for pipeline in (ours, peer):
            pipeline.vae.disable_tiling()
    assert other.shape[-1] != frames
    assert found.shape[-1] == frames
    assert relative_error(found, whole.mean) <= 1e-5


def test_b8_the_error_names_the_sample_rate(ours: StableAudioPipeline, peer: Any) -> None:
    messages = []
    for pipeline in (ours, peer):
        with pytest.raises(ValueError, match="sampl") as error:
            pipeline("a", initial_audio_waveforms=torch.zeros(1, 9), initial_audio_sampling_rate=7)
        messages.append(str(error.value))
    assert str(RATE) in messages[0] and str(RATE) not in messages[1]


def test_b9_any_width_of_the_encoder(tmp_path: Path) -> None:
    diffusers = peer_library()

    convert(GOLDEN / "sao_tiny", tmp_path / "model", "diffusers")
    with pytest.raises(RuntimeError, match="size mismatch"):
        diffusers.AutoencoderOobleck.from_pretrained(
            tmp_path / "model", subfolder="vae", low_cpu_mem_usage=False
        )
    pipeline = StableAudioPipeline.from_pretrained(tmp_path / "model")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a", 0.5, num_inference_steps=1).audios.shape == (1, 2, 22_050)


def test_b10_the_trained_tensors_are_the_published_ones(
    ours: StableAudioPipeline, peer: Any
) -> None:
    def trained(pipeline: Any) -> dict[str, bool]:
        names = dict(pipeline.transformer.named_parameters())
        norms = [n for n in names if "norm" in n and n.endswith("bias")]
        fourier = [p for n, p in names.items() if "time_proj" in n or n.endswith("frequencies")]
        return {"norm bias": bool(norms), "fourier": all(p.requires_grad for p in fourier)}

    assert trained(ours) == {"norm bias": False, "fourier": True}
    assert trained(peer) == {"norm bias": True, "fourier": False}


def test_b11_nothing_is_ranked(ours: StableAudioPipeline) -> None:
    """The peer's pages promise an automatic ranking; the order is that of the generators in both."""
    call = {"prompt": "a", "num_waveforms_per_prompt": 3} | QUICK
    together = ours(**call, generator=[seeded(i) for i in range(3)]).audios
    for i, sound in enumerate(together):
        alone = ours("a", **QUICK, generator=[seeded(i)]).audios[0]
        assert relative_error(sound, alone) <= RUN
    assert "none is scored" in str(StableAudioPipeline.__call__.__doc__)


def test_networks_of_diffusers_are_refused_in_one_line(peer: Any) -> None:
    with pytest.raises(ValueError, match=r"take the class of that name from auralith"):
        StableAudioPipeline(**peer.components)
