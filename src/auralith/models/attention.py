"""Attention as the diffusion transformer uses it: rotary positions, grouped key/value heads, optional LayerNorm on q and k.

One function, `attend`, serves self- and cross-attention. What depends on neither the latents
nor the timestep (rotary table, keys and values of the context) is computed outside the sampling loop and passed in.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.models.gradients import Linear, Recipe, rotated_heads


class Rotary(NamedTuple):
    """Cosine and sine of the rotary angles in float32, (position, rotated_dim)."""

    cos: Float[Tensor, "position rotated"]
    sin: Float[Tensor, "position rotated"]


class KeyValue(NamedTuple):
    """Keys and values with as many heads as the queries have."""

    key: Float[Tensor, "batch head token head_dim"]
    value: Float[Tensor, "batch head token head_dim"]


def rotary_table(num_positions: int, dim: int, device: torch.device) -> Rotary:
    """Angles p · 10000^(−2i/dim) for positions from 0, both halves alike (Su et al. 2021, equation 34)."""
    frequencies = 10_000.0 ** (-torch.arange(0, dim, 2, dtype=torch.float32, device=device) / dim)
    positions = torch.arange(num_positions, dtype=torch.float32, device=device)
    angles = torch.outer(positions, frequencies).repeat(1, 2)
    return Rotary(angles.cos(), angles.sin())


def rotate(
    x: Float[Tensor, "batch head position head_dim"], table: Rotary
) -> Float[Tensor, "batch head position head_dim"]:
    """Apply rotary positions to the first dimensions, in float32 whatever the dtype of `x`."""
    dim = table.cos.shape[-1]
    turned = x[..., :dim].float()
    first, second = turned.chunk(2, dim=-1)
    turned = turned * table.cos + torch.cat((-second, first), dim=-1) * table.sin
    return torch.cat((turned.to(x.dtype), x[..., dim:]), dim=-1)


class QKNorm(nn.Module):
    """LayerNorm over the head dimension of queries and keys, in float32."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(head_dim))
        self.bias = nn.Parameter(torch.zeros(head_dim))

    def forward(
        self, x: Float[Tensor, "batch head token head_dim"]
    ) -> Float[Tensor, "batch head token head_dim"]:
        shape = (x.shape[-1],)
        out = F.layer_norm(x.float(), shape, self.weight.float(), self.bias.float(), eps=1e-6)
        return out.to(x.dtype)


def split_heads(
    x: Float[Tensor, "batch token features"], num_heads: int
) -> Float[Tensor, "batch head token head_dim"]:
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def attend(
    query: Float[Tensor, "batch head position head_dim"],
    memory: KeyValue,
    mask: Bool[Tensor, "batch 1 1 token"] | None = None,
) -> Float[Tensor, "batch position features"]:
    """Attend to the tokens that `mask` marks, to all if it is None."""
    if torch.is_grad_enabled() and _plain_is_faster(query, memory.key):
        scores = query @ memory.key.transpose(-1, -2) * query.shape[-1] ** -0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        out = torch.softmax(scores, dim=-1, dtype=query.dtype) @ memory.value
    else:
        out = F.scaled_dot_product_attention(query, memory.key, memory.value, attn_mask=mask)
    return out.transpose(1, 2).flatten(-2)


def _plain_is_faster(query: Tensor, key: Tensor) -> bool:
    """On a CPU the fused kernel's backward pass is slower as long as all scores of a head fit into the cache."""
    limit = 2**16 if query.dtype is torch.float32 else 2**17
    return query.device.type == "cpu" and query.shape[-2] * key.shape[-2] <= limit


class SelfAttention(nn.Module):
    def __init__(self, dim: int, num_heads: int, qk_norm: bool) -> None:
        super().__init__()
        self.num_heads, self.qk_norm = num_heads, qk_norm
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.q_norm = QKNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.k_norm = QKNorm(dim // num_heads) if qk_norm else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch position dim"],
        rotary: Rotary,
        recipe: Recipe | None = None,
    ) -> Float[Tensor, "batch position dim"]:
        projected = self.qkv(x, recipe)
        if self.qk_norm or torch.compiler.is_exporting():  # a graph changes nothing in place
            query, key, value = (split_heads(p, self.num_heads) for p in projected.chunk(3, -1))
            query, key = rotate(self.q_norm(query), rotary), rotate(self.k_norm(key), rotary)
        else:
            query, key, value = rotated_heads(projected, self.num_heads, *rotary)
        return self.out(attend(query, KeyValue(key, value)))


class CrossAttention(nn.Module):
    """Attention to the context, whose key/value heads have the width of the queries' heads and may be fewer."""

    def __init__(
        self, dim: int, context_dim: int, num_heads: int, num_kv_heads: int, qk_norm: bool
    ) -> None:
        super().__init__()
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.q = Linear(dim, dim, bias=False)
        self.kv = Linear(context_dim, 2 * num_kv_heads * (dim // num_heads), bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.q_norm = QKNorm(dim // num_heads) if qk_norm else nn.Identity()
        self.k_norm = QKNorm(dim // num_heads) if qk_norm else nn.Identity()

    def memory(self, context: Float[Tensor, "batch token context_dim"]) -> KeyValue:
        """Keys and values of the context, heads repeated so that query head i meets key head ⌊i·kv/heads⌋."""
        key, value = (
            split_heads(part, self.num_kv_heads) for part in self.kv(context).chunk(2, -1)
        )
        repeats = self.num_heads // self.num_kv_heads
        key, value = (part.repeat_interleave(repeats, dim=1) for part in (self.k_norm(key), value))
        return KeyValue(key, value)

    def forward(
        self,
        x: Float[Tensor, "batch position dim"],
        memory: KeyValue,
        recipe: Recipe | None = None,
    ) -> Float[Tensor, "batch position dim"]:
        query = self.q_norm(split_heads(self.q(x, recipe), self.num_heads))
        return self.out(attend(query, memory))
