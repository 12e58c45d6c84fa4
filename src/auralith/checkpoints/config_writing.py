"""`ModelConfig` → `model_config.json`: what `config_json` reads, written."""

from dataclasses import asdict, replace

from auralith.checkpoints.config_json import (
    Json,
    Spec,
    sampling_for,
)
from auralith.config import (
    AutoencoderConfig,
    Condition,
    DistributionShift,
    DiTConfig,
    ModelConfig,
    SpectralConfig,
    TextCondition,
)
from auralith.errors import CheckpointError


def require_single_file(config: DiTConfig) -> None:
    """Raise a CheckpointError that says why `model_config.json` can't describe a transformer."""
    plain = replace(
        config,
        timestep_frequencies=DiTConfig.timestep_frequencies,
        projected_context_dim=None,
        context_heads=None,
        rotated_dim=None,
    )
    reasons = {
        f"{config.timestep_frequencies} frequencies of the timestep": (
            config.timestep_frequencies != plain.timestep_frequencies
        ),
        f"a context projected to {config.context_width}": (
            config.context_width != plain.context_width
        ),
        f"{config.num_context_heads} key/value heads": (
            config.num_context_heads != plain.num_context_heads
        ),
        f"rotary positions in {config.rotary_dim} dimensions of a head": (
            config.rotary_dim != plain.rotary_dim
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise CheckpointError(
                f"a model with {reason} has no single-file form; keep it in the diffusers layout"
            )


def spec_to_json(spec: Spec) -> Json:
    """The published form of a config; `spec_from_json` reads it back unchanged."""
    audio, autoencoder = spec.audio, _autoencoder_json(spec.autoencoder)
    head = {"sample_rate": audio.sample_rate, "audio_channels": audio.channels}
    config = spec.model
    if config is None:
        return {"model_type": "autoencoder", **head, "model": autoencoder}
    pretransform: Json = {"type": "autoencoder", "iterate_batch": True, "config": autoencoder}
    if config.latent_scale != 1.0:
        pretransform["scale"] = config.latent_scale
    if not config.is_conditional:
        dit = _dit_json(config.dit) | {"diffusion_objective": config.objective}
        model = {"type": "dit", "config": dit, "pretransform": pretransform}
        return {
            "model_type": "diffusion_uncond",
            "sample_size": config.window_samples,
            **head,
            "model": model,
        }
    conditioning: Json = {
        "configs": [_condition_json(condition) for condition in config.conditions],
        "cond_dim": config.condition_dim,
    }
    if config.default_keys:
        conditioning["default_keys"] = dict(config.default_keys)
    diffusion: Json = {
        "cross_attention_cond_ids": list(config.context_ids),
        "global_cond_ids": list(config.global_ids),
        "type": "dit",
        "diffusion_objective": config.objective,
        "config": _dit_json(config.dit),
    }
    if config.distribution_shift is not None:
        diffusion["distribution_shift_options"] = _shift_json(config.distribution_shift)
    kind = "diffusion_cond"
    if config.input_ids:
        kind = "diffusion_cond_inpaint"
        diffusion["input_concat_ids"] = list(config.input_ids)
    data: Json = {"model_type": kind, "sample_size": config.window_samples, **head}
    data["model"] = {
        "pretransform": pretransform,
        "conditioning": conditioning,
        "diffusion": diffusion,
        "io_channels": audio.latent_channels,
    }
    if config.sampling != sampling_for(config.objective):
        data["auralith"] = {"sampling": asdict(config.sampling)}
    return data


def _shift_json(shift: DistributionShift) -> Json:
    values = asdict(shift)
    for name in ("min_length", "max_length"):
        if float(values[name]).is_integer():
            values[name] = int(values[name])
    return values


def config_to_json(config: ModelConfig) -> Json:
    """The published form of a whole model's config."""
    return spec_to_json(Spec.of(config))


def _autoencoder_json(config: AutoencoderConfig) -> Json:
    if isinstance(config, SpectralConfig):
        return {"type": "spectral", "config": asdict(config)}
    strides = list(config.strides)
    encoder = {
        "in_channels": config.channels,
        "channels": config.encoder_width,
        "c_mults": list(config.encoder_multiples),
        "strides": strides,
        "latent_dim": 2 * config.latent_channels,
        "use_snake": True,
    }
    decoder = {
        "out_channels": config.channels,
        "channels": config.decoder_width,
        "c_mults": list(config.decoder_multiples),
        "strides": strides,
        "latent_dim": config.latent_channels,
        "use_snake": True,
        "final_tanh": config.final_tanh,
    }
    return {
        "encoder": {"type": "oobleck", "config": encoder},
        "decoder": {
            "type": "oobleck",
            "config": decoder,
            **({"soft_clip": True} if config.soft_clip else {}),
        },
        "bottleneck": {"type": "vae"},
        "latent_dim": config.latent_channels,
        "downsampling_ratio": config.samples_per_frame,
        "io_channels": config.channels,
    }


def _condition_json(condition: Condition) -> Json:
    if isinstance(condition, TextCondition):
        kind = "t5"
        config: Json = {"t5_model_name": condition.encoder, "max_length": condition.max_tokens}
        if condition.projected_from is not None:
            config["project_out"] = True
    else:
        kind = condition.kind
        config = {"min_val": condition.minimum, "max_val": condition.maximum}
        if kind == "int":
            config = {name: int(value) for name, value in config.items()}
    return {"id": condition.id, "type": kind, "config": config}


def _dit_json(config: DiTConfig) -> Json:
    require_single_file(config)
    data: Json = {
        "io_channels": config.latent_channels,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "cond_token_dim": config.context_dim,
        "global_cond_dim": config.global_dim,
        "project_cond_tokens": config.project_context,
        "project_global_cond": config.project_global,
        "transformer_type": "continuous_transformer",
        "attn_kwargs": {"qk_norm": config.qk_norm},
    }
    if config.global_conditioning == "adaln":
        data["global_cond_type"] = "adaLN"
    if not config.context_dim:
        data["in_channels"] = data.pop("io_channels")
    if config.extra_channels:
        data["input_concat_dim"] = config.extra_channels
    if config.max_positions:
        data |= {"use_abs_pos_emb": True, "abs_pos_emb_max_length": config.max_positions}
    norm: Json = {"bias": True} if config.norm_bias else {}
    if config.norm_eps != 1e-5:
        norm["eps"] = config.norm_eps
    return data | ({"norm_kwargs": norm} if norm else {})
