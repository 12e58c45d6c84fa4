"""The diffusers layout: a folder per component, each with its own config and weights.

It can express Stable Audio Open 1.0 and models of its shape (v objective, prepended global conditioning, one range for
both timing embedders); `write_diffusers` refuses the rest by naming what does not fit. Absent config keys mean what they
mean to diffusers, which is 1.0. Diffusers' own autoencoder class ties the encoder's width to twice the latent channels:
folders of other widths are written and read here all the same, but not by it.
"""

from pathlib import Path

from auralith.checkpoints.config_json import Json, Spec
from auralith.checkpoints.reading import Weights, read_json
from auralith.checkpoints.sections import Section
from auralith.checkpoints.shards import (
    component_files,
    find_component,
    read_component,
    variant_files,
)
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.text_encoder import (
    TextEncoderFolders,
    copy_text_encoder,
    tokenizer_limit,
)
from auralith.checkpoints.transform import (
    check_weights,
    completed,
    from_diffusers,
    published_weights,
    to_diffusers,
    with_old_weight_norm,
)
from auralith.checkpoints.writing import write_json, write_safetensors
from auralith.config import (
    AudioFormat,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    SamplingDefaults,
    TextCondition,
)
from auralith.errors import CheckpointError

INDEX_NAME = "model_index.json"
VERSION = "0.30.0.dev0"  # the version that the published folder names
STEM = "diffusion_pytorch_model"
TIMESTEP_FEATURES = 256
COMPONENTS = {
    "projection_model": ["stable_audio", "StableAudioProjectionModel"],
    "scheduler": ["diffusers", "CosineDPMSolverMultistepScheduler"],
    "text_encoder": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "StableAudioDiTModel"],
    "vae": ["diffusers", "AutoencoderOobleck"],
}
WEIGHTED = ("transformer", "vae", "projection_model")


class MissingVariant(CheckpointError, ValueError):
    """No component has files of the variant; a ValueError to programs written for diffusers."""


def read_diffusers_folder(folder: Path, source: str, variant: str | None = None) -> RawCheckpoint:
    """Read headers and configs of a folder with a `model_index.json`; components without the `variant` are read plain.

    Raises CheckpointError, and MissingVariant if no component has it.
    """
    if variant and not any(variant_files(folder / name, STEM, variant) for name in WEIGHTED):
        raise MissingVariant(
            f"You are trying to load the model files of the `variant={variant}`, but {source} has none; leave it out"
        )
    index = Section(read_json(folder / INDEX_NAME), f"{folder / INDEX_NAME}")
    index.require("_class_name", "StableAudioPipeline")
    spec = Spec.of(_read_config(folder))
    published = published_weights(spec)
    files: tuple[Path, ...] = ()
    weights: Weights = {}
    for component in WEIGHTED:
        path = find_component(folder / component, STEM, variant)
        found = {f"{component}.{name}": t for name, t in read_component(path).items()}
        weights |= with_old_weight_norm(found)
        files += (*component_files(path), folder / component / "config.json")
    check_weights(weights, to_diffusers(published, spec), folder)
    weights = completed(from_diffusers(weights, spec), spec, folder)
    return RawCheckpoint("diffusers", source, spec, weights, files, folder)


def _section(folder: Path, component: str, name: str = "config.json") -> Section:
    path = folder / component / name
    return Section(read_json(path), str(path))


def _read_config(folder: Path) -> ModelConfig:
    audio, autoencoder = _read_vae(_section(folder, "vae"))
    transformer = _section(folder, "transformer")
    projection = _section(folder, "projection_model")
    width = projection.integer("text_encoder_dim", 768)
    projection.require("conditioning_dim", width, 768)
    limits = (projection.number("min_value", 0), projection.number("max_value", 512))
    if not limits[0] < limits[1]:
        raise projection.error("max_value", "must be above min_value")
    dit = _read_dit(transformer, audio, width)
    return ModelConfig(
        audio=audio,
        window_samples=_window(transformer, audio),
        autoencoder=autoencoder,
        dit=dit,
        conditions=(
            TextCondition(max_tokens=tokenizer_limit(folder / "tokenizer", 128)),
            NumberCondition("seconds_start", *limits),
            NumberCondition("seconds_total", *limits),
        ),
        condition_dim=width,
        sampling=_read_sampling(folder),
    )


