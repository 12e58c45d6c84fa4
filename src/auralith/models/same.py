"""SAME, the transformer autoencoder of Stable Audio 3 (arXiv 2605.17991, section 2.1).

A waveform is folded into patches: a row of features for 256 samples. The encoder puts a learned token behind the 16
rows of each latent frame, lets all rows attend to their neighbors, and reads the latents off these tokens. The decoder
puts 16 learned tokens behind each latent frame and reads the patches off them. A frame with its tokens is a group of
rows here, and attention reaches no further than a few groups (`DifferentialAttention`, `ChunkAttention`):

- "chunks": groups in pairs. Halfway through the blocks the pairs shift by one group, so that every frame sees both of
  its neighbors. Pairs are counted from the beginning, therefore a part of a sound must begin at an even frame.
- "band": a row sees the rows within one group's length on both sides; each block reaches one frame further.

So a tile with a few frames of context equals the whole. Latents are deterministic; the noise that the published code
adds to tokens and latents, also when it doesn't train, is added by the methods `..._as_reference` alone.
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from auralith.models.attention import Rotary, rotary_table, rotate, split_heads
from auralith.models.autoencoder import (
    Autoencoder,
    Draw,
    Posterior,
    is_cpu_inference,
    tile_bounds,
    wrapped,
)
from auralith.models.gradients import swiglu
from auralith.network_config import SameConfig, SameNetworkConfig

LATENT_NOISE = 1e-3
"""Noise that the published decoder adds to latents, as a share of their standard deviation."""
REFERENCE_CHUNK, REFERENCE_OVERLAP = 128, 32
"""Frames of the chunks that the published code works in, and by how many they overlap."""
FEED_FORWARD_MULTIPLE = 3
SLICE_ROWS = 1_088
"""Rows that a CPU takes through a block at once."""
BLOCK_GROUPS = 4
"""Groups of rows whose band of keys is one matrix."""
ALL = slice(None)


class DynamicTanh(nn.Module):
    """γ·tanh(αx) + β in place of a norm (Zhu et al. 2025, section 4)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.full((1,), 4.0))
        self.scale = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        return torch.addcmul(self.bias, self.scale, torch.tanh(self.alpha * x))


class FeedForward(nn.Module):
    """value · g(gate) with g = silu, or sin(π·gate) where the block is sinusoidal."""

    def __init__(self, dim: int, sine: bool) -> None:
        super().__init__()
        self.sine = sine
        self.up = nn.Linear(dim, 2 * FEED_FORWARD_MULTIPLE * dim)
        self.down = nn.Linear(FEED_FORWARD_MULTIPLE * dim, dim)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        projected = self.up(x)
        if not self.sine:
            return self.down(swiglu(projected))
        value, gate = projected.chunk(2, dim=-1)
        return self.down(torch.sin(math.pi * gate) * value)


class DifferentialAttention(nn.Module):
    """The difference of two attentions to the same values, A(q, k, v) − A(q′, k′, v) (compare Ye et al. 2024)."""

    def __init__(self, config: SameNetworkConfig, reach: int | None) -> None:
        """`reach` is how many rows a row sees on each side; None: all."""
        super().__init__()
        self.num_heads, self.reach = config.width // config.head_dim, reach
        self.block = BLOCK_GROUPS * (reach or 0)
        self.qkv = nn.Linear(config.width, 5 * config.width, bias=False)
        self.q_norm = DynamicTanh(config.head_dim)
        self.k_norm = DynamicTanh(config.head_dim)
        self.out = nn.Linear(config.width, config.width, bias=False)

    def forward(
        self, x: Float[Tensor, "batch row dim"], rotary: Rotary, kept: slice = ALL
    ) -> Float[Tensor, "batch kept dim"]:
        """Return the attention of the `kept` rows to all that they see."""
        query, key, value, *others = (
            split_heads(part, self.num_heads) for part in self.qkv(x).chunk(5, dim=-1)
        )
        queries = (rotate(self.q_norm(part), rotary) for part in (query, others[0]))
        keys = (rotate(self.k_norm(part), rotary) for part in (key, others[1]))
        pairs = list(zip(queries, keys, strict=True))
        rows = x.shape[1]
        if self.reach is None:
            out = difference(pairs, value, None)
        else:
            pairs = [(self._blocks(q, 0), self._blocks(k, self.reach)) for q, k in pairs]
            seen = band(rows, self.block, self.reach, x.device)
            out = difference(pairs, self._blocks(value, self.reach), seen).flatten(2, 3)
        return self.out(out[:, :, :rows].transpose(1, 2)[:, kept].flatten(-2))

    def _blocks(
        self, x: Float[Tensor, "batch head row head_dim"], reach: int
    ) -> Float[Tensor, "batch head block window head_dim"]:
        """Return blocks of rows, each with the `reach` rows on both sides of it; zeros beyond the ends."""
        missing = -x.shape[2] % self.block
        beyond = self.block - 2 * reach if reach else 0
        padded = F.pad(x, (0, 0, reach, reach + missing + beyond))
        rows = padded[:, :, : x.shape[2] + missing].unflatten(2, (-1, self.block))
        if not reach:
            return rows
        # unfold would say this in a word, but has no graph of any length
        after = padded[:, :, self.block :].unflatten(2, (-1, self.block))[..., : 2 * reach, :]
        return torch.cat((rows, after), dim=3)


