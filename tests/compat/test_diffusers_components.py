"""The three networks by themselves, beside those of diffusers: state dicts, files, configs, outputs, gradients."""

import importlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file
from tiny_diffusers import seeded
from torch import Tensor

import auralith.compat.diffusers as ours
from auralith.compat.diffusers.component import Component
from auralith.compat.diffusers.components import LatentDistribution
from auralith.errors import CheckpointError, InvalidRequest
from tests.conftest import GOLDEN, relative_error


class Kind(NamedTuple):
    name: str
    settings: dict[str, Any]
    call: Callable[[Any], Tensor]


def normals(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=seeded(sum(shape)))


def rotary(dim: int, length: int) -> tuple[Tensor, Tensor]:
    embeddings = importlib.import_module("diffusers.models.embeddings")
    return embeddings.get_1d_rotary_pos_embed(
        dim, length, use_real=True, repeat_interleave_real=False
    )


def transformed(model: Any) -> Tensor:
    inputs = (normals(2, 3, 9), torch.tensor([0.3, 0.6]), normals(2, 5, 4), normals(2, 1, 8))
    turned = model(*inputs, rotary_embedding=rotary(2, 10)).sample
    (plain,) = model(*inputs, return_dict=False)
    return torch.cat((turned, plain))


def projected(model: Any) -> Tensor:
    inputs = (normals(2, 7, 32), torch.tensor([1.0, 2.0]), torch.tensor([3.0, 40.0]))
    return torch.cat(model(*inputs).to_tuple(), dim=1)


