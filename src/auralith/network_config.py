"""Configs of networks: frozen dataclasses of their sizes, with published models as defaults."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class OobleckConfig:
    """The convolutional VAE on the waveform. Encoder and decoder may differ in width and multiples."""

    channels: int = 2
    latent_channels: int = 64
    strides: tuple[int, ...] = (2, 4, 4, 8, 8)
    encoder_width: int = 128
    encoder_multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    decoder_width: int = 128
    decoder_multiples: tuple[int, ...] = (1, 2, 4, 8, 16)
    final_tanh: bool = False
    soft_clip: bool = False
    """Bound the decoder's output by a tanh, after that of `final_tanh` where both are on."""

    @property
    def sample_rate(self) -> None:
        """The network is the same at any rate."""

    @property
    def samples_per_frame(self) -> int:
        return math.prod(self.strides)


@dataclass(frozen=True)
class SpectralConfig:
    """The ConvNeXt VAE on a warped log-magnitude spectrogram: small enough to train on two CPU cores."""

    channels: int = 2
    latent_channels: int = 72
    sample_rate: int = 44_100
    window_size: int = 3_072
    hop: int = 512
    hops_per_frame: int = 4
    stereo_bands: int = 4
    """Broad bands whose width and balance are latent channels of their own, after those that are learned."""
    bands: int = 256
    linear_bins: int = 104
    band_patch: int = 4
    band_merge: int = 4
    fine_width: int = 96
    coarse_width: int = 224
    fine_blocks: int = 4
    coarse_blocks: int = 6
    expansion: int = 2
    phase_iterations: int = 12

    @property
    def learned_channels(self) -> int:
        return self.latent_channels - 2 * self.stereo_bands

    @property
    def samples_per_frame(self) -> int:
        return self.hop * self.hops_per_frame


@dataclass(frozen=True)
class SameNetworkConfig:
    """Encoder or decoder of SAME; the defaults are those of SAME-S."""

    width: int = 768
    depth: int = 6
    head_dim: int = 64
    attention: Literal["chunks", "band"] = "chunks"
    """"chunks": all rows of some frames see each other, and halfway through the blocks the chunks shift by half their
    length; "band": a row sees so many frames' rows on both sides."""
    chunk_frames: int = 2
    """Frames of a chunk, an even number."""
    window_frames: int = 1
    """Frames on each side that a row sees in a band."""
    sine_blocks: int = 0
    """One more than the number of blocks, counted from the last, whose gate is a sine."""
    kernel_size: int = 1
    """Width of the convolution between patches and rows: 1 or 3."""
    token_noise: float = 0.0
    """Noise that the published code adds to the learned tokens."""

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that rotary positions turn."""
        return self.head_dim // 2

    @property
    def frame_group(self) -> int:
        """Frames that are computed together."""
        return self.chunk_frames if self.attention == "chunks" else 1

    @property
    def reach(self) -> int:
        """Frames on each side that a frame depends on by attention, up to whole groups."""
        if self.attention == "chunks":
            return self.chunk_frames
        return self.depth * self.window_frames


@dataclass(frozen=True)
class SameConfig:
    """SAME, the transformer autoencoder of Stable Audio 3; the defaults are SAME-S."""

    channels: int = 2
    latent_channels: int = 256
    patch_size: int = 256
    """Samples that are folded into one row."""
    stride: int = 16
    """Rows of a latent frame."""
    encoder: SameNetworkConfig = SameNetworkConfig()
    decoder: SameNetworkConfig = SameNetworkConfig(kernel_size=3, token_noise=0.01)

    @property
    def sample_rate(self) -> None:
        """The network is the same at any rate."""

    @property
    def samples_per_frame(self) -> int:
        return self.patch_size * self.stride

    @property
    def patch_width(self) -> int:
        """Features of a row of folded samples."""
        return self.channels * self.patch_size


@dataclass(frozen=True)
class DiTConfig:
    """The diffusion transformer. Widths are in features, `depth` in blocks."""

    latent_channels: int = 64
    embed_dim: int = 1_536
    depth: int = 24
    num_heads: int = 24
    context_dim: int = 768
    """0: no cross-attention."""
    global_dim: int = 1_536
    """0: the timestep alone is global."""
    project_context: bool = False
    project_global: bool = True
    qk_norm: Literal["none", "ln"] = "none"
    global_conditioning: Literal["prepend", "adaln"] = "prepend"
    max_positions: int = 0
    """Learned absolute positions are added to the sequence when this is above zero."""
    extra_channels: int = 0
    """Input channels beside the noisy latents, such as those of an inpainting mask."""
    norm_bias: bool = False
    """The LayerNorms of the blocks have a trained bias beside their scale."""
    norm_eps: float = 1e-5
    timestep_frequencies: int = 128
    projected_context_dim: int | None = None
    """Width of the context after its projection; None: `embed_dim` or, without `project_context`, `context_dim`."""
    context_heads: int | None = None
    """Key/value heads of the cross-attention; None: as many as fit into the projected context."""
    rotated_dim: int | None = None
    """Dimensions of a head that rotary positions turn; None: half of them, at least 32."""

    @property
    def context_width(self) -> int:
        """Width of the context after its projection."""
        if self.projected_context_dim is not None:
            return self.projected_context_dim
        return self.embed_dim if self.project_context else self.context_dim

    @property
    def num_context_heads(self) -> int:
        """Key/value heads of the cross-attention; each is as wide as a head of the queries."""
        if self.context_heads is not None:
            return self.context_heads
        return self.context_width // self.head_dim

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that rotary positions turn."""
        return max(self.head_dim // 2, 32) if self.rotated_dim is None else self.rotated_dim

    @property
    def is_modulated(self) -> bool:
        """Return whether the global vector modulates the blocks' norms (adaLN)."""
        return self.global_conditioning == "adaln"

    @property
    def normalizes_heads(self) -> bool:
        """Return whether queries and keys are normalized."""
        return self.qk_norm != "none"

    @property
    def extra_positions(self) -> int:
        """Rows of the sequence before those of the latents."""
        return int(self.global_conditioning == "prepend")

    @property
    def global_width(self) -> int:
        return self.embed_dim if self.project_global else self.global_dim

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads


@dataclass(frozen=True)
class MemoryDiTConfig:
    """The diffusion transformer with memory tokens; the defaults are Stable Audio 3 medium's."""

    latent_channels: int = 256
    embed_dim: int = 1_536
    depth: int = 24
    num_heads: int = 24
    context_dim: int = 768
    global_dim: int = 768
    extra_channels: int = 257
    """Channels of the local condition: an inpainting mask, and the latents that it keeps."""
    num_memory_tokens: int = 64
    differential: bool = True
    hidden_multiple: float = 4.0
    """Width of the feed-forward layers' hidden part, in widths of the transformer."""
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that rotary positions turn."""
        return max(self.head_dim // 2, 32)

    @property
    def max_positions(self) -> int:
        """Positions that have learned embeddings; 0: none, so that a sequence may be of any length."""
        return 0

    @property
    def extra_positions(self) -> int:
        """Rows of the sequence before those of the latents."""
        return self.num_memory_tokens

    @property
    def hidden_dim(self) -> int:
        return int(self.embed_dim * self.hidden_multiple)
