"""The networks of text encoders against those of the transformers library."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from auralith.models.t5 import T5Config, T5Encoder, distance_buckets
from auralith.models.t5gemma import T5GemmaConfig, T5GemmaEncoder
from tests.conftest import relative_error

SIZES: Any = {
    "vocab_size": 50,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_heads": 3,
}
KINDS = [f"{gate}{name}" for gate in ("", "gated-") for name in ("relu", "gelu", "silu")]
GEMMA: Any = {
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 10,
}


def randomize(network: nn.Module) -> None:
    """Fill all weights, the scales of norms as well."""
    generator = torch.Generator().manual_seed(1)
    for weights in network.parameters():
        weights.data.normal_(std=0.3, generator=generator)


def texts() -> tuple[Tensor, Tensor]:
    """Return tokens and mask of a full text, a short one, and one without any real token."""
    ids = torch.randint(SIZES["vocab_size"], (3, 200), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0
    mask[2] = 0
    return ids, mask


@torch.inference_mode()
def states_of_both(ours: nn.Module, theirs: Any, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the states of the real tokens with the same weights."""
    randomize(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    nn.Module.to(theirs.eval(), dtype)
    ids, mask = texts()
    expected = theirs(input_ids=ids, attention_mask=mask).last_hidden_state
    return ours.eval().to(dtype)(ids, mask)[mask.bool()], expected[mask.bool()]


@pytest.mark.parametrize("kind", [*KINDS, "gelu_new"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["float32", "float16"])
def test_t5_equals_transformers(kind: str, dtype: torch.dtype) -> None:
    import transformers

    theirs = transformers.T5EncoderModel(transformers.T5Config(**SIZES, feed_forward_proj=kind))
    ours = T5Encoder(T5Config(**SIZES, feed_forward_proj=kind))
    found, expected = states_of_both(ours, theirs, dtype)
    assert relative_error(found, expected) <= 64 * torch.finfo(dtype).eps


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"sliding_window": 3},
        {"layer_types": ["full_attention", "full_attention", "sliding_attention"]},
        {"attn_logit_softcapping": None},
        {"attn_logit_softcapping": 0.5, "query_pre_attn_scalar": 9, "rms_norm_eps": 1e-2},
        {"hidden_activation": "silu", "attention_bias": True, "num_key_value_heads": 1},
        {"rope_theta": 50.0},
    ],
    ids=["plain", "window", "layers", "uncapped", "scaled", "biased", "rotation"],
)
def test_t5gemma_equals_transformers(changed: dict[str, Any]) -> None:
    import transformers

    stated = GEMMA | {"sliding_window": 16} | changed
    rotation = {"rope_type": "default", "rope_theta": stated.pop("rope_theta", 10_000.0)}
    encoder = stated | {"rope_parameters": rotation}
    config = transformers.T5GemmaConfig(
        encoder=encoder, decoder=encoder, is_encoder_decoder=False, vocab_size=50
    )
    config._attn_implementation = "eager"  # no other one limits scores
    theirs = transformers.T5GemmaEncoderModel(config)
    stated["layer_types"] = tuple(stated.get("layer_types", ()))
    ours = T5GemmaEncoder(T5GemmaConfig(**stated, rope_theta=rotation["rope_theta"]))
    found, expected = states_of_both(ours, theirs, torch.float32)
    assert relative_error(found, expected) <= 64 * torch.finfo(torch.float32).eps


@given(st.integers(-3_000, 3_000), st.integers(4, 64), st.integers(65, 500))
def test_buckets_grow_with_the_distance_and_keep_the_direction(
    distance: int, num_buckets: int, farthest: int
) -> None:
    both = torch.tensor([[distance, distance + 1 if distance >= 0 else distance - 1]])
    near, far = distance_buckets(both, num_buckets, farthest)[0].tolist()
    half = num_buckets // 2
    assert 0 <= near <= far < 2 * half
    assert distance == 0 or (near >= half) == (distance > 0)
    if abs(distance) < half // 2:
        assert near % half == abs(distance)
