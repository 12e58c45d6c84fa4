"""The configs of a diffusers folder, one JSON object per component, both ways.

Absent keys mean what they mean to diffusers, which is 1.0. Keys that begin with an underscore are diffusers' notes about
the file; any other key that is not known is refused by name.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from auralith.config import (
    AudioFormat,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    SamplingDefaults,
    TextCondition,
)
from auralith.families.family import DiffusersForm
from auralith.families.sections import Section
from auralith.families.stable_audio_1.conditions import T5_WIDTHS
from auralith.foreign import Json

PUBLISHED = DiTConfig()
SCHEDULER_CLASS = "CosineDPMSolverMultistepScheduler"
COMPONENTS = {
    "projection_model": ("stable_audio", "StableAudioProjectionModel"),
    "scheduler": ("diffusers", SCHEDULER_CLASS),
    "text_encoder": ("transformers", "T5EncoderModel"),
    "tokenizer": ("transformers", "T5TokenizerFast"),
    "transformer": ("diffusers", "StableAudioDiTModel"),
    "vae": ("diffusers", "AutoencoderOobleck"),
}
# keys of the scheduler that only diffusers' own sampling follows, with their published values
SOLVER = {
    "euler_at_final": False,
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "rho": 7.0,
    "sigma_schedule": "exponential",
    "solver_order": 2,
    "solver_type": "midpoint",
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ProjectionConfig:
    """Widths of text and conditions, and the range in seconds of both number embedders."""

    text_dim: int = 768
    dim: int = 768
    minimum: float = 0.0
    maximum: float = 512.0

    @property
    def projected_from(self) -> int | None:
        """Width that text is projected from; None if it has that of the conditions already."""
        return None if self.text_dim == self.dim else self.text_dim

    @property
    def numbers(self) -> tuple[NumberCondition, NumberCondition]:
        start, total = (
            NumberCondition(name, self.minimum, self.maximum)
            for name in ("seconds_start", "seconds_total")
        )
        return start, total


def read_transformer(section: Section) -> tuple[DiTConfig, float]:
    """The transformer, and its window in frames: a float, in fine-tunes not always a whole one."""
    heads, head_dim = (
        section.integer("num_attention_heads", PUBLISHED.num_heads),
        section.integer("attention_head_dim", PUBLISHED.head_dim),
    )
    channels, embed_dim = section.integer("out_channels", 64), heads * head_dim
    extra_channels = section.integer("in_channels", 64) - channels
    if extra_channels < 0:
        raise section.error("out_channels", "must not be above in_channels")
    features = section.integer("time_proj_dim", 2 * PUBLISHED.timestep_frequencies)
    if head_dim % 4 or features % 2:
        key = "attention_head_dim" if head_dim % 4 else "time_proj_dim"
        raise section.error(key, f"must be divisible by {4 if head_dim % 4 else 2}")
    context_heads = section.integer("num_key_value_attention_heads", 12)
    if heads % context_heads:
        raise section.error("num_attention_heads", "must be a multiple of the key/value heads")
    context_dim = section.integer("cross_attention_input_dim", 768)
    width = section.integer("cross_attention_dim", 768)
    config = DiTConfig(
        latent_channels=channels,
        embed_dim=embed_dim,
        depth=section.integer("num_layers", PUBLISHED.depth, maximum=512),
        num_heads=heads,
        context_dim=context_dim,
        global_dim=section.integer("global_states_input_dim", PUBLISHED.global_dim),
        project_context=width == embed_dim != context_dim,
        timestep_frequencies=features // 2,
        projected_context_dim=None if width in (context_dim, embed_dim) else width,
        context_heads=None if context_heads * head_dim == width else context_heads,
        rotated_dim=head_dim // 2 if head_dim < 64 else None,
        extra_channels=extra_channels,
    )
    frames = section.number("sample_size", 1024)
    if not 1 <= frames <= 1e6:
        raise section.error("sample_size", f"must be from 1 to 1,000,000 frames, not {frames}")
    _finish(section)
    return config, frames


def transformer_json(dit: DiTConfig, frames: float) -> Json:
    return {
        "attention_head_dim": dit.head_dim,
        "cross_attention_dim": dit.context_width,
        "cross_attention_input_dim": dit.context_dim,
        "global_states_input_dim": dit.global_dim,
        "in_channels": dit.latent_channels + dit.extra_channels,
        "num_attention_heads": dit.num_heads,
        "num_key_value_attention_heads": dit.num_context_heads,
        "num_layers": dit.depth,
        "out_channels": dit.latent_channels,
        "sample_size": frames,
        "time_proj_dim": 2 * dit.timestep_frequencies,
    }


def read_vae(section: Section) -> tuple[AudioFormat, OobleckConfig]:
    published = OobleckConfig()
    multiples = section.integers("channel_multiples", published.encoder_multiples)
    config = OobleckConfig(
        channels=section.integer("audio_channels", 2),
        latent_channels=section.integer("decoder_input_channels", 64),
        strides=section.integers("downsampling_ratios", published.strides),
        encoder_width=section.integer("encoder_hidden_size", 128),
        encoder_multiples=multiples,
        decoder_width=section.integer("decoder_channels", 128),
        decoder_multiples=multiples,
    )
    if len(multiples) != len(config.strides):
        raise section.error("downsampling_ratios", "must be one for each of channel_multiples")
    audio = AudioFormat(
        section.integer("sampling_rate", 44_100),
        config.channels,
        config.latent_channels,
        config.samples_per_frame,
    )
    _finish(section)
    return audio, config


def vae_json(audio: AudioFormat, config: OobleckConfig) -> Json:
    return {
        "audio_channels": config.channels,
        "channel_multiples": list(config.encoder_multiples),
        "decoder_channels": config.decoder_width,
        "decoder_input_channels": config.latent_channels,
        "downsampling_ratios": list(config.strides),
        "encoder_hidden_size": config.encoder_width,
        "sampling_rate": audio.sample_rate,
    }


def read_projection(section: Section) -> ProjectionConfig:
    config = ProjectionConfig(
        text_dim=section.integer("text_encoder_dim", 768),
        dim=section.integer("conditioning_dim", 768),
        minimum=section.number("min_value", 0),
        maximum=section.number("max_value", 512),
    )
    if not config.minimum < config.maximum:
        raise section.error("max_value", "must be above min_value")
    _finish(section)
    return config


def projection_json(config: ProjectionConfig) -> Json:
    return {
        "conditioning_dim": config.dim,
        "max_value": config.maximum,
        "min_value": config.minimum,
        "text_encoder_dim": config.text_dim,
    }


def read_scheduler(section: Section) -> SamplingDefaults:
    """The range of noise levels. What else differs from the published scheduler is named in a warning."""
    published = SamplingDefaults()
    section.expect("_class_name", SCHEDULER_CLASS, SCHEDULER_CLASS)
    section.expect("prediction_type", "v_prediction", "v_prediction")
    section.expect("final_sigmas_type", "zero", "zero")
    section.expect("sigma_data", 1.0, 1.0)
    for key, value in SOLVER.items():
        if section.value(key, value) != value:
            log.warning(
                "%s.%s is %.80r; only the pipeline under diffusers' names follows it, "
                "elsewhere choose a sampler and its schedule",
                section.path,
                key,
                section.value(key),
            )
    sampling = SamplingDefaults(
        sigma_min=section.number("sigma_min", published.sigma_min),
        sigma_max=section.number("sigma_max", published.sigma_max),
    )
    if not 0 < sampling.sigma_min < sampling.sigma_max:
        raise section.error("sigma_max", "must be above sigma_min, and that above 0")
    _finish(section)
    return sampling


def scheduler_json(sampling: SamplingDefaults) -> Json:
    return {
        **SOLVER,
        "final_sigmas_type": "zero",
        "prediction_type": "v_prediction",
        "sigma_data": 1.0,
        "sigma_max": sampling.sigma_max,
        "sigma_min": sampling.sigma_min,
    }


def _finish(section: Section) -> None:
    section.ignore(*(key for key in section.data if key.startswith("_")))
    section.finish()


def _read(component: Callable[[str], Section | None], max_tokens: int) -> ModelConfig:
    vae, transformer, projector = map(component, ("vae", "transformer", "projection_model"))
    assert vae is not None and transformer is not None and projector is not None
    audio, autoencoder = read_vae(vae)
    dit, frames = read_transformer(transformer)
    projection = read_projection(projector)
    for key in ("in_channels", "out_channels"):
        transformer.expect(key, audio.latent_channels, 64)
    transformer.expect("cross_attention_input_dim", projection.dim, 768)
    transformer.expect("global_states_input_dim", 2 * projection.dim, 1536)
    if any(stride % 2 for stride in autoencoder.strides):
        raise vae.error("downsampling_ratios", "must be even")
    scheduler = component("scheduler")
    text = TextCondition(
        encoder=_encoder_name(projection.text_dim),
        max_tokens=max_tokens,
        projected_from=projection.projected_from,
    )
    return ModelConfig(
        audio=audio,
        window_samples=int(frames * audio.samples_per_frame),
        autoencoder=autoencoder,
        dit=dit,
        conditions=(text, *projection.numbers),
        condition_dim=projection.dim,
        sampling=SamplingDefaults() if scheduler is None else read_scheduler(scheduler),
    )


def _encoder_name(width: int) -> str:
    """The first T5 of that width, as the folder itself names none; published models have the base one."""
    return next((name for name, dim in T5_WIDTHS.items() if dim == width), TextCondition.encoder)


def _refusals(config: ModelConfig) -> list[str]:
    autoencoder, dit, numbers = config.autoencoder, config.dit, config.numbers
    assert isinstance(autoencoder, OobleckConfig) and isinstance(dit, DiTConfig)  # the family's
    ids = (config.text.id, "seconds_start", "seconds_total")
    reasons = {
        f"objective {config.objective!r}": config.objective != "v",
        "LayerNorm on queries and keys": dit.qk_norm != "none",
        "adaLN conditioning": dit.global_conditioning != "prepend",
        "learned positions": dit.max_positions > 0,
        "an unprojected global embedding": not dit.project_global,
        "input channels for inpainting": bool(config.input_ids),
        "a latent scale": config.latent_scale != 1.0,
        "a shift of timesteps": config.distribution_shift is not None,
        "conditioning other than text, seconds_start and seconds_total": (
            config.context_ids != ids or config.global_ids != ids[1:]
        ),
        "different ranges of the timing embedders": (
            len({(number.minimum, number.maximum) for number in numbers}) != 1
        ),
        f"rotary positions in {dit.rotary_dim} of {dit.head_dim} dimensions": (
            2 * dit.rotary_dim != dit.head_dim
        ),
        f"norms with an epsilon of {dit.norm_eps}": dit.norm_eps != 1e-5,
        "a text projection between equal widths": (
            config.text.projected_from == config.condition_dim
        ),
        "different multiples of encoder and decoder": (
            autoencoder.encoder_multiples != autoencoder.decoder_multiples
        ),
        "a final tanh": autoencoder.final_tanh or autoencoder.soft_clip,
    }
    return [reason for reason, applies in reasons.items() if applies]


def _to_json(config: ModelConfig) -> dict[str, Json]:
    autoencoder, dit, number = config.autoencoder, config.dit, config.numbers[0]
    assert isinstance(autoencoder, OobleckConfig) and isinstance(dit, DiTConfig)  # the family's
    projection = ProjectionConfig(
        config.text_width, config.condition_dim, number.minimum, number.maximum
    )
    frames = config.window_samples / config.audio.samples_per_frame
    return {
        "transformer": transformer_json(dit, frames),
        "vae": vae_json(config.audio, autoencoder),
        "projection_model": projection_json(projection),
        "scheduler": scheduler_json(config.sampling),
    }


DIFFUSERS = DiffusersForm(
    pipeline="StableAudioPipeline",
    components=COMPONENTS,
    weighted=("transformer", "vae", "projection_model"),
    read=_read,
    to_json=_to_json,
    refusals=_refusals,
)
