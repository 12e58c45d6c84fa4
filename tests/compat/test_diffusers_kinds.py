"""Folders that diffusers itself wrote, of other shapes than the published one: they sound as diffusers makes them."""

import importlib
import importlib.util
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_diffusers import seeded

from auralith.checkpoints import convert, inspect_checkpoint
from auralith.compat.diffusers import StableAudioPipeline
from auralith.errors import CheckpointError
from tests.conftest import GOLDEN, relative_error
from tests.networks import dit_config

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("torchsde") is None,
    reason="diffusers' scheduler needs torchsde, which diffusers does not install",
)
STEM = "diffusion_pytorch_model"
TRANSFORMER = {
    "sample_size": 24.0,
    "in_channels": 4,
    "num_layers": 2,
    "attention_head_dim": 64,
    "num_attention_heads": 2,
    "num_key_value_attention_heads": 1,
    "out_channels": 4,
    "cross_attention_dim": 64,
    "global_states_input_dim": 128,
    "cross_attention_input_dim": 64,
}
NARROW = {"cross_attention_input_dim": 4, "global_states_input_dim": 8, "time_proj_dim": 8}
# changes of the transformer, width of the text encoder, and what has no place in a single file
KINDS: dict[str, tuple[dict[str, int], int, str | None]] = {
    "trained norm biases": ({}, 64, None),
    "wider text": ({}, 96, None),
    "narrower text": ({}, 32, None),
    "context as wide as the latents' sequence": (
        {"cross_attention_dim": 128, "num_key_value_attention_heads": 2},
        96,
        None,
    ),
    "context of its own width": ({"cross_attention_dim": 96}, 64, "projected to 96"),
    "more key/value heads than the context is wide": (
        {"num_attention_heads": 4, "num_key_value_attention_heads": 4},
        64,
        "4 key/value heads",
    ),
    "narrow heads": (
        {"attention_head_dim": 32, "num_attention_heads": 4, "num_key_value_attention_heads": 2},
        64,
        "rotary positions in 16",
    ),
    "diffusers' own dummies": (
        {
            "attention_head_dim": 4,
            "num_attention_heads": 24,
            "num_key_value_attention_heads": 2,
            "cross_attention_dim": 4,
            **NARROW,
        },
        32,
        "4 frequencies",
    ),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def peer_library() -> Any:
    """diffusers, whose lazy names a type checker does not see."""
    return importlib.import_module("diffusers")


def peer_pipeline(kind: str) -> Any:
    """A random pipeline of diffusers' own classes whose norms have biases."""
    diffusers = peer_library()
    from diffusers.pipelines.stable_audio.modeling_stable_audio import StableAudioProjectionModel
    from transformers import AutoTokenizer, T5Config, T5EncoderModel

    changes, text_width, _ = KINDS[kind]
    settings = {**TRANSFORMER, **changes}
    tokenizer = AutoTokenizer.from_pretrained(GOLDEN / "sao_tiny" / "t5")
    tokenizer.model_max_length = 16
    text: dict[str, Any] = {
        "d_model": text_width,
        "d_kv": 8,
        "d_ff": 37,
        "num_layers": 1,
        "num_heads": 4,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformer = diffusers.StableAudioDiTModel(**settings)
        for name, parameter in transformer.named_parameters():
            if "norm" in name:
                parameter.data += 0.3 * torch.randn_like(parameter)
        pipeline = diffusers.StableAudioPipeline(
            vae=diffusers.AutoencoderOobleck(8, [2, 4], [1, 2], 4, 4, 2, 500),
            text_encoder=T5EncoderModel(T5Config(vocab_size=len(tokenizer), **text)),
            projection_model=StableAudioProjectionModel(
                text_width, settings["cross_attention_input_dim"], 0, 512
            ),
            tokenizer=tokenizer,
            transformer=transformer,
            scheduler=diffusers.CosineDPMSolverMultistepScheduler(),
        )
    return pipeline


def sound(pipeline: Any) -> torch.Tensor:
    pipeline.set_progress_bar_config(disable=True)
    call = {"prompt": ["a", "b c"], "negative_prompt": ["x", "y z"], "num_inference_steps": 3}
    return pipeline(**call, generator=seeded(3)).audios


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_sound_as_diffusers_in_every_layout(kind: str, tmp_path: Path) -> None:
    diffusers = peer_library()

    peer = peer_pipeline(kind)
    expected = sound(peer)
    peer.save_pretrained(tmp_path / "theirs")
    ours = StableAudioPipeline.from_pretrained(tmp_path / "theirs")
    assert relative_error(sound(ours), expected) <= 1e-5
    with torch.no_grad():
        states = [p.encode_prompt("a", "cpu", True, "b") for p in (ours, peer)]
    assert relative_error(*states) <= 1e-5
    ours.save_pretrained(tmp_path / "ours")
    again = diffusers.StableAudioPipeline.from_pretrained(tmp_path / "ours")
    assert relative_error(sound(again), expected) <= 1e-5
    refused = KINDS[kind][2]
    if refused is not None:
        with pytest.raises(CheckpointError, match=f"{refused}.* no single-file form"):
            convert(tmp_path / "theirs", tmp_path / "single")
        return
    convert(tmp_path / "theirs", tmp_path / "single")
    single = StableAudioPipeline.from_pretrained(tmp_path / "single")
    assert relative_error(sound(single), expected) <= 1e-5
    convert(tmp_path / "single", tmp_path / "back", "diffusers")
    for component in ("transformer", "vae", "projection_model"):
        name = f"{component}/{STEM}.safetensors"
        stored, back = load_file(tmp_path / "theirs" / name), load_file(tmp_path / "back" / name)
        assert stored.keys() == back.keys()
        assert all(torch.equal(stored[key], back[key]) for key in stored)


def test_norms_without_stored_biases_have_none(tmp_path: Path) -> None:
    peer = peer_pipeline("wider text")
    for name, parameter in peer.transformer.named_parameters():
        if "norm" in name and name.endswith("bias"):
            parameter.data.zero_()
    peer.save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "transformer" / f"{STEM}.safetensors"
    kept = {n: t for n, t in load_file(path).items() if ".norm" not in n or n.endswith("weight")}
    save_file(kept, path)
    ours = StableAudioPipeline.from_pretrained(tmp_path / "model")
    assert not dit_config(ours.model_config).norm_bias
    assert relative_error(sound(ours), sound(peer)) <= 1e-5


def test_a_scheduler_that_differs_is_honored_named_or_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    diffusers = peer_library()

    peer = peer_pipeline("wider text")
    settings = {"solver_type": "heun", "sigma_schedule": "karras", "sigma_max": 80.0}
    peer.scheduler = diffusers.CosineDPMSolverMultistepScheduler(**settings)
    expected = sound(peer)
    peer.save_pretrained(tmp_path / "model")
    ours = StableAudioPipeline.from_pretrained(tmp_path / "model")
    assert relative_error(sound(ours), expected) <= 1e-5
    assert "sigma_schedule is 'karras'" in caplog.text and "solver_type is 'heun'" in caplog.text
    convert(tmp_path / "model", tmp_path / "copy", "diffusers")
    # tensors mapped from another file may be aligned otherwise, and kernels then round otherwise
    copy = StableAudioPipeline.from_pretrained(tmp_path / "copy")
    assert relative_error(sound(copy), expected) <= 1e-5
    path = tmp_path / "model" / "scheduler" / "scheduler_config.json"
    stored = json.loads(path.read_bytes())
    for key, value in (
        ("_class_name", "EDMDPMSolverMultistepScheduler"),
        ("sigma_data", 0.5),
        ("prediction_type", "epsilon"),
        ("final_sigmas_type", "sigma_min"),
        ("use_karras_sigmas", True),
    ):
        path.write_text(json.dumps(stored | {key: value}))
        with pytest.raises(CheckpointError, match=key):
            inspect_checkpoint(tmp_path / "model")


def test_pickled_weights_of_a_component(tmp_path: Path) -> None:
    peer = peer_pipeline("wider text")
    peer.save_pretrained(tmp_path / "model")
    expected = sound(peer)
    folder = tmp_path / "model" / "transformer"
    torch.save(load_file(folder / f"{STEM}.safetensors"), folder / f"{STEM}.bin")
    (folder / f"{STEM}.safetensors").unlink()
    ours = StableAudioPipeline.from_pretrained(tmp_path / "model")
    assert relative_error(sound(ours), expected) <= 1e-5


def test_a_component_of_another_class_is_refused(tmp_path: Path) -> None:
    peer_pipeline("wider text").save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "model_index.json"
    index = json.loads(path.read_bytes())
    path.write_text(json.dumps(index | {"vae": ["diffusers", "AutoencoderKL"]}))
    with pytest.raises(CheckpointError, match=r"AutoencoderKL.*only AutoencoderOobleck"):
        inspect_checkpoint(tmp_path / "model")
    shutil.rmtree(tmp_path / "model" / "vae")
    path.write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"vae.config\.json"):
        inspect_checkpoint(tmp_path / "model")