def _window(transformer: Section, audio: AudioFormat) -> int:
    """Samples of the window; `sample_size` is in frames and a float, in fine-tunes not always a whole one."""
    frames = transformer.number("sample_size", 1024)
    if not 1 <= frames <= 1e6:
        raise transformer.error("sample_size", f"must be from 1 to 1,000,000 frames, not {frames}")
    return int(frames * audio.samples_per_frame)


def _read_sampling(folder: Path) -> SamplingDefaults:
    published = SamplingDefaults()
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        return published
    scheduler = _section(folder, "scheduler", "scheduler_config.json")
    scheduler.require("prediction_type", "v_prediction", "v_prediction")
    return SamplingDefaults(
        sigma_min=scheduler.number("sigma_min", published.sigma_min),
        sigma_max=scheduler.number("sigma_max", published.sigma_max),
    )


def _read_vae(section: Section) -> tuple[AudioFormat, OobleckConfig]:
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
    if len(multiples) != len(config.strides) or any(stride % 2 for stride in config.strides):
        raise section.error(
            "downsampling_ratios", "must be even, one for each of channel_multiples"
        )
    audio = AudioFormat(
        section.integer("sampling_rate", 44_100),
        config.channels,
        config.latent_channels,
        config.samples_per_frame,
    )
    return audio, config


