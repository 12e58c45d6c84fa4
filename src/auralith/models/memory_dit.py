"""The diffusion transformer of Stable Audio 3: memory tokens before the latents, adaLN, a local condition in every block.

Attention has QK-RMS (Henry et al. 2020, arXiv 2010.04245, with RMS) and rotary positions that count over memory and
latents alike. In the differential form (after Ye et al. 2024, arXiv 2410.05258, without its λ and its head norm) a second
pair of queries and keys gives an attention that is taken away from the first. Each block adds a projection of the local
condition, the channels beside the latents, to the rows of the latents; without one it is the projection of zeros.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.config import MemoryDiTConfig
from auralith.models.attention import KeyValue, Rotary, attend, rotary_table, rotate, split_heads
from auralith.models.diffusion_transformer import DiffusionTransformer, change_first
from auralith.models.dit import FeedForward, projection
from auralith.models.embedders import GeometricFeatures
from auralith.models.gradients import Linear

HEAD_NORM_EPS = 1e-6
TIMESTEP_FEATURES = 256
KEPT = {False: (37.2, 54.1), True: (29.3, 38.0)}
"""Widths that a block keeps of a position, in float32 and in half precision; True: with adapters, the rest frozen. They are
the norms in float32, scaled and gated rows, heads before and after norm and rotation, and the rows with the local condition."""
KEPT_BY_DIFFERENCE = {False: (11.2, 19.6), True: (8.2, 13.5)}
"""More with a second pair of queries and keys."""
KEPT_CHECKPOINTED = {False: (4.0, 5.4), True: (2.0, 3.1)}
"""Without what is computed twice: rows, and the local condition's, which are prepared before the blocks."""


@dataclass(frozen=True)
class Prepared:
    """Values that stay the same over all steps of a request. `memories` holds the pairs of each block, for the first rows
    only."""

    global_embed: Float[Tensor, "batch dim"]
    memories: tuple[tuple[KeyValue, ...], ...]
    rotary: Rotary
    local: tuple[Float[Tensor, "row position dim"], ...]
    """Term that each block adds to the rows of the latents; one row and position of zeros' projection if nothing is given."""
    valid: Bool[Tensor, "batch memory_and_frame"] | None = None
    keeps_keys: bool = False

    def rows(self, selection: slice) -> "Prepared":
        """Return the same for some rows of the batch alone, such as the conditioned half under guidance."""
        return replace(
            self,
            global_embed=self.global_embed[selection],
            memories=tuple(
                tuple(KeyValue(m.key[selection], m.value[selection]) for m in pairs)
                for pairs in self.memories
            ),
            local=tuple(part[selection] for part in self.local),
            valid=None if self.valid is None else self.valid[selection],
        )


