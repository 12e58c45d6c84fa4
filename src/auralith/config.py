"""Configs of models, as frozen dataclasses whose defaults are Stable Audio Open 1.0.

Nothing here touches tensors or files. `AudioFormat` is the only place that converts between seconds, samples and
latent frames; `SamplingDefaults` the only place that states the published way to sample. Foreign spellings of these
values (`model_config.json`, diffusers' `config.json`) are translated in `auralith.checkpoints`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Literal

from auralith.errors import Field, InvalidRequest


@dataclass(frozen=True)
class AudioFormat:
    """Sample rate, channels, and how waveform samples relate to latent frames."""

    sample_rate: int = 44_100
    channels: int = 2
    latent_channels: int = 64
    samples_per_frame: int = 2_048

    @property
    def frame_rate(self) -> float:
        """Latent frames per second (21.53 Hz at the published values)."""
        return self.sample_rate / self.samples_per_frame

    def num_samples(self, seconds: float) -> int:
        """Samples of a duration, rounded to the nearest sample."""
        return round(seconds * self.sample_rate)

    def num_frames(self, num_samples: int) -> int:
        """Latent frames needed to cover `num_samples`."""
        return math.ceil(num_samples / self.samples_per_frame)

    def seconds(self, num_samples: int) -> float:
        return num_samples / self.sample_rate


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
    latent_channels: int = 64
    sample_rate: int = 44_100
    window_size: int = 3_072
    hop: int = 512
    hops_per_frame: int = 4
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
    def global_width(self) -> int:
        return self.embed_dim if self.project_global else self.global_dim

    @property
    def head_dim(self) -> int:
        return self.embed_dim // self.num_heads


@dataclass(frozen=True)
class TextCondition:
    """A text encoder: `encoder` is the T5 model's name; `max_tokens` its limit, end token included."""

    id: str = "prompt"
    encoder: str = "t5-base"
    max_tokens: int = 128
    projected_from: int | None = None
    """Width of the encoder's states if a linear layer brings them to the width of the conditions; None: no layer."""
    kind: Literal["t5"] = "t5"

    def projecting(self, source: int, width: int) -> "TextCondition":
        """Return the condition for states `source` wide among conditions `width` wide.

        A config tells the width only by the name of a published encoder. Text of the conditions' own width is projected
        only if the config asks for that layer explicitly.
        """
        explicit = self.projected_from == width
        return replace(self, projected_from=source if source != width or explicit else None)


NumberKind = Literal["number", "int"]


@dataclass(frozen=True)
class NumberCondition:
    """A number embedder; values outside [minimum, maximum] are clamped, as in the reference.

    Kind "number" embeds any value of the range by Fourier features, "int" whole values by a table.
    """

    id: str
    minimum: float = 0.0
    maximum: float = 512.0
    kind: NumberKind = "number"

    def checked(self, value: object) -> float:
        """Return a value that a person gave for this condition as a number.

        Raises:
            InvalidRequest: it is missing, not a number, not finite, outside the range, or not whole where it must be.
        """
        wanted = "a whole number" if self.kind == "int" else "a number"
        remedy = f"give {wanted} from {self.minimum:g} to {self.maximum:g}"
        if value is None:
            raise InvalidRequest(Field("condition"), f" {self.id!r} is missing; {remedy}")
        if isinstance(value, bool) or not isinstance(value, Real):
            raise InvalidRequest(
                Field("condition"), f" {self.id!r} is {value!r:.80}, not a number; {remedy}"
            )
        number = float(value)
        whole = self.kind == "number" or number.is_integer()
        if not (self.minimum <= number <= self.maximum and whole):  # NaN fails, too
            raise InvalidRequest(Field("condition"), f" {self.id!r} is {number:g}; {remedy}")
        return number


@dataclass(frozen=True)
class DistributionShift:
    """Moves timesteps toward noise by a length-dependent amount (Esser et al. 2024, section 5.3.2).

    The amount m grows linearly from `base_shift` at `min_length` latent frames to `max_shift` at `max_length`; shorter
    and longer latents count as these. The defaults are the reference's; `use_sine` then maps t to sin(pi t / 2).
    """

    base_shift: float = 0.5
    max_shift: float = 1.15
    min_length: float = 256.0
    max_length: float = 4_096.0
    use_sine: bool = False

    def amount(self, num_frames: int) -> float:
        """Return m for latents of this many frames."""
        length = min(max(num_frames, self.min_length), self.max_length)
        share = (length - self.min_length) / (self.max_length - self.min_length)
        return self.base_shift + (self.max_shift - self.base_shift) * share


INPAINT_INPUTS = ("inpaint_mask", "inpaint_masked_input")
"""Inputs of a model trained for inpainting, as channels beside the latents: 1 where kept, and the latents kept there."""

