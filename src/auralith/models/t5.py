"""The encoder of T5 (Raffel et al. 2020, section 2.1), also with the gated feed-forward of version 1.1.

Modules bear the names of the published weights.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from auralith.models.text_network import TextNetwork

ACTIVATIONS = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "silu": F.silu,
}
LARGEST = torch.finfo(torch.float16).max - 1_000
"""Limit of the residuals in float16, which overflow in the larger models."""


@dataclass(frozen=True)
class T5Config:
    """The part of a `config.json` that says what the encoder is; the defaults are those of the transformers library."""

    vocab_size: int = 32_128
    d_model: int = 512
    d_kv: int = 64
    d_ff: int = 2_048
    num_layers: int = 6
    num_heads: int = 8
    relative_attention_num_buckets: int = 32
    relative_attention_max_distance: int = 128
    layer_norm_epsilon: float = 1e-6
    feed_forward_proj: str = "relu"

    @property
    def is_gated(self) -> bool:
        return self.feed_forward_proj.startswith("gated-")

    @property
    def activation(self) -> str:
        """Return a name of `ACTIVATIONS`, or another that is not supported; "gated-gelu" always was `gelu_new`."""
        name = self.feed_forward_proj.removeprefix("gated-")
        return "gelu_new" if self.is_gated and name == "gelu" else name


class Norm(nn.Module):
    """Division by the root mean square, in float32, and a trained scale (Zhang and Sennrich 2019)."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.eps = config.layer_norm_epsilon

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        square = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(square + self.eps)).to(self.weight.dtype)


class Attention(nn.Module):
    """Attention with a bias by relative position in place of positions, and without the usual scaling."""

    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        width = config.num_heads * config.d_kv
        self.q = nn.Linear(config.d_model, width, bias=False)
        self.k = nn.Linear(config.d_model, width, bias=False)
        self.v = nn.Linear(config.d_model, width, bias=False)
        self.o = nn.Linear(width, config.d_model, bias=False)
        if has_bias:
            buckets = config.relative_attention_num_buckets
            self.relative_attention_bias = nn.Embedding(buckets, config.num_heads)

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        bias: Float[Tensor, "batch head token key"],
    ) -> Float[Tensor, "batch token dim"]:
        query, key, value = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=1.0)
        return self.o(out.transpose(1, 2).flatten(-2))


class AttentionLayer(nn.Module):
    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.SelfAttention = Attention(config, has_bias)
        self.layer_norm = Norm(config)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        return x + self.SelfAttention(self.layer_norm(x), bias)


class FeedForward(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.is_gated = config.is_gated
        self.activate = ACTIVATIONS[config.activation]
        width, inner = config.d_model, config.d_ff
        if self.is_gated:
            self.wi_0 = nn.Linear(width, inner, bias=False)
            self.wi_1 = nn.Linear(width, inner, bias=False)
        else:
            self.wi = nn.Linear(width, inner, bias=False)
        self.wo = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        if self.is_gated:
            return self.wo(self.activate(self.wi_0(x)) * self.wi_1(x))
        return self.wo(self.activate(self.wi(x)))


class FeedForwardLayer(nn.Module):
    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.DenseReluDense = FeedForward(config)
        self.layer_norm = Norm(config)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.DenseReluDense(self.layer_norm(x))


class Block(nn.Module):
    def __init__(self, config: T5Config, has_bias: bool) -> None:
        super().__init__()
        self.layer = nn.ModuleList((AttentionLayer(config, has_bias), FeedForwardLayer(config)))

    def bias_of(self, buckets: Int[Tensor, "token key"]) -> Float[Tensor, "token key head"]:
        """Return the bias of each bucket, which the first block alone holds."""
        layer = self.layer[0]
        assert isinstance(layer, AttentionLayer)
        return layer.SelfAttention.relative_attention_bias(buckets)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        attention, feed_forward = self.layer
        return _limited(feed_forward(_limited(attention(x, bias))))


def _limited(x: Tensor) -> Tensor:
    return x.clamp(-LARGEST, LARGEST) if x.dtype is torch.float16 else x


class Stack(nn.Module):
    """The blocks; the first one holds the bias that all use."""

    def __init__(self, config: T5Config, embed_tokens: nn.Embedding) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = embed_tokens
        self.block = nn.ModuleList(Block(config, i == 0) for i in range(config.num_layers))
        self.final_layer_norm = Norm(config)
        self.register_buffer("held", None, persistent=False)
        self.held: Tensor | None

    def hold(self, num_tokens: int) -> None:
        """Keep the buckets of so many tokens, so that they are a constant of an exported graph.

        Where their logarithm is a whole number, its last bit decides the bucket.
        """
        self.held = self._buckets(num_tokens, self.embed_tokens.weight.device)

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        x = self.embed_tokens(ids)
        bias = self._bias(ids.shape[1], ids.device)
        lowest = torch.finfo(bias.dtype).min
        # a sum with the lowest number would overflow where the bias is negative
        bias = torch.where(mask[:, None, None].bool(), bias, lowest)
        for block in self.block:
            x = block(x, bias)
        return self.final_layer_norm(x)

    def _bias(self, num_tokens: int, device: torch.device) -> Float[Tensor, "1 head token key"]:
        buckets = self._buckets(num_tokens, device) if self.held is None else self.held
        first = self.block[0]
        assert isinstance(first, Block)
        return first.bias_of(buckets).permute(2, 0, 1).unsqueeze(0)

    def _buckets(self, num_tokens: int, device: torch.device) -> Int[Tensor, "token key"]:
        positions = torch.arange(num_tokens, device=device)
        return distance_buckets(
            positions - positions[:, None],
            self.config.relative_attention_num_buckets,
            self.config.relative_attention_max_distance,
        )


def distance_buckets(
    distance: Int[Tensor, "token key"], num_buckets: int, farthest: int
) -> Int[Tensor, "token key"]:
    """Return the bucket of each distance from query to key: one half per direction; small distances have their own.

    Beyond half of a direction's buckets they widen as the logarithm, up to `farthest` (Raffel et al. 2020, section 2.1).
    """
    half = num_buckets // 2
    exact = half // 2
    size = distance.abs()
    # below `exact` it is not used, and log 0 must not become an integer
    ratio = torch.log(size.clamp(min=1).float() / exact) / math.log(farthest / exact)
    wide = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
    return (distance > 0).long() * half + torch.where(size < exact, size, wide)


class T5Encoder(TextNetwork):
    """Embedding and blocks, which share the embedding."""

    def __init__(self, config: T5Config) -> None:
        super().__init__()
        self.config = config
        self.shared = nn.Embedding(config.vocab_size, config.d_model)
        self.encoder = Stack(config, self.shared)

    @property
    def embedding(self) -> nn.Embedding:
        return self.shared

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.encoder(ids, mask)
