"""`model_config.json`: the published file, the defaults of absent keys, and refusals by key."""

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest

from auralith.checkpoints import Spec, config_from_json, config_to_json
from auralith.config import (
    DISTILLED_SAMPLING,
    FLOW_SAMPLING,
    AudioFormat,
    DistributionShift,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    SamplingDefaults,
    SpectralConfig,
    TextCondition,
)
from auralith.errors import CheckpointError
from auralith.families.model_config import spec_from_json, spec_to_json
from auralith.families.sections import Section, read_fields
from tests.conftest import GOLDEN
from tests.networks import dit_config

PUBLISHED = json.loads((GOLDEN / "sao1_model_config.json").read_bytes())
DIT = ("model", "diffusion", "config")

SMALL = ModelConfig(
    window_samples=524_288,
    dit=DiTConfig(
        embed_dim=1024, depth=16, num_heads=8, global_dim=768, project_context=True, qk_norm="ln"
    ),
    objective="rf_denoiser",
    conditions=(TextCondition(max_tokens=64), NumberCondition("seconds_total", 0.0, 256.0)),
    context_ids=("prompt", "seconds_total"),
    global_ids=("seconds_total",),
    sampling=DISTILLED_SAMPLING,
)
OWN_AUDIO = AudioFormat(latent_channels=72)
OWN = ModelConfig(
    audio=OWN_AUDIO,
    autoencoder=SpectralConfig(),
    dit=DiTConfig(
        latent_channels=72,
        embed_dim=256,
        depth=2,
        num_heads=4,
        context_dim=256,
        global_dim=512,
        global_conditioning="adaln",
        max_positions=160,
    ),
    conditions=(
        TextCondition(encoder="embedded", max_tokens=48),
        NumberCondition("seconds_total", 0.0, 12.0),
    ),
    condition_dim=256,
    context_ids=("prompt",),
    global_ids=("prompt", "seconds_total"),
    latent_scale=1.5,
    sampling=SamplingDefaults(steps=30, cfg_scale=4.0, window="fit"),
)


def changed(path: tuple[str, ...], value: Any, data: dict[str, Any] = PUBLISHED) -> dict[str, Any]:
    """A copy of a config with one value replaced, or removed if None."""
    copy = deepcopy(data)
    section: Any = copy
    for key in path[:-1]:
        section = section[key] if not isinstance(section, list) else section[int(key)]
    if value is None:
        del section[path[-1]]
    else:
        section[path[-1]] = value
    return copy


def test_published_config_is_the_default() -> None:
    assert config_from_json(PUBLISHED) == ModelConfig()


@pytest.mark.parametrize("config", [ModelConfig(), SMALL, OWN], ids=["1.0", "small", "own"])
def test_configs_come_back(config: ModelConfig) -> None:
    assert config_from_json(json.loads(json.dumps(config_to_json(config)))) == config


@pytest.mark.parametrize(
    "spec",
    [
        Spec(AudioFormat(), OobleckConfig(final_tanh=True, encoder_width=32)),
        Spec(OWN_AUDIO, SpectralConfig()),
    ],
    ids=["oobleck", "spectral"],
)
def test_autoencoder_configs_come_back(spec: Spec) -> None:
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def test_absent_keys_mean_what_they_mean_to_the_reference() -> None:
    # here the context is as wide as the DiT, so that both meanings give a valid config
    data = changed((*DIT, "project_cond_tokens"), None)
    assert dit_config(config_from_json(data)).project_context is True
    conditions = ("model", "conditioning", "configs", "1", "config")
    number = config_from_json(changed((*conditions, "max_val"), None)).conditions[1]
    assert number == NumberCondition("seconds_start", 0.0, 1.0)
    decoder = ("model", "pretransform", "config", "decoder", "config")
    autoencoder = config_from_json(changed((*decoder, "final_tanh"), None)).autoencoder
    assert isinstance(autoencoder, OobleckConfig) and autoencoder.final_tanh is True


def test_objective_decides_the_sampling_defaults() -> None:
    key = ("model", "diffusion", "diffusion_objective")
    assert config_from_json(changed(key, "rectified_flow")).sampling == FLOW_SAMPLING
    assert config_from_json(changed(key, "rf_denoiser")).sampling == DISTILLED_SAMPLING
    assert config_from_json(PUBLISHED).sampling == SamplingDefaults()


def test_own_extension_overrides_the_sampling_defaults() -> None:
    data = {**PUBLISHED, "auralith": {"sampling": {"steps": 25, "window": "fit"}}}
    assert config_from_json(data).sampling == replace(SamplingDefaults(), steps=25, window="fit")


