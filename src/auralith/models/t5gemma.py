"""The encoder of T5Gemma (Zhang et al. 2025): the blocks of Gemma 2 (Riviere et al. 2024, section 2), looking both ways.

Modules bear the names of the published weights.
"""

from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from auralith.models.attention import Rotary, rotate
from auralith.models.text_network import TextNetwork

ACTIVATIONS = {
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "gelu": F.gelu,
    "silu": F.silu,
    "relu": F.relu,
}
SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True)
class T5GemmaConfig:
    """The part of a `config.json` that says what the encoder is; the defaults are those of the transformers library."""

    vocab_size: int = 256_000
    hidden_size: int = 2_304
    intermediate_size: int = 9_216
    num_hidden_layers: int = 26
    num_attention_heads: int = 8
    num_key_value_heads: int = 4
    head_dim: int = 256
    hidden_activation: str = "gelu_pytorch_tanh"
    rms_norm_eps: float = 1e-6
    attention_bias: bool = False
    query_pre_attn_scalar: int = 256
    """Scores are divided by its square root."""
    sliding_window: int = 4_096
    """Tokens to each side that a layer with a window looks at."""
    layer_types: tuple[str, ...] = ()
    """`SLIDING` or `FULL` of each layer; none: both in turns."""
    attn_logit_softcapping: float | None = 50.0
    """Limit that scores approach; None: no limit."""
    rope_theta: float = 10_000.0

    def has_window(self, layer: int) -> bool:
        return self.layer_types[layer] == SLIDING if self.layer_types else layer % 2 == 0


class Norm(nn.Module):
    """Division by the root mean square and a scale, whose weight is its distance from 1; all in float32."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.hidden_size))
        self.eps = config.rms_norm_eps

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        wide = x.float()
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)
        return (wide * (1.0 + self.weight.float())).to(x.dtype)


class Attention(nn.Module):
    """Attention of rotated queries and keys, which groups of heads share, with a limit of the scores."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        width, size, bias = config.hidden_size, config.head_dim, config.attention_bias
        heads, shared = config.num_attention_heads, config.num_key_value_heads
        self.head_dim, self.copies = size, heads // shared
        self.scale, self.cap = config.query_pre_attn_scalar**-0.5, config.attn_logit_softcapping
        self.q_proj = nn.Linear(width, heads * size, bias=bias)
        self.k_proj = nn.Linear(width, shared * size, bias=bias)
        self.v_proj = nn.Linear(width, shared * size, bias=bias)
        self.o_proj = nn.Linear(heads * size, width, bias=bias)

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        rotary: Rotary,
        seen: Bool[Tensor, "batch 1 token key"],
    ) -> Float[Tensor, "batch token dim"]:
        query, key, value = (
            layer(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        query, key = rotate(query, rotary), rotate(key, rotary)
        key, value = (each.repeat_interleave(self.copies, dim=1) for each in (key, value))
        # no fused kernel limits scores
        scores = query @ key.mT * self.scale
        if self.cap is not None:
            scores = torch.tanh(scores / self.cap) * self.cap
        scores = torch.where(seen, scores, torch.finfo(scores.dtype).min)
        weights = scores.softmax(-1, dtype=torch.float32).to(x.dtype)
        return self.o_proj((weights @ value).transpose(1, 2).flatten(-2))


class FeedForward(nn.Module):
    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.activate = ACTIVATIONS[config.hidden_activation]
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.down_proj(self.activate(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention and feed-forward, each between two norms."""

    def __init__(self, config: T5GemmaConfig, layer: int) -> None:
        super().__init__()
        self.has_window = config.has_window(layer)
        self.self_attn = Attention(config)
        self.pre_self_attn_layernorm = Norm(config)
        self.post_self_attn_layernorm = Norm(config)
        self.mlp = FeedForward(config)
        self.pre_feedforward_layernorm = Norm(config)
        self.post_feedforward_layernorm = Norm(config)

    def forward(self, x: Tensor, rotary: Rotary, seen: Tensor) -> Tensor:
        attended = self.self_attn(self.pre_self_attn_layernorm(x), rotary, seen)
        x = x + self.post_self_attn_layernorm(attended)
        return x + self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x)))


class Stack(nn.Module):
    """Embedding and blocks."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.norm = Norm(config)
        self.layers = nn.ModuleList(Block(config, i) for i in range(config.num_hidden_layers))

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        x = self.embed_tokens(ids)
        # in the number format of the model, as it was trained
        x = x * torch.tensor(self.config.hidden_size**0.5, dtype=x.dtype)
        positions = torch.arange(ids.shape[1], device=ids.device)
        rotary = _rotary(positions, self.config)
        seen = mask[:, None, None].bool().expand(-1, -1, ids.shape[1], -1)
        near = (positions - positions[:, None]).abs() <= self.config.sliding_window
        for block in self.layers:
            assert isinstance(block, Block)
            x = block(x, rotary, seen & near if block.has_window else seen)
        return self.norm(x)


def _rotary(positions: Int[Tensor, " token"], config: T5GemmaConfig) -> Rotary:
    """Return the angles p · θ^(−2i/dim), both halves alike (Su et al. 2021, equation 34)."""
    steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=positions.device)
    frequencies = 1 / config.rope_theta ** (steps / config.head_dim)
    angles = torch.outer(positions.float(), frequencies).repeat(1, 2)
    return Rotary(angles.cos(), angles.sin())


class T5GemmaEncoder(TextNetwork):
    """The encoder under the name it has in the published files."""

    def __init__(self, config: T5GemmaConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Stack(config)

    @property
    def embedding(self) -> nn.Embedding:
        return self.encoder.embed_tokens

    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        return self.encoder(ids, mask)