class RMSNorm(nn.Module):
    """scale · x / √(mean(x²) + eps), in float32 (Zhang and Sennrich 2019, equation 4)."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return F.rms_norm(x.float(), self.scale.shape, self.scale.float(), self.eps).to(x.dtype)


def attend_pairs(
    queries: tuple[Float[Tensor, "batch head position head_dim"], ...],
    memories: tuple[KeyValue, ...],
    mask: Bool[Tensor, "batch 1 1 token"] | None = None,
) -> Float[Tensor, "batch position features"]:
    """The attention of the first pair, less that of the second if there is one.

    The two are nearly equal: their difference is taken in float32, as 16 bits would leave little of it.
    """
    first, *second = (attend(q, memory, mask) for q, memory in zip(queries, memories, strict=True))
    if not second:
        return first
    return (first.float() - second[0].float()).to(first.dtype)


class MemorySelfAttention(nn.Module):
    """Self-attention; `qkv` holds rows for q, k, v and, in the differential form, q′ and k′."""

    def __init__(self, config: MemoryDiTConfig) -> None:
        super().__init__()
        dim, head_dim = config.embed_dim, config.head_dim
        self.num_heads = config.num_heads
        self.parts = 5 if config.differential else 3
        self.qkv = Linear(dim, self.parts * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.q_norm = RMSNorm(head_dim, HEAD_NORM_EPS)
        self.k_norm = RMSNorm(head_dim, HEAD_NORM_EPS)

    def forward(
        self,
        x: Float[Tensor, "batch position dim"],
        rotary: Rotary,
        valid: Bool[Tensor, "batch position"] | None = None,
        keeps_keys: bool = False,
    ) -> Float[Tensor, "batch position dim"]:
        """Attend to the `valid` rows (`DiffusionTransformer.prepare`)."""
        parts = [split_heads(part, self.num_heads) for part in self.qkv(x).chunk(self.parts, -1)]
        value = parts.pop(2)
        mask = None
        if valid is not None and keeps_keys:
            value = value * valid[:, None, :, None]
        elif valid is not None:
            mask = valid[:, None, None]
        queries = tuple(rotate(self.q_norm(query), rotary) for query in parts[::2])
        keys = tuple(rotate(self.k_norm(key), rotary) for key in parts[1::2])
        memories = tuple(KeyValue(key, value) for key in keys)
        return self.out(attend_pairs(queries, memories, mask))


class MemoryCrossAttention(nn.Module):
    """Attention to the context; `q` holds rows for q and q′, `kv` for k, k′ and v."""

    def __init__(self, config: MemoryDiTConfig) -> None:
        super().__init__()
        dim, head_dim = config.embed_dim, config.head_dim
        self.num_heads = config.num_heads
        self.pairs = 2 if config.differential else 1
        self.q = Linear(dim, self.pairs * dim, bias=False)
        self.kv = Linear(dim, (self.pairs + 1) * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)
        self.q_norm = RMSNorm(head_dim, HEAD_NORM_EPS)
        self.k_norm = RMSNorm(head_dim, HEAD_NORM_EPS)

    def memory(self, context: Float[Tensor, "batch token dim"]) -> tuple[KeyValue, ...]:
        """Return keys and values of the context, a pair for each of the queries."""
        *keys, value = (
            split_heads(part, self.num_heads) for part in self.kv(context).chunk(self.pairs + 1, -1)
        )
        return tuple(KeyValue(self.k_norm(key), value) for key in keys)

    def forward(
        self, x: Float[Tensor, "batch position dim"], memories: tuple[KeyValue, ...]
    ) -> Float[Tensor, "batch position dim"]:
        parts = self.q(x).chunk(self.pairs, -1)
        queries = tuple(self.q_norm(split_heads(part, self.num_heads)) for part in parts)
        return self.out(attend_pairs(queries, memories))


class MemoryBlock(nn.Module):
    """Self-attention, cross-attention, the local condition and feed-forward, each added to the residual."""

    def __init__(self, config: MemoryDiTConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.self_attention_norm = RMSNorm(dim, config.norm_eps)
        self.self_attention = MemorySelfAttention(config)
        self.cross_attention_norm = RMSNorm(dim, config.norm_eps)
        self.cross_attention = MemoryCrossAttention(config)
        self.local_embed = projection(config.extra_channels, dim, bias=True)
        self.feed_forward_norm = RMSNorm(dim, config.norm_eps)
        self.feed_forward = FeedForward(dim, config.hidden_dim)
        self.modulation = nn.Parameter(torch.empty(6 * dim).normal_(std=dim**-0.5))

    def forward(
        self,
        x: Float[Tensor, "batch position dim"],
        memories: tuple[KeyValue, ...],
        rotary: Rotary,
        modulation: Float[Tensor, "batch six_dims"],
        local: Float[Tensor, "row frame_or_one dim"],
        num_memory: int,
        valid: Bool[Tensor, "batch position"] | None = None,
        keeps_keys: bool = False,
    ) -> Float[Tensor, "batch position dim"]:
        scale_a, shift_a, gate_a, scale_f, shift_f, gate_f = (
            (modulation + self.modulation).unsqueeze(1).chunk(6, dim=-1)
        )
        hidden = self.self_attention_norm(x) * (1 + scale_a) + shift_a
        x = x + self.self_attention(hidden, rotary, valid, keeps_keys) * torch.sigmoid(1 - gate_a)
        x = self._cross(x, memories)
        x = torch.cat((x[:, :num_memory], x[:, num_memory:] + local), dim=1)
        hidden = self.feed_forward_norm(x) * (1 + scale_f) + shift_f
        return x + self.feed_forward(hidden) * torch.sigmoid(1 - gate_f)

    def _cross(
        self, x: Float[Tensor, "batch position dim"], memories: tuple[KeyValue, ...]
    ) -> Float[Tensor, "batch position dim"]:
        if not memories:
            return x
        norm, attention = self.cross_attention_norm, self.cross_attention
        return change_first(
            x, memories[0].key.shape[0], lambda rows: rows + attention(norm(rows), memories)
        )


class MemoryDiT(DiffusionTransformer[Prepared]):
    """The transformer of a `MemoryDiTConfig`."""

    def __init__(self, config: MemoryDiTConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        dim, channels = config.embed_dim, config.latent_channels
        self.timestep_features = GeometricFeatures(TIMESTEP_FEATURES)
        self.timestep_embed = projection(TIMESTEP_FEATURES, dim, bias=True)
        self.context_embed = projection(config.context_dim, dim)
        self.global_embed = projection(config.global_dim, dim)
        self.conv_in = nn.Conv1d(channels, channels, 1, bias=False)
        self.project_in = nn.Linear(channels, dim, bias=False)
        self.memory = nn.Parameter(torch.empty(config.num_memory_tokens, dim).normal_())
        self.modulation = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(MemoryBlock(config) for _ in range(config.depth))
        self.project_out = nn.Linear(dim, channels, bias=False)
        self.conv_out = nn.Conv1d(channels, channels, 1, bias=False)

    def kept_widths(self, *, adapted: bool, half: bool, checkpointed: bool) -> float:
        if checkpointed:
            return KEPT_CHECKPOINTED[adapted][half]
        more = KEPT_BY_DIFFERENCE[adapted][half] if self.config.differential else 0.0
        return KEPT[adapted][half] + more

    def reset_parameters(self) -> None:
        for block in self._blocks():
            nn.init.zeros_(block.self_attention.out.weight)
            nn.init.zeros_(block.cross_attention.out.weight)
            for last in (block.local_embed[2], block.feed_forward.down):
                assert isinstance(last, nn.Linear)
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        nn.init.zeros_(self.conv_in.weight)
        nn.init.zeros_(self.conv_out.weight)

    def prepare(
        self,
        context: Float[Tensor, "context_row token context_dim"] | None,
        global_embed: Float[Tensor, "batch global_dim"],
        num_frames: int,
        extra: Float[Tensor, "batch extra frame"] | None = None,
        valid: Bool[Tensor, "batch frame"] | None = None,
        *,
        keeps_keys: bool = False,
    ) -> Prepared:
        memories: tuple[tuple[KeyValue, ...], ...] = ((),) * self.config.depth
        if context is not None:
            tokens = self.context_embed(context)
            memories = tuple(block.cross_attention.memory(tokens) for block in self._blocks())
        positions = self.config.num_memory_tokens + num_frames
        rotary = rotary_table(positions, self.config.rotary_dim, global_embed.device)
        if extra is None:
            extra = global_embed.new_zeros(global_embed.shape[0], self.config.extra_channels, 1)
        inputs = extra.to(global_embed.dtype).transpose(1, 2)
        local = tuple(block.local_embed(inputs) for block in self._blocks())
        if valid is not None:
            valid = F.pad(valid, (self.config.num_memory_tokens, 0), value=True)
        return Prepared(self.global_embed(global_embed), memories, rotary, local, valid, keeps_keys)

    def enter(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
    ) -> tuple[Float[Tensor, "batch position dim"], Float[Tensor, "batch six_dims"]]:
        features = self.timestep_features(t).to(latents.dtype)
        modulation = self.modulation(prepared.global_embed + self.timestep_embed(features))
        x = self.project_in((self.conv_in(latents) + latents).transpose(1, 2))
        return torch.cat((self.memory.expand(x.shape[0], -1, -1), x), dim=1), modulation

    def block_inputs(
        self,
        index: int,
        modulation: Float[Tensor, "batch six_dims"] | None,
        prepared: Prepared,
    ) -> tuple[Any, ...]:
        given = (prepared.memories[index], prepared.rotary, modulation, prepared.local[index])
        return *given, self.config.num_memory_tokens, prepared.valid, prepared.keeps_keys

    def _blocks(self) -> list[MemoryBlock]:
        return [block for block in self.blocks if isinstance(block, MemoryBlock)]
