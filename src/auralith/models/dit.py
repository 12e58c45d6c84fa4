"""The diffusion transformer (arXiv 2407.14358, section 3.3): latents, timestep and conditioning in, network output out.

Prepared once per request are the projected global vector, the keys and values of the context in every block and the
rotary table.
"""

import math
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.config import DiTConfig
from auralith.models.attention import (
    CrossAttention,
    KeyValue,
    Rotary,
    SelfAttention,
    rotary_table,
)
from auralith.models.diffusion_transformer import DiffusionTransformer, change_first
from auralith.models.embedders import Fourier
from auralith.models.gradients import Linear, Recipe, normalize, swiglu

KEPT = 17
"""Widths that a block keeps per position: the inputs of three norms, query, key and value, the outputs of two
attentions, the query of the second, and the eight of the feed-forward's projection."""
KEPT_MODULATED = 6
"""More with adaLN: what its scales and gates multiply, and two modulated inputs."""
KEPT_BY_ADAPTERS = 7
"""More with adapters, which keep the inputs of the projections: three normalized ones and the product of SwiGLU."""
KEPT_CASTS = 2
"""And in half precision copies of both attentions' outputs, which the adapters cast."""
KEPT_BY_QK_NORM = 5
KEPT_BY_QK_NORM_HALF = 11
"""More with LayerNorm on queries and keys: its inputs, in half precision as float32, and its rotated outputs."""


@dataclass(frozen=True)
class Prepared:
    """Values that stay the same over all steps of a request. `memories` holds one entry per block, for the first rows only."""

    global_embed: Float[Tensor, "batch global_width"]
    memories: tuple[KeyValue, ...]
    rotary: Rotary
    extra: Float[Tensor, "batch extra frame"] | None = None
    """Channels beside the latents; None: zeros, where the network has such channels."""

    def rows(self, selection: slice) -> "Prepared":
        """Return the same for some rows of the batch alone, such as the conditioned half under guidance."""
        memories = tuple(KeyValue(m.key[selection], m.value[selection]) for m in self.memories)
        extra = None if self.extra is None else self.extra[selection]
        return Prepared(self.global_embed[selection], memories, self.rotary, extra)


class Norm(nn.Module):
    """LayerNorm with a trained scale and, where the config has one, a trained bias."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(config.embed_dim))
        self.bias = nn.Parameter(torch.zeros(config.embed_dim)) if config.norm_bias else None
        self.normalize = partial(normalize, eps=config.norm_eps)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return self.normalize(x, self.scale, self.bias)

    def recipe(self, x: Float[Tensor, "*batch dim"]) -> Recipe:
        """Return how the output for `x` is made again in the backward pass."""
        return Recipe(self.normalize, (x, self.scale, self.bias))


class FourierFeatures(Fourier):
    """[cos 2πtw, sin 2πtw] of the timestep, always in float32."""

    def forward(self, t: Float[Tensor, " batch"]) -> Float[Tensor, "batch features"]:
        angles = 2 * math.pi * torch.outer(t.float(), self.frequencies)
        return torch.cat((angles.cos(), angles.sin()), dim=-1)


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): value rows first, then gate rows."""

    def __init__(self, dim: int, hidden_dim: int) -> None:
        super().__init__()
        self.up = Linear(dim, 2 * hidden_dim)
        self.down = Linear(hidden_dim, dim)

    def forward(
        self, x: Float[Tensor, "*batch dim"], recipe: Recipe | None = None
    ) -> Float[Tensor, "*batch dim"]:
        projected = self.up(x, recipe)
        return self.down(swiglu(projected), Recipe(swiglu, (projected,)))


def position_waves(num_positions: int, dim: int) -> Float[Tensor, "position dim"]:
    """Sines and cosines of rates evenly spaced up to half a cycle per position.

    A rhythm of any tempo is a sum of few of them, so a modulation of channels by the tempo can pick it out.
    """
    rates = torch.linspace(0, math.pi, dim // 2)
    angles = torch.outer(torch.arange(num_positions), rates)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def projection(dim_in: int, dim_out: int, *, bias: bool = False) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(dim_in, dim_out, bias=bias), nn.SiLU(), nn.Linear(dim_out, dim_out, bias=bias)
    )