# settings of diffusers' own tests
KINDS = {
    "vae": Kind(
        "AutoencoderOobleck",
        {
            "encoder_hidden_size": 12,
            "decoder_channels": 12,
            "decoder_input_channels": 6,
            "downsampling_ratios": [2, 4],
            "channel_multiples": [1, 2],
        },
        lambda model: model(normals(2, 2, 24), sample_posterior=True, generator=seeded(1))[0],
    ),
    "transformer": Kind(
        "StableAudioDiTModel",
        {
            "sample_size": 4,
            "in_channels": 3,
            "num_layers": 2,
            "attention_head_dim": 4,
            "num_key_value_attention_heads": 2,
            "out_channels": 3,
            "cross_attention_dim": 4,
            "time_proj_dim": 8,
            "global_states_input_dim": 8,
            "cross_attention_input_dim": 4,
        },
        transformed,
    ),
    "projection_model": Kind(
        "StableAudioProjectionModel",
        {"text_encoder_dim": 32, "conditioning_dim": 4, "min_value": 0, "max_value": 32},
        projected,
    ),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield KINDS[request.param]


def our_class(kind: Kind) -> type[Component]:
    return getattr(ours, kind.name)


def their_class(kind: Kind) -> Any:
    module = importlib.import_module("diffusers")
    if not hasattr(module, kind.name):
        module = importlib.import_module("diffusers.pipelines.stable_audio.modeling_stable_audio")
    return getattr(module, kind.name)


def pair(kind: Kind) -> tuple[Component, Any]:
    """Ours and theirs with the same random weights, norms' biases and weight norm included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        mine, other = our_class(kind)(**kind.settings), their_class(kind)(**kind.settings)
        for parameter in other.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    mine.load_state_dict(other.state_dict())
    return mine, other


def test_state_dicts_travel_bit_for_bit(kind: Kind) -> None:
    mine, other = pair(kind)
    found, expected = mine.state_dict(), other.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    other.load_state_dict(found, strict=True)


def test_the_same_output_and_the_same_gradients(kind: Kind) -> None:
    mine, other = pair(kind)
    outputs = kind.call(mine), kind.call(other)
    assert relative_error(*outputs) <= 1e-5
    squares = []
    for model, output in zip((mine, other), outputs, strict=True):
        output.square().sum().backward()
        grads = [p.grad for p in model.parameters() if p.requires_grad]
        squares.append(sum(float(g.double().square().sum()) for g in grads if g is not None))
    assert squares[0] == pytest.approx(squares[1], rel=1e-5)
    counts = [sum(p.numel() for p in m.parameters() if p.requires_grad) for m in (mine, other)]
    assert counts[0] == counts[1] == mine.num_parameters(only_trainable=True)


@pytest.mark.parametrize("options", [{}, {"variant": "fp16"}, {"max_shard_size": "2KB"}])
def test_files_travel_both_ways(kind: Kind, tmp_path: Path, options: dict[str, Any]) -> None:
    mine, other = pair(kind)
    expected = kind.call(other)
    mine.save_pretrained(tmp_path / "ours", **options)
    other.save_pretrained(tmp_path / "theirs", **options)
    variant = options.get("variant")
    read = their_class(kind).from_pretrained(tmp_path / "ours", variant=variant)
    assert relative_error(kind.call(read), expected) <= 1e-6
    for name in ("ours", "theirs"):
        found = our_class(kind).from_pretrained(tmp_path, subfolder=name, variant=variant)
        assert not found.training and relative_error(kind.call(found), expected) <= 1e-5
        again = found.state_dict()
        assert all(torch.equal(again[n], t) for n, t in other.state_dict().items())


def test_a_missing_variant_is_an_os_error(kind: Kind, tmp_path: Path) -> None:
    mine, _ = pair(kind)
    mine.save_pretrained(tmp_path, variant="fp16")
    for variant in (None, "bf16"):
        with pytest.raises(OSError, match="no file named") as error:
            our_class(kind).from_pretrained(tmp_path, variant=variant)
        assert isinstance(error.value, CheckpointError) and "\n" not in str(error.value)


def test_saving_again_leaves_no_older_weights(tmp_path: Path) -> None:
    mine, _ = pair(KINDS["projection_model"])
    mine.save_pretrained(tmp_path, max_shard_size="2KB")
    mine.save_pretrained(tmp_path, variant="fp16")
    mine.save_pretrained(tmp_path)
    stem = "diffusion_pytorch_model"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", f"{stem}.safetensors", f"{stem}.fp16.safetensors"}
    with pytest.raises(CheckpointError, match="max_shard_size"):
        mine.save_pretrained(tmp_path, max_shard_size="much")


def test_configs_agree(kind: Kind, tmp_path: Path) -> None:
    mine, other = pair(kind)
    theirs = {k: v for k, v in other.config.items() if not k.startswith("_")}
    assert dict(mine.config) == theirs
    assert our_class(kind).from_config(other.config).config == mine.config
    again = their_class(kind).from_config(dict(mine.config)).config
    assert {k: v for k, v in again.items() if not k.startswith("_")} == theirs
    key = next(iter(theirs))
    assert mine.config[key] == getattr(mine.config, key) == theirs[key]
    with pytest.raises(InvalidRequest, match="no setting 'depth'"):
        our_class(kind).from_config({**theirs, "depth": 3})
    mine.save_pretrained(tmp_path)
    stored = our_class(kind).load_config(tmp_path)
    assert stored["_class_name"] == kind.name
    assert our_class(kind).from_config(stored).config == mine.config


def test_dtypes(kind: Kind, tmp_path: Path) -> None:
    mine, _ = pair(kind)
    mine.save_pretrained(tmp_path)
    half = our_class(kind).from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16 and half.device.type == "cpu"
    exact = [p.dtype for name, p in half.named_parameters() if name.endswith("frequencies")]
    assert set(exact) <= {torch.float32}
    half.save_pretrained(tmp_path / "half")
    their_class(kind).from_pretrained(tmp_path / "half", torch_dtype=torch.bfloat16)
    with pytest.raises(InvalidRequest, match="not both"):
        our_class(kind).from_pretrained(tmp_path, dtype=torch.half, torch_dtype=torch.half)


def test_what_does_not_fit_is_named(kind: Kind) -> None:
    mine, other = pair(kind)
    state = other.state_dict()
    name = next(reversed(state))
    for change in ({name: torch.zeros(7, 7)}, {"extra": torch.zeros(2)}):
        with pytest.raises(CheckpointError, match=next(iter(change))):
            mine.load_state_dict({**state, **change})
    with pytest.raises(CheckpointError, match="missing"):
        mine.load_state_dict({n: t for n, t in state.items() if "conv" not in n and "1" not in n})


def test_more_channels_in_than_out() -> None:
    """Whatever the pipeline can't do with them, the network by itself takes channels beside the latents."""
    kind = KINDS["transformer"]
    mine, other = pair(Kind(kind.name, {**kind.settings, "out_channels": 2}, kind.call))
    found, expected = transformed(mine), transformed(other)
    assert found.shape == expected.shape == (4, 2, 9)
    assert relative_error(found, expected) <= 1e-5
    assert dict(mine.config) == {k: v for k, v in other.config.items() if not k.startswith("_")}
    with pytest.raises(CheckpointError, match="out_channels"):
        our_class(kind)(**{**kind.settings, "out_channels": 4})


def test_gradient_checkpointing() -> None:
    mine, _ = pair(KINDS["transformer"])
    transformed(mine).sum().backward()
    expected = [p.grad.clone() for p in mine.parameters() if p.grad is not None]
    mine.zero_grad()
    assert not mine.is_gradient_checkpointing
    mine.enable_gradient_checkpointing()
    assert mine.is_gradient_checkpointing
    transformed(mine).sum().backward()
    found = [p.grad for p in mine.parameters() if p.grad is not None]
    assert all(map(torch.equal, found, expected))
    mine.disable_gradient_checkpointing()
    assert not mine.is_gradient_checkpointing
    with pytest.raises(InvalidRequest, match="does not support"):
        our_class(KINDS["vae"])(**KINDS["vae"].settings).enable_gradient_checkpointing()


def terms_of_divergence(one: LatentDistribution, other: LatentDistribution | None = None) -> Tensor:
    """Return the sum of the magnitudes of the terms of `one.kl(other)`."""
    var, logvar, distance = one.var, one.logvar.abs(), one.mean.square()
    if other is not None:
        var, logvar = var / other.var, logvar + other.logvar.abs()
        distance = (one.mean - other.mean).square() / other.var
    return (distance + var + logvar + 1).sum(1).mean()


def test_the_distribution_of_latents() -> None:
    mine, other = pair(KINDS["vae"])
    waveforms = normals(2, 2, 24)
    with torch.no_grad():
        found, expected = (model.encode(waveforms).latent_dist for model in (mine, other))
        for name in ("mean", "std", "var", "logvar"):
            assert relative_error(getattr(found, name), getattr(expected, name)) <= 1e-5
        # The terms of a divergence nearly cancel: each rounds by its own size, not by that of their sum.
        assert abs(found.kl() - expected.kl()) <= 1e-5 * terms_of_divergence(found)
        pairs = [model.encode(waveforms + 1).latent_dist for model in (mine, other)]
        assert abs(found.kl(pairs[0]) - expected.kl(pairs[1])) <= 1e-5 * terms_of_divergence(
            found, pairs[0]
        )
        whole = mine.decode(found.mode()).sample
        mine.enable_slicing()
        assert relative_error(mine.decode(found.mode()).sample, whole) <= 1e-5


def test_components_of_any_checkpoint() -> None:
    for name in ("AutoencoderOobleck", "StableAudioDiTModel", "StableAudioProjectionModel"):
        found = getattr(ours, name).from_pretrained(GOLDEN / "sao_tiny")
        assert found.state_dict()
    golden = load_file(GOLDEN / "sao_tiny" / "golden.safetensors")
    vae = ours.AutoencoderOobleck.from_pretrained(GOLDEN / "sao_tiny")
    with torch.no_grad():
        assert relative_error(vae.decode(golden["vae.latents"])[0], golden["vae.decoded"]) <= 1e-5


def test_a_component_from_the_hubs_cache(tmp_path: Path) -> None:
    mine, _ = pair(KINDS["vae"])
    repository = tmp_path / "models--owner--tiny"
    mine.save_pretrained(repository / "snapshots" / "abc" / "vae")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    options = {"cache_dir": tmp_path, "local_files_only": True, "subfolder": "vae"}
    found = our_class(KINDS["vae"]).from_pretrained("owner/tiny", **options)
    assert found.config == mine.config
    with pytest.raises(CheckpointError, match="not in the local cache"):
        our_class(KINDS["vae"]).from_pretrained("owner/other", **options)