def _read_dit(section: Section, audio: AudioFormat, condition_dim: int) -> DiTConfig:
    heads, head_dim = (
        section.integer("num_attention_heads", 24),
        section.integer("attention_head_dim", 64),
    )
    latent_channels, embed_dim = section.integer("in_channels", 64), heads * head_dim
    context_width = section.integer("cross_attention_dim", 768)
    section.require("out_channels", audio.latent_channels, 64)
    section.require("in_channels", audio.latent_channels, 64)
    section.require("time_proj_dim", TIMESTEP_FEATURES, TIMESTEP_FEATURES)
    section.require("cross_attention_input_dim", condition_dim, 768)
    section.require("global_states_input_dim", 2 * condition_dim, 1536)
    if context_width not in (condition_dim, embed_dim) or context_width % head_dim or head_dim < 32:
        raise section.error("cross_attention_dim", f"must be {condition_dim} or {embed_dim}")
    section.require("num_key_value_attention_heads", context_width // head_dim, 12)
    if heads % (context_width // head_dim) or head_dim % 2:
        raise section.error("num_attention_heads", "must be a multiple of the key/value heads")
    return DiTConfig(
        latent_channels=latent_channels,
        embed_dim=embed_dim,
        depth=section.integer("num_layers", 24, maximum=512),
        num_heads=heads,
        context_dim=condition_dim,
        global_dim=2 * condition_dim,
        project_context=context_width != condition_dim,
    )


def require_expressible(spec: Spec) -> ModelConfig:
    """Raise a CheckpointError that says why a model has no diffusers form."""
    config, autoencoder = spec.model, spec.autoencoder
    if config is None:
        raise CheckpointError("an autoencoder alone has no diffusers form; use single-file")
    if not config.is_conditional:
        raise CheckpointError("an unconditional model has no diffusers form; use single-file")
    numbers = spec.numbers
    ids = (config.text.id, "seconds_start", "seconds_total")
    reasons = {
        f"objective {config.objective!r}": config.objective != "v",
        "LayerNorm on queries and keys": config.dit.qk_norm != "none",
        "adaLN conditioning": config.dit.global_conditioning != "prepend",
        "learned positions": config.dit.max_positions > 0,
        "an unprojected global embedding": not config.dit.project_global,
        "a spectral autoencoder": not isinstance(autoencoder, OobleckConfig),
        "input channels for inpainting": bool(config.input_ids),
        "a latent scale": config.latent_scale != 1.0,
        "a shift of timesteps": config.distribution_shift is not None,
        "conditioning other than text, seconds_start and seconds_total": (
            config.context_ids != ids or config.global_ids != ids[1:]
        ),
        "different ranges of the timing embedders": (
            len({(number.minimum, number.maximum) for number in numbers}) != 1
        ),
    }
    if isinstance(autoencoder, OobleckConfig):
        same = autoencoder.encoder_multiples == autoencoder.decoder_multiples
        reasons["different multiples of encoder and decoder"] = not same
        reasons["a final tanh"] = autoencoder.final_tanh or autoencoder.soft_clip
    for reason, applies in reasons.items():
        if applies:
            raise CheckpointError(f"a model with {reason} has no diffusers form; use single-file")
    return config


def write_diffusers(folder: Path, raw: RawCheckpoint, text_encoder: TextEncoderFolders) -> None:
    """Write the whole layout into `folder`, values bit for bit. Raises CheckpointError if the model has no such form."""
    config = require_expressible(raw.spec)
    weights = to_diffusers(raw.weights, raw.spec)
    for component in WEIGHTED:
        start = f"{component}."
        part = {n.removeprefix(start): t for n, t in weights.items() if n.startswith(start)}
        write_safetensors(folder / component / f"{STEM}.safetensors", part)
    for name, data in _config_files(config).items():
        write_json(folder / name, data)
    target = TextEncoderFolders(folder / "text_encoder", folder / "tokenizer")
    copy_text_encoder(text_encoder, target, config.text.max_tokens)


def _config_files(config: ModelConfig) -> dict[str, Json]:
    def head(component: str) -> Json:
        return {"_class_name": COMPONENTS[component][1], "_diffusers_version": VERSION}

    index = {"_class_name": "StableAudioPipeline", "_diffusers_version": VERSION} | COMPONENTS
    return {
        INDEX_NAME: index,
        "transformer/config.json": head("transformer") | _transformer_json(config),
        "vae/config.json": head("vae") | _vae_json(config),
        "projection_model/config.json": head("projection_model") | _projection_json(config),
        "scheduler/scheduler_config.json": head("scheduler") | _scheduler_json(config),
    }


def _transformer_json(config: ModelConfig) -> Json:
    dit = config.dit
    return {
        "attention_head_dim": dit.head_dim,
        "cross_attention_dim": dit.context_width,
        "cross_attention_input_dim": dit.context_dim,
        "global_states_input_dim": dit.global_dim,
        "in_channels": dit.latent_channels,
        "num_attention_heads": dit.num_heads,
        "num_key_value_attention_heads": dit.context_width // dit.head_dim,
        "num_layers": dit.depth,
        "out_channels": dit.latent_channels,
        "sample_size": config.window_samples / config.audio.samples_per_frame,
        "time_proj_dim": TIMESTEP_FEATURES,
    }


def _vae_json(config: ModelConfig) -> Json:
    autoencoder = config.autoencoder
    assert isinstance(autoencoder, OobleckConfig)  # as require_expressible has checked
    return {
        "audio_channels": autoencoder.channels,
        "channel_multiples": list(autoencoder.encoder_multiples),
        "decoder_channels": autoencoder.decoder_width,
        "decoder_input_channels": autoencoder.latent_channels,
        "downsampling_ratios": list(autoencoder.strides),
        "encoder_hidden_size": autoencoder.encoder_width,
        "sampling_rate": config.audio.sample_rate,
    }


def _projection_json(config: ModelConfig) -> Json:
    number = next(c for c in config.conditions if isinstance(c, NumberCondition))
    return {
        "conditioning_dim": config.condition_dim,
        "max_value": number.maximum,
        "min_value": number.minimum,
        "text_encoder_dim": config.condition_dim,
    }


def _scheduler_json(config: ModelConfig) -> Json:
    return {
        "euler_at_final": False,
        "final_sigmas_type": "zero",
        "lower_order_final": True,
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "rho": 7.0,
        "sigma_data": 1.0,
        "sigma_max": config.sampling.sigma_max,
        "sigma_min": config.sampling.sigma_min,
        "sigma_schedule": "exponential",
        "solver_order": 2,
        "solver_type": "midpoint",
    }