Condition = TextCondition | NumberCondition
SECONDS_IDS = ("seconds_start", "seconds_total")
"""Number conditions whose values are those of the sound itself; all others are given by their id."""
AutoencoderConfig = OobleckConfig | SpectralConfig | SameConfig
Window = Literal["full", "fit"]
ObjectiveName = Literal["v", "rectified_flow", "rf_denoiser"]


@dataclass(frozen=True)
class SamplingDefaults:
    """Settings of sampling; the defaults are the published model's (model card, first usage)."""

    steps: int = 100
    cfg_scale: float = 7.0
    sampler: str = "dpmpp-3m-sde"
    sigma_min: float = 0.3
    sigma_max: float = 500.0
    window: Window = "full"
    room_frames: int = 6
    """Frames that a fitted window has behind the sound: models are trained on sounds with some silence behind them, and
    without any a sound ends too early."""


FLOW_SAMPLING = SamplingDefaults(steps=50, sampler="euler", sigma_min=0.0, sigma_max=1.0)
DISTILLED_SAMPLING = SamplingDefaults(
    steps=8, cfg_scale=1.0, sampler="pingpong", sigma_min=0.0, sigma_max=1.0
)


@dataclass(frozen=True)
class ModelConfig:
    """Everything needed to build and drive a model; the defaults are Stable Audio Open 1.0."""

    audio: AudioFormat = AudioFormat()
    window_samples: int = 2_097_152
    autoencoder: AutoencoderConfig = OobleckConfig()
    latent_scale: float = 1.0
    dit: DiTConfig = DiTConfig()
    objective: ObjectiveName = "v"
    conditions: tuple[Condition, ...] = (
        TextCondition(),
        NumberCondition("seconds_start"),
        NumberCondition("seconds_total"),
    )
    condition_dim: int = 768
    context_ids: tuple[str, ...] = ("prompt", "seconds_start", "seconds_total")
    global_ids: tuple[str, ...] = ("seconds_start", "seconds_total")
    distribution_shift: DistributionShift | None = None
    """Shifts the timesteps of training and of the sampler rk4."""
    input_ids: tuple[str, ...] = ()
    """Those of `INPAINT_INPUTS` that are input channels, in their order; empty without training for inpainting."""
    default_keys: tuple[tuple[str, str], ...] = ()
    """(condition, other condition): the one to read in a program's metadata where the first is missing."""
    sampling: SamplingDefaults = field(default_factory=SamplingDefaults)

    @property
    def window_frames(self) -> int:
        """Latent frames of the trained window (1024 = 47.55 s at the published values)."""
        return self.window_samples // self.audio.samples_per_frame

    @property
    def is_conditional(self) -> bool:
        """Return whether the model takes a prompt; an unconditional model takes neither a prompt nor numbers."""
        return bool(self.conditions)

    @property
    def text(self) -> TextCondition:
        """The text condition; a conditional model has exactly one."""
        return next(c for c in self.conditions if isinstance(c, TextCondition))

    @property
    def numbers(self) -> tuple[NumberCondition, ...]:
        """The number conditions, in their order."""
        return tuple(c for c in self.conditions if isinstance(c, NumberCondition))

    @property
    def given_numbers(self) -> tuple[NumberCondition, ...]:
        """The number conditions that a request or a recording gives by their id, in their order."""
        return tuple(c for c in self.numbers if c.id not in SECONDS_IDS)

    @property
    def extra_channels(self) -> int:
        """Input channels that `input_ids` take beside the latents."""
        widths = {"inpaint_mask": 1, "inpaint_masked_input": self.audio.latent_channels}
        return sum(widths[name] for name in self.input_ids)

    def checked_conditions(self, values: Mapping[str, object]) -> dict[str, float]:
        """Return the values of `given_numbers` by id.

        Raises:
            InvalidRequest: a value is missing, out of its range, or for a condition that the model does not have.
        """
        known = {condition.id: condition for condition in self.given_numbers}
        for name in values:
            if name not in known:
                ids = ", ".join(known) or "none but the prompt and its seconds"
                raise InvalidRequest(
                    "unknown ", Field("condition"), f" {name!r:.80}; this model takes {ids}"
                )
        return {name: condition.checked(values.get(name)) for name, condition in known.items()}

    @property
    def text_width(self) -> int:
        """Width of the text encoder's states."""
        return self.text.projected_from or self.condition_dim

    def with_text_of(self, width: int) -> "ModelConfig":
        """Return the model for a text encoder of this width (`TextCondition.projecting`)."""
        text = self.text.projecting(width, self.condition_dim)
        return replace(
            self, conditions=tuple(text if c.id == text.id else c for c in self.conditions)
        )