def difference(
    pairs: Sequence[tuple[Float[Tensor, "*batch row dim"], Float[Tensor, "*batch window dim"]]],
    value: Float[Tensor, "*batch window dim"],
    seen: Float[Tensor, "block row window"] | None,
) -> Float[Tensor, "*batch row dim"]:
    """Return (softmax(qkᵀ/√d) − softmax(q′k′ᵀ/√d))·v; the weights and their difference are in float32.

    `seen` is added to the scores.
    """
    weights = []
    for query, key in pairs:
        scores = (query * query.shape[-1] ** -0.5 @ key.transpose(-1, -2)).float()
        weights.append(torch.softmax(scores if seen is None else scores + seen, dim=-1))
    first, second = weights
    return (first - second).to(value.dtype) @ value


def band(
    rows: int, block: int, reach: int, device: torch.device
) -> Float[Tensor, "block row window"]:
    """Return 0 where a row of a block sees a row of its window, −∞ elsewhere.

    Rows beyond the end see what is beyond the end, so that their weights are numbers.
    """
    # without negative numbers, which ONNX divides another way
    num_blocks = (rows + block - 1) // block
    row = torch.arange(num_blocks * block, device=device).view(num_blocks, block, 1)
    other = row[:, :1] - reach + torch.arange(block + 2 * reach, device=device)
    inside = (other >= 0) & (other < rows) | (row >= rows)
    seen = inside & ((other - row).abs() <= reach)
    return torch.zeros((), device=device).masked_fill(~seen, -math.inf)


class Block(nn.Module):
    """Attention and feed-forward layer, each on the residual."""

    def __init__(self, config: SameNetworkConfig, reach: int | None, sine: bool) -> None:
        super().__init__()
        self.attention_norm = DynamicTanh(config.width)
        self.attention = DifferentialAttention(config, reach)
        self.feed_forward_norm = DynamicTanh(config.width)
        self.feed_forward = FeedForward(config.width, sine)

    def forward(
        self, x: Float[Tensor, "batch row dim"], rotary: Rotary, kept: slice = ALL
    ) -> Float[Tensor, "batch kept dim"]:
        attended = self.attention(self.attention_norm(x), rotary, kept)
        x = x[:, kept] + attended
        return x + self.feed_forward(self.feed_forward_norm(x))


