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
from auralith.network_config import (
    DiTConfig,
    MemoryDiTConfig,
    OobleckConfig,
    SameConfig,
    SpectralConfig,
)


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
class TextCondition:
    """A text encoder: `encoder` is its name on the Hub, "" if the config names none; `max_tokens` its limit, end token
    included."""

    id: str = "prompt"
    encoder: str = "t5-base"
    max_tokens: int = 128
    projected_from: int | None = None
    """Width of the encoder's states if a linear layer brings them to the width of the conditions; None: no layer."""
    kind: Literal["t5", "t5gemma"] = "t5"
    subfolder: str | None = None
    """Folder of the encoder beside the model's file, or in the encoder's repository; None: the usual one of its kind."""

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
TransformerConfig = DiTConfig | MemoryDiTConfig
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
    default_seconds: float = 0.0
    """Length of a sound where a request asks for none; 0: the window."""
    window: Window = "full"
    room_frames: int = 6
    """Frames that a fitted window has behind the sound: models are trained on sounds with some silence behind them, and
    without any a sound ends too early."""
    headroom: float = 0.0
    """Seconds behind the sound that every fitted window has, counted in whole frames: also one that an edit leads."""
    frame_multiple: int = 1
    """In the reference's order of noise, a window has a multiple of so many frames, of which the sound and its headroom
    are marked as valid."""
    schedule: str = ""
    """Course of the noise levels; "": the sampler's own."""
    apg_eta: float = 1.0
    """Share of guidance's parallel part that stays: 1 is plain guidance."""
    clamp: bool = False
    """Samples beyond full scale are cut off, unless the peak is brought to full scale as a request may ask."""


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
    dit: TransformerConfig = DiTConfig()
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
    shifts_by_sound: bool = False
    """The shift of training is that of the sound's length, not of the window's."""
    masks_padding: bool = False
    """Trained on sounds of their own lengths: what lies behind a sound in a batch is attended to by none."""
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
    def headroom_frames(self) -> int:
        """Latent frames behind a sound that every fitted window has."""
        return int(self.sampling.headroom * self.audio.frame_rate)

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