class Block(nn.Module):
    """Self-attention, cross-attention, feed-forward, each on a normalized residual; optionally modulated (adaLN)."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        dim, qk_norm = config.embed_dim, config.qk_norm == "ln"
        self.self_attention_norm = Norm(config)
        self.self_attention = SelfAttention(dim, config.num_heads, qk_norm)
        if config.context_dim:
            self.cross_attention_norm = Norm(config)
            self.cross_attention = CrossAttention(
                dim, config.context_width, config.num_heads, config.num_context_heads, qk_norm
            )
        self.feed_forward_norm = Norm(config)
        self.feed_forward = FeedForward(dim, 4 * dim)
        if config.global_conditioning == "adaln":
            self.modulation = nn.Parameter(torch.empty(6 * dim).normal_(std=dim**-0.5))

    def forward(
        self,
        x: Float[Tensor, "batch position dim"],
        memory: KeyValue | None,
        rotary: Rotary,
        modulation: Float[Tensor, "batch six_dims"] | None = None,
    ) -> Float[Tensor, "batch position dim"]:
        if modulation is None:
            norm = self.self_attention_norm
            x = x + self.self_attention(norm(x), rotary, norm.recipe(x))
            x = self._cross(x, memory)
            norm = self.feed_forward_norm
            return x + self.feed_forward(norm(x), norm.recipe(x))
        scale_a, shift_a, gate_a, scale_f, shift_f, gate_f = (
            (modulation + self.modulation).unsqueeze(1).chunk(6, dim=-1)
        )
        hidden = self.self_attention_norm(x) * (1 + scale_a) + shift_a
        x = x + self.self_attention(hidden, rotary) * torch.sigmoid(1 - gate_a)
        x = self._cross(x, memory)
        hidden = self.feed_forward_norm(x) * (1 + scale_f) + shift_f
        return x + self.feed_forward(hidden) * torch.sigmoid(1 - gate_f)

    def _cross(
        self, x: Float[Tensor, "batch position dim"], memory: KeyValue | None
    ) -> Float[Tensor, "batch position dim"]:
        if memory is None:
            return x
        norm, attention = self.cross_attention_norm, self.cross_attention
        return change_first(
            x,
            memory.key.shape[0],
            lambda rows: rows + attention(norm(rows), memory, norm.recipe(rows)),
        )


class DiT(DiffusionTransformer[Prepared]):
    """The transformer of a `DiTConfig`."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpoint_activations = False
        dim = config.embed_dim
        self.timestep_features = FourierFeatures(config.timestep_frequencies)
        self.timestep_embed = projection(2 * config.timestep_frequencies, dim, bias=True)
        if config.context_dim:
            self.context_embed = projection(config.context_dim, config.context_width)
        if config.global_dim:
            self.global_embed = projection(config.global_dim, config.global_width)
        channels_in = config.latent_channels + config.extra_channels
        self.conv_in = nn.Conv1d(channels_in, channels_in, 1, bias=False)
        self.project_in = nn.Linear(channels_in, dim, bias=False)
        if config.max_positions:
            self.positions = nn.Embedding(config.max_positions, dim)
        if config.global_conditioning == "adaln":
            self.modulation = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, 6 * dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.project_out = nn.Linear(dim, config.latent_channels, bias=False)
        self.conv_out = nn.Conv1d(config.latent_channels, config.latent_channels, 1, bias=False)

    def kept_widths(self, *, adapted: bool, half: bool, checkpointed: bool) -> float:
        if checkpointed:
            return 1.0
        widths = KEPT
        if self.config.is_modulated:
            widths += KEPT_MODULATED
        if adapted:
            widths += KEPT_BY_ADAPTERS + (KEPT_CASTS if half else 0)
        if self.config.normalizes_heads:
            widths += KEPT_BY_QK_NORM_HALF if half else KEPT_BY_QK_NORM
        return float(widths)

    def reset_parameters(self) -> None:
        for module in self.modules():
            if isinstance(module, (SelfAttention, CrossAttention)):
                nn.init.zeros_(module.out.weight)
            elif isinstance(module, FeedForward):
                nn.init.zeros_(module.down.weight)
                nn.init.zeros_(module.down.bias)
        nn.init.zeros_(self.conv_in.weight)
        nn.init.zeros_(self.conv_out.weight)
        if self.config.max_positions:
            # scaled so that they reach the sequence with an amplitude of one half
            waves = position_waves(self.config.max_positions, self.config.embed_dim)
            self.positions.weight.data.copy_(0.5 * self.config.embed_dim**0.5 * waves)

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
        assert valid is None  # trained on windows in which all frames count
        positions = num_frames + self.config.extra_positions
        memories = ()
        if context is not None:
            tokens = self.context_embed(context)
            memories = tuple(block.cross_attention.memory(tokens) for block in self._blocks())
        rotary = rotary_table(positions, self.config.rotary_dim, global_embed.device)
        if self.config.global_dim:
            projected = self.global_embed(global_embed)
        else:
            projected = global_embed.new_zeros(global_embed.shape[0], self.config.embed_dim)
        return Prepared(projected, memories, rotary, extra)

    def enter(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
    ) -> tuple[Float[Tensor, "batch position dim"], Float[Tensor, "batch six_dims"] | None]:
        features = self.timestep_features(t).to(latents.dtype)
        condition = prepared.global_embed + self.timestep_embed(features)
        inputs = self._with_extra(latents, prepared.extra)
        x = self.project_in((self.conv_in(inputs) + inputs).transpose(1, 2))
        modulation = None
        if self.config.global_conditioning == "adaln":
            modulation = self.modulation(condition)
        else:
            x = torch.cat((condition.unsqueeze(1), x), dim=1)
        if self.config.max_positions:
            scale = self.config.embed_dim**-0.5
            x = x + scale * self.positions.weight[: x.shape[1]]
        return x, modulation

    def block_inputs(
        self,
        index: int,
        modulation: Float[Tensor, "batch six_dims"] | None,
        prepared: Prepared,
    ) -> tuple[KeyValue | None, Rotary, Float[Tensor, "batch six_dims"] | None]:
        memory = prepared.memories[index] if prepared.memories else None
        return memory, prepared.rotary, modulation

    def _with_extra(
        self, latents: Float[Tensor, "batch channel frame"], extra: Tensor | None
    ) -> Float[Tensor, "batch input_channel frame"]:
        """All input channels; those beside the latents are zero where nothing is known."""
        if not self.config.extra_channels:
            return latents
        if extra is None:
            shape = (latents.shape[0], self.config.extra_channels, latents.shape[-1])
            extra = latents.new_zeros(shape)
        return torch.cat((latents, extra.to(latents.dtype)), dim=1)

    def _blocks(self) -> list[Block]:
        return [block for block in self.blocks if isinstance(block, Block)]