class Transformer(nn.Module):
    """Blocks over groups of `group` rows, in chunks or in a band."""

    def __init__(self, config: SameNetworkConfig, group: int) -> None:
        super().__init__()
        self.attention, self.group = config.attention, group
        self.chunk = config.chunk_frames * group
        self.rotary_dim = config.rotary_dim
        self.reach = config.window_frames * group
        seen = self.reach if config.attention == "band" else None
        self.blocks = nn.ModuleList(
            Block(config, seen, sine=config.depth - index < config.sine_blocks)
            for index in range(config.depth)
        )

    def forward(
        self, x: Float[Tensor, "batch row dim"], last_of_group: bool = False
    ) -> Float[Tensor, "batch kept dim"]:
        """Return all rows, or the last one of each group alone."""
        kept = slice(self.group - 1, None, self.group) if last_of_group else ALL
        blocks = list(self.blocks)
        if self.attention == "band":
            for block in blocks[:-1]:
                x = self._in_band(x, block, ALL)
            return self._in_band(x, blocks[-1], kept)
        half, shift = len(blocks) // 2, self.chunk // 2
        x = self._in_chunks(x, blocks[:half], ALL)
        x = torch.cat((x[:, :shift], x, x[:, -shift:]), dim=1)
        x = self._in_chunks(x, blocks[half:], kept)
        beyond = shift // self.group if last_of_group else shift
        return x[:, beyond:-beyond]

    def _in_chunks(
        self, x: Float[Tensor, "batch row dim"], blocks: Sequence[nn.Module], kept: slice
    ) -> Float[Tensor, "batch kept dim"]:
        chunks = x.unflatten(1, (-1, self.chunk)).flatten(0, 1)
        rotary = rotary_table(self.chunk, self.rotary_dim, x.device)
        size = max(1, SLICE_ROWS // self.chunk)
        done = []
        for part in chunks.split(size) if is_cpu_inference(x) else (chunks,):
            for index, block in enumerate(blocks):
                part = block(part, rotary, kept if index == len(blocks) - 1 else ALL)
            done.append(part)
        return torch.cat(done).unflatten(0, (len(x), -1)).flatten(1, 2)

    def _in_band(
        self, x: Float[Tensor, "batch row dim"], block: nn.Module, kept: slice
    ) -> Float[Tensor, "batch kept dim"]:
        rows, reach = x.shape[1], self.reach
        if not is_cpu_inference(x):
            return block(x, rotary_table(rows, self.rotary_dim, x.device), kept)
        length = SLICE_ROWS // self.group * self.group
        rotary = rotary_table(min(rows, length + 2 * reach), self.rotary_dim, x.device)
        pieces = []
        for start, end, first, last in tile_bounds(rows, length, reach):
            part = slice((kept.start or 0) + first - start, last - start, kept.step)
            angles = Rotary(*(table[: end - start] for table in rotary))
            pieces.append(block(x[:, start:end], angles, part))
        return torch.cat(pieces, dim=1)


class SameEncoder(nn.Module):
    """Rows of patches → one row per latent frame."""

    def __init__(self, config: SameConfig) -> None:
        super().__init__()
        side = config.encoder
        self.rows_per_frame, self.noise = config.stride, side.token_noise
        self.mapping = nn.Conv1d(
            config.patch_width, side.width, side.kernel_size, padding=side.kernel_size // 2
        )
        self.new_token = new_token(side.width)
        self.transformer = Transformer(side, config.stride + 1)
        self.project = nn.Linear(side.width, config.latent_channels)

    def forward(
        self, patches: Float[Tensor, "batch feature row"], draw: Draw | None
    ) -> Float[Tensor, "batch channel frame"]:
        groups = self.mapping(patches).transpose(1, 2).unflatten(1, (-1, self.rows_per_frame))
        tokens = new_tokens(self.new_token, groups, 1, self.noise, draw)
        rows = torch.cat((groups, tokens), dim=2).flatten(1, 2)
        return self.project(self.transformer(rows, last_of_group=True)).transpose(1, 2)


class SameDecoder(nn.Module):
    """Latent frames → rows of patches."""

    def __init__(self, config: SameConfig) -> None:
        super().__init__()
        side = config.decoder
        self.rows_per_frame, self.noise = config.stride, side.token_noise
        self.padded_frames = side.frame_group
        self.project = nn.Linear(config.latent_channels, side.width)
        self.new_token = new_token(side.width)
        self.transformer = Transformer(side, config.stride + 1)
        self.mapping = nn.Conv1d(
            side.width, config.patch_width, side.kernel_size, padding=side.kernel_size // 2
        )

    def forward(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw | None
    ) -> Float[Tensor, "batch feature row"]:
        """Return the rows of the frames, whose number is brought to whole chunks by rows of zeros."""
        frames = self.project(latents.transpose(1, 2))
        missing = -frames.shape[1] % self.padded_frames
        groups = F.pad(frames, (0, 0, 0, missing))[:, :, None]
        tokens = new_tokens(self.new_token, groups, self.rows_per_frame, self.noise, draw)
        rows = self.transformer(torch.cat((groups, tokens), dim=2).flatten(1, 2))
        made = rows.unflatten(1, (-1, self.rows_per_frame + 1))[:, :, 1:].flatten(1, 2)
        return self.mapping(made.transpose(1, 2))


def new_token(width: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(1, 1, width).normal_(std=1e-5))


def new_tokens(
    token: Float[Tensor, "1 1 dim"],
    groups: Float[Tensor, "batch frame row dim"],
    count: int,
    noise: float,
    draw: Draw | None,
) -> Float[Tensor, "batch frame count dim"]:
    """Return so many copies of the token for each group; where draws are given, with the published noise."""
    batch, frames, _, dim = groups.shape
    tokens = token.expand(batch, frames, count, dim)
    if draw is None or not noise:
        return tokens
    drawn = draw((batch * frames, count, dim)).to(tokens)
    return tokens + noise * drawn.view(tokens.shape)


class SoftNorm(nn.Module):
    """The bottleneck: an affine map per channel, then division by the standard deviation measured in training."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(1, channels, 1))
        self.register_buffer("bias", torch.zeros(1, channels, 1))
        self.register_buffer("std", torch.ones(1))
        self.scale: Tensor
        self.bias: Tensor
        self.std: Tensor

    def forward(
        self, x: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch channel frame"]:
        return (x * self.scale + self.bias) / self.std

    def inverse(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw | None
    ) -> Float[Tensor, "batch channel frame"]:
        """Return the decoder's input; the affine map is not undone, the decoder has learned without that."""
        x = latents * self.std
        if draw is None:
            return x
        return x + draw(tuple(x.shape)).to(x) * (self.std * LATENT_NOISE)


class Same(Autoencoder):
    def __init__(self, config: SameConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_frame = config.samples_per_frame
        self.encoder, self.decoder = SameEncoder(config), SameDecoder(config)
        self.bottleneck = SoftNorm(config.latent_channels)
        encoder, decoder = config.encoder, config.decoder
        self.encoder_halo = encoder.reach + encoder.kernel_size // 2 * encoder.frame_group
        self.decoder_halo = decoder.reach
        if (
            decoder.attention == "band"
        ):  # neighbors at the ends of a chunk share the one that is shifted
            self.decoder_halo += decoder.kernel_size // 2
        self.frame_group = math.lcm(encoder.frame_group, decoder.frame_group)

    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        """Latents without spread. Samples beyond the last whole frame are heard by the frames before them."""
        frames = waveform.shape[-1] // self.samples_per_frame
        latents = self._encode(waveform, None)[..., :frames]
        return Posterior(latents, torch.zeros_like(latents))

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        return self._decode(latents, None)

    def decode_circular(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        halo = self.decoder_halo
        context = halo * self.samples_per_frame
        return self.decode(wrapped(latents, halo))[..., context:-context]

    def encode_as_reference(
        self,
        waveform: Float[Tensor, "batch channel sample"],
        draw: Draw,
        chunk: int = REFERENCE_CHUNK,
        overlap: int = REFERENCE_OVERLAP,
    ) -> Float[Tensor, "batch latent frame"]:
        """Latents as the published code encodes them: in chunks that overlap, of so many frames, with noise.

        The frames are those of the waveform padded to whole chunks of the attention.
        """
        rate = self.samples_per_frame
        if waveform.shape[-1] < chunk * rate:
            return self._encode(waveform, draw)
        num_frames = waveform.shape[-1] // rate
        pieces = []
        for start, first, last in reference_chunks(num_frames, chunk, overlap):
            part = self._encode(waveform[..., start * rate : (start + chunk) * rate], draw)
            pieces.append(part[..., first - start : last - start])
        return torch.cat(pieces, dim=-1)

    def decode_as_reference(
        self,
        latents: Float[Tensor, "batch channel frame"],
        draw: Draw,
        chunk: int = REFERENCE_CHUNK,
        overlap: int = REFERENCE_OVERLAP,
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Decode as the published code does: in chunks that overlap, of so many frames, with noise."""
        if latents.shape[-1] < chunk:
            return self._decode(latents, draw)
        rate, pieces = self.samples_per_frame, []
        for start, first, last in reference_chunks(latents.shape[-1], chunk, overlap):
            part = self._decode(latents[..., start : start + chunk], draw)
            pieces.append(part[..., (first - start) * rate : (last - start) * rate])
        return torch.cat(pieces, dim=-1)

    def _encode(
        self, waveform: Float[Tensor, "batch channel sample"], draw: Draw | None
    ) -> Float[Tensor, "batch latent frame"]:
        whole = self.samples_per_frame * self.config.encoder.frame_group
        padded = F.pad(waveform, (0, -waveform.shape[-1] % whole))
        patches = padded.unflatten(-1, (-1, self.config.patch_size)).transpose(2, 3).flatten(1, 2)
        return self.bottleneck(self.encoder(patches, draw))

    def _decode(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw | None
    ) -> Float[Tensor, "batch audio_channel sample"]:
        patches = self.decoder(self.bottleneck.inverse(latents, draw), draw)
        folded = patches.unflatten(1, (self.config.channels, -1)).transpose(2, 3).flatten(2)
        return folded[..., : latents.shape[-1] * self.samples_per_frame]


def reference_chunks(num_frames: int, chunk: int, overlap: int) -> Iterator[tuple[int, int, int]]:
    """Yield where each chunk starts, and the first and the one after the last of its frames that are kept.

    The last chunk ends at the end; neighbors are cut in the middle of the overlap of the earlier one.
    """
    starts = list(range(0, num_frames - chunk + 1, chunk - overlap))
    if starts[-1] != num_frames - chunk:
        starts.append(num_frames - chunk)
    cuts = [0, *(start + overlap // 2 for start in starts[1:]), num_frames]
    yield from zip(starts, cuts[:-1], cuts[1:], strict=True)