AUTOENCODER = ("model", "pretransform", "config")
REFUSED: dict[str, tuple[tuple[str, ...], Any]] = {
    "model_type": (("model_type",), "diffusion_cond_inpaint"),
    "sample_rate": (("sample_rate",), "44100"),
    "sample_size": (("sample_size",), -1),
    "use_snake": ((*AUTOENCODER, "encoder", "config", "use_snake"), False),
    "encoder.type": ((*AUTOENCODER, "encoder", "type"), "dac"),
    "strides": ((*AUTOENCODER, "decoder", "config", "strides"), [2, 4, 4, 8, 4]),
    "latent_dim": ((*AUTOENCODER, "encoder", "config", "latent_dim"), 64),
    "bottleneck.type": ((*AUTOENCODER, "bottleneck"), {"type": "rvq"}),
    "downsampling_ratio": ((*AUTOENCODER, "downsampling_ratio"), 1024),
    "pretransform.type": (("model", "pretransform", "type"), "dac_pretrained"),
    "scale": (("model", "pretransform", "scale"), 0),
    "patch_size": ((*DIT, "patch_size"), 2),
    "transformer_type": ((*DIT, "transformer_type"), "x-transformers"),
    "qk_norm": ((*DIT, "attn_kwargs"), {"qk_norm": "l2"}),
    "global_cond_type": ((*DIT, "global_cond_type"), "film"),
    "num_memory_tokens": ((*DIT, "num_memory_tokens"), 4),
    "embed_dim": ((*DIT, "embed_dim"), 1537),
    "depth": ((*DIT, "depth"), 10**9),
    "depth ": ((*DIT, "depth"), True),
    "num_heads": ((*DIT, "num_heads"), None),
    "global_cond_dim": ((*DIT, "global_cond_dim"), 768),
    "surprise": ((*DIT, "surprise"), 1),
    "diffusion_objective": (("model", "diffusion", "diffusion_objective"), "epsilon"),
    "diffusion.type": (("model", "diffusion", "type"), "adp_cfg_1d"),
    "prepend_cond_ids": (("model", "diffusion", "prepend_cond_ids"), ["prompt"]),
    "cross_attention_cond_ids": (("model", "diffusion", "cross_attention_cond_ids"), ["key"]),
    "configs[0].type": (("model", "conditioning", "configs", "0", "type"), "clap_text"),
    "configs[1].id": (("model", "conditioning", "configs", "1", "id"), "forward"),
    "max_val": (("model", "conditioning", "configs", "1", "config", "max_val"), 0),
    "conditioning": (("model", "conditioning"), [1]),
}  # fmt: skip


@pytest.mark.parametrize("key", REFUSED)
def test_unsupported_values_are_refused_by_key(key: str) -> None:
    path, value = REFUSED[key]
    with pytest.raises(CheckpointError) as caught:
        config_from_json(changed(path, value), "here/model_config.json")
    message = str(caught.value)
    assert key.strip() in message and message.startswith("here/model_config.json")
    assert "\n" not in message


def test_an_autoencoder_config_is_no_model() -> None:
    data = spec_to_json(Spec(AudioFormat(), OobleckConfig()))
    with pytest.raises(CheckpointError, match="only an autoencoder"):
        config_from_json(data)


def spectral(**values: int) -> dict[str, Any]:
    return changed(("model", "pretransform", "config", "config"), values, config_to_json(OWN))


BAD_SPECTRAL: dict[str, Callable[[], dict[str, Any]]] = {
    "bands": lambda: spectral(bands=250),
    "channels": lambda: spectral(channels=1),
    "sample_rate": lambda: spectral(sample_rate=48_000),
    "bandz": lambda: spectral(bandz=3),
}


@pytest.mark.parametrize("key", BAD_SPECTRAL)
def test_spectral_configs_are_checked(key: str) -> None:
    with pytest.raises(CheckpointError, match=key):
        config_from_json(BAD_SPECTRAL[key]())


KINDS = (SpectralConfig, SamplingDefaults, DistributionShift)
OTHERS: dict[type, tuple[Any, ...]] = {
    bool: (1, 0.5, "true", [True]),
    int: (True, 0.5, "8", [8], 0, -1, 2**40),
    float: (True, "8", [8.0], 1e16, float("nan"), 10**400),
    str: (True, 1, 0.5, ["dpmpp"], {}),
}
"""Values that a field of a kind does not take."""


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in kind.__dataclass_fields__]
)
def test_a_field_is_read_strictly_and_named_with_its_path(kind: type[Any], name: str) -> None:
    default = getattr(kind(), name)
    assert read_fields(Section({name: None}, "here"), kind) == kind()
    assert read_fields(Section({name: default}, "here"), kind) == kind()
    for value in OTHERS[type(default)]:
        with pytest.raises(CheckpointError, match=rf"^here\.{name} must be "):
            read_fields(Section({name: value}, "here"), kind)
    with pytest.raises(CheckpointError, match=r"^here\.surprise is not supported$"):
        read_fields(Section({name: default, "surprise": 1}, "here"), kind)
