"""`model_config.json` → `ModelConfig`. Absent keys mean what they mean to the reference, not what 1.0 happens to use.

Only what the networks here implement is accepted; everything else is refused by the name of its key, because a config
that is half understood gives noise without an error. `irrelevant` lists the keys that change nothing. Two extensions are
ours: an autoencoder of type "spectral", and a top-level object "auralith" with the model's sampling defaults.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.nn import ModuleDict

from auralith.checkpoints.sections import IRRELEVANT, Section, read_fields
from auralith.config import (
    DISTILLED_SAMPLING,
    FLOW_SAMPLING,
    INPAINT_INPUTS,
    T5_WIDTHS,
    AudioFormat,
    AutoencoderConfig,
    Condition,
    DistributionShift,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    ObjectiveName,
    OobleckConfig,
    SamplingDefaults,
    SpectralConfig,
    TextCondition,
)
from auralith.errors import CheckpointError


def read_autoencoder(root: Section, section: Section) -> tuple[AudioFormat, AutoencoderConfig]:
    """Return the autoencoder of a section, and the audio that it and the whole config are for. Raises CheckpointError."""
    sample_rate, channels = root.integer("sample_rate"), root.integer("audio_channels", 2)
    if section.value("type", None) == "spectral":
        inner = section.section("config")
        config = read_fields(inner, SpectralConfig)
        section.finish()
        _check_spectral(inner, config)
        if config.sample_rate != sample_rate:
            raise root.error("sample_rate", f"must be the autoencoder's {config.sample_rate}")
    else:
        config = _oobleck(section)
    if config.channels != channels:
        raise root.error("audio_channels", f"must be the autoencoder's {config.channels}")
    return AudioFormat(
        sample_rate, channels, config.latent_channels, config.samples_per_frame
    ), config


def _check_spectral(section: Section, config: SpectralConfig) -> None:
    positions, rest = divmod(config.bands, config.band_patch * config.band_merge)
    if rest or config.latent_channels % positions:
        raise section.error("bands", "must divide into patches, and these into latent_channels")
    section.require("channels", 2, config.channels)
    if not config.linear_bins < config.bands < config.window_size // 2:
        raise section.error("bands", "must be above linear_bins and below half of window_size")
    if not config.hop <= config.window_size:
        raise section.error("hop", "must not be above window_size")


def _oobleck(section: Section) -> OobleckConfig:
    outer, inner = _oobleck_sides(section)
    bottleneck = section.section("bottleneck")
    bottleneck.require("type", "vae")
    bottleneck.require("config", {}, {})
    bottleneck.ignore(*IRRELEVANT["bottleneck"])
    encoder, decoder = inner
    config = OobleckConfig(
        channels=section.integer("io_channels"),
        latent_channels=section.integer("latent_dim"),
        strides=encoder.integers("strides", (2, 4, 8, 8)),
        encoder_width=encoder.integer("channels", 128),
        encoder_multiples=encoder.integers("c_mults", (1, 2, 4, 8)),
        decoder_width=decoder.integer("channels", 128),
        decoder_multiples=decoder.integers("c_mults", (1, 2, 4, 8)),
        final_tanh=decoder.flag("final_tanh", True),
        soft_clip=outer[1].flag("soft_clip", False),
    )
    for key in ("in_channels", "out_channels"):
        section.require(key, config.channels, config.channels)
    section.require("downsampling_ratio", config.samples_per_frame)
    encoder.require("in_channels", config.channels, 2)
    decoder.require("out_channels", config.channels, 2)
    encoder.require("latent_dim", 2 * config.latent_channels, 32)
    decoder.require("latent_dim", config.latent_channels, 32)
    decoder.require("strides", list(config.strides), [2, 4, 8, 8])
    decoder.require("use_nearest_upsample", False, False)
    all_multiples = (config.encoder_multiples, config.decoder_multiples)
    for side, multiples in zip(inner, all_multiples, strict=True):
        if len(multiples) != len(config.strides) or any(n % 2 for n in config.strides):
            raise side.error("strides", "must be even numbers, one for each of c_mults")
    for read in (*outer, *inner, bottleneck, section):
        read.finish()
    return config


def _oobleck_sides(section: Section) -> tuple[list[Section], list[Section]]:
    """The objects of encoder and decoder, and their `config`s."""
    outer = [section.section(side) for side in ("encoder", "decoder")]
    for side, name in zip(outer, ("encoder", "decoder"), strict=True):
        side.require("type", "oobleck")
        side.ignore(*IRRELEVANT[name])
    inner = [side.section("config") for side in outer]
    for side in inner:
        side.require("use_snake", True, False)
        side.require("antialias_activation", False, False)
    return outer, inner


Json = dict[str, Any]

LARGEST_DEPTH = 512
MOST_TOKENS = 8_192
"""Most tokens of a prompt. Published models take 64 to 512; the attention of T5 grows with the square."""
OBJECTIVES: dict[str, ObjectiveName] = {
    "v": "v",
    "rectified_flow": "rectified_flow",
    "rf_denoiser": "rf_denoiser",
}
GLOBAL_CONDITIONING = {"prepend": "prepend", "adaLN": "adaln"}
MODEL_TYPES = {
    "diffusion_cond": "model",
    "diffusion_cond_inpaint": "inpainting",
    "diffusion_uncond": "unconditional",
    "autoencoder": "autoencoder",
}
QK_NORMS = {"none": "none", "ln": "ln"}


@dataclass(frozen=True)
class Spec:
    """What a checkpoint holds: a whole model, or only an autoencoder (`model` is None)."""

    audio: AudioFormat
    autoencoder: AutoencoderConfig
    model: ModelConfig | None = None

    @staticmethod
    def of(config: ModelConfig) -> "Spec":
        return Spec(config.audio, config.autoencoder, config)

    @property
    def numbers(self) -> tuple[NumberCondition, ...]:
        return self.model.numbers if self.model else ()


def sampling_for(objective: ObjectiveName) -> SamplingDefaults:
    """The published way to sample a model of this objective."""
    published = {"rectified_flow": FLOW_SAMPLING, "rf_denoiser": DISTILLED_SAMPLING}
    return published.get(objective, SamplingDefaults())


def spec_from_json(data: Json, path: str | Path = "model_config.json") -> Spec:
    """A config of model_type "diffusion_cond" or "autoencoder". Raises CheckpointError naming `path` and the key."""
    root = Section(data, str(path))
    root.ignore(*IRRELEVANT["model_config"])
    kind = root.choice("model_type", MODEL_TYPES)
    if kind == "unconditional":
        spec = Spec.of(_unconditional(root))
    elif kind == "autoencoder":
        spec = Spec(*read_autoencoder(root, root.section("model")))
        root.ignore("sample_size")  # the length of the crops that it was trained on
    else:
        spec = Spec.of(_model(root))
    root.finish()
    return spec


def config_from_json(data: Json, path: str | Path = "model_config.json") -> ModelConfig:
    """The config of a whole model. Raises CheckpointError naming `path` and the key."""
    spec = spec_from_json(data, path)
    if spec.model is None:
        raise CheckpointError(f"{path} describes only an autoencoder; a whole model is needed")
    return spec.model


def _pretransform(root: Section, model: Section) -> tuple[AudioFormat, AutoencoderConfig, float]:
    """The autoencoder of a whole model, and what its latents are divided by."""
    pretransform = model.section("pretransform")
    pretransform.require("type", "autoencoder")
    pretransform.require("enable_grad", False, False)
    pretransform.ignore(*IRRELEVANT["pretransform"])
    scale = pretransform.number("scale", 1.0)
    if not scale > 0:
        raise pretransform.error("scale", f"must be above 0, not {scale}")
    audio, autoencoder = read_autoencoder(root, pretransform.section("config"))
    pretransform.finish()
    return audio, autoencoder, scale


def _unconditional(root: Section) -> ModelConfig:
    """A model of type "diffusion_uncond": its transformer knows the timestep and nothing else."""
    model = root.section("model")
    audio, autoencoder, scale = _pretransform(root, model)
    model.require("type", "dit")
    section = model.section("config")
    objective = section.choice("diffusion_objective", OBJECTIVES, "v")
    dit = _dit(section, conditional=False)
    model.finish()
    if dit.latent_channels != audio.latent_channels:
        raise section.error("in_channels", f"must be the autoencoder's {audio.latent_channels}")
    _check_heads(dit, section, "")
    return ModelConfig(
        audio=audio,
        window_samples=root.integer("sample_size"),
        autoencoder=autoencoder,
        latent_scale=scale,
        dit=dit,
        objective=objective,
        conditions=(),
        condition_dim=0,
        context_ids=(),
        global_ids=(),
        sampling=sampling_for(objective),
    )


def _model(root: Section) -> ModelConfig:
    model = root.section("model")
    audio, autoencoder, scale = _pretransform(root, model)
    model.require("io_channels", audio.latent_channels)
    conditioning, diffusion = model.section("conditioning"), model.section("diffusion")
    diffusion.require("type", "dit")
    diffusion.require("prepend_cond_ids", [], [])
    objective = diffusion.choice("diffusion_objective", OBJECTIVES, "v")
    extension = root.section("auralith", optional=True)
    conditioning.require("pre_encoded_keys", [], [])
    config = ModelConfig(
        audio=audio,
        window_samples=root.integer("sample_size"),
        autoencoder=autoencoder,
        latent_scale=scale,
        dit=_dit(diffusion.section("config")),
        objective=objective,
        conditions=tuple(
            _condition(entry, conditioning.integer("cond_dim"))
            for entry in conditioning.sections("configs")
        ),
        condition_dim=conditioning.integer("cond_dim"),
        context_ids=diffusion.strings("cross_attention_cond_ids"),
        global_ids=diffusion.strings("global_cond_ids"),
        distribution_shift=_shift(diffusion),
        input_ids=diffusion.strings("input_concat_ids", ()),
        default_keys=conditioning.names("default_keys"),
        sampling=read_fields(extension.section("sampling"), SamplingDefaults)
        if "sampling" in extension
        else sampling_for(objective),
    )
    for section in (model, conditioning, diffusion, extension):
        section.finish()
    _check_model(config, diffusion)
    _check_inputs(config, root, diffusion)
    return config


def _shift(diffusion: Section) -> DistributionShift | None:
    """The shift of timesteps; an empty object means the reference's defaults, an absent one none."""
    if "distribution_shift_options" not in diffusion:
        diffusion.ignore("distribution_shift_options")
        return None
    section = diffusion.section("distribution_shift_options")
    shift = read_fields(section, DistributionShift)
    if not 0 <= shift.min_length < shift.max_length:
        raise section.error("min_length", "must be at least 0 and below max_length")
    return shift


def _check_model(config: ModelConfig, diffusion: Section) -> None:
    """Raise CheckpointError where the parts don't fit each other."""
    dit, ids = config.dit, [condition.id for condition in config.conditions]
    numbers = [condition.id for condition in config.numbers]
    if len(ids) - len(numbers) != 1 or len(set(ids)) != len(ids):
        raise CheckpointError(
            f"{diffusion.path}: exactly one text condition and distinct ids needed"
        )
    if not config.context_ids or not set(config.context_ids) <= set(ids):
        raise diffusion.error("cross_attention_cond_ids", f"must name conditions among {ids}")
    if not set(config.global_ids) <= set(ids) or not set(config.global_ids) & set(numbers):
        raise diffusion.error("global_cond_ids", f"must name conditions, one of {numbers} at least")
    widths = {
        "io_channels": (dit.latent_channels, config.audio.latent_channels),
        "cond_token_dim": (dit.context_dim, config.condition_dim),
        "global_cond_dim": (dit.global_dim, config.condition_dim * len(config.global_ids)),
        "embed_dim": (dit.embed_dim, dit.head_dim * dit.num_heads),
    }
    for key, (found, needed) in widths.items():
        if found != needed:
            raise diffusion.error(f"config.{key}", f"is {found}, but the other parts need {needed}")
    _check_heads(dit, diffusion, "config.")
    if not dit.project_global and dit.global_dim != dit.embed_dim:
        raise diffusion.error("config.project_global_cond", "must be true for these widths")
    kv_heads, rest = divmod(dit.context_width, dit.head_dim)  # as the reference splits them
    if rest or dit.num_heads % kv_heads:
        raise diffusion.error("config.cond_token_dim", f"must divide into heads of {dit.head_dim}")


def _check_heads(dit: DiTConfig, section: Section, where: str) -> None:
    if dit.embed_dim % dit.num_heads or dit.head_dim % 2 or dit.head_dim < 32:
        raise section.error(f"{where}num_heads", "must give heads of an even width of at least 32")


def _check_inputs(config: ModelConfig, root: Section, diffusion: Section) -> None:
    """Raise CheckpointError where the input channels are not those of the model type."""
    ids, found = config.input_ids, config.dit.extra_channels
    if not set(ids) <= set(INPAINT_INPUTS) or len(set(ids)) != len(ids):
        raise diffusion.error(
            "input_concat_ids", f"is {list(ids)!r:.80}; supported: {', '.join(INPAINT_INPUTS)}"
        )
    kind = "diffusion_cond_inpaint" if ids else "diffusion_cond"
    if root.value("model_type") != kind:
        raise root.error("model_type", f"must be {kind!r} with input_concat_ids {list(ids)}")
    if found != config.extra_channels:
        raise diffusion.error(
            "config.input_concat_dim", f"is {found}, but its inputs need {config.extra_channels}"
        )


def _dit(section: Section, *, conditional: bool = True) -> DiTConfig:
    attention = section.section("attn_kwargs", optional=True)
    qk_norm = attention.choice("qk_norm", QK_NORMS, "none")
    for key in ("differential", "feat_scale"):
        attention.require(key, False, False)
    attention.finish()
    _plain_feed_forward(section.section("ff_kwargs", optional=True))
    norm_bias, norm_eps = _norm(section.section("norm_kwargs", optional=True))
    positions = 0
    if section.flag("use_abs_pos_emb", False):
        positions = section.integer("abs_pos_emb_max_length", 10_000)
    config = DiTConfig(
        latent_channels=section.integer("io_channels" if conditional else "in_channels"),
        embed_dim=section.integer("embed_dim"),
        depth=section.integer("depth", maximum=LARGEST_DEPTH),
        num_heads=section.integer("num_heads"),
        context_dim=section.integer("cond_token_dim") if conditional else 0,
        global_dim=section.integer("global_cond_dim") if conditional else 0,
        project_context=section.flag("project_cond_tokens", True),
        project_global=section.flag("project_global_cond", True),
        qk_norm=qk_norm,
        global_conditioning=section.choice("global_cond_type", GLOBAL_CONDITIONING, "prepend"),
        max_positions=positions,
        extra_channels=section.integer("input_concat_dim", 0, minimum=0) if conditional else 0,
        norm_bias=norm_bias,
        norm_eps=norm_eps,
    )
    if not conditional:
        for key in ("cond_token_dim", "global_cond_dim", "input_concat_dim"):
            section.require(key, 0, 0)
    section.require("transformer_type", "continuous_transformer", "continuous_transformer")
    section.require("timestep_cond_type", "global", "global")
    section.require("rotary_pos_emb", True, True)
    section.require("patch_size", 1, 1)
    section.require("final_cross_attn_ix", -1, -1)
    for key in ("prepend_cond_dim", "num_memory_tokens"):
        section.require(key, 0, 0)
    switches = (
        "causal",
        "conformer",
        "use_sinusoidal_emb",
        "remove_norms",
        "add_rope",
        "layer_scale",
    )
    for key in switches:
        section.require(key, False, False)
    section.ignore(*IRRELEVANT["transformer"])
    section.finish()
    return config


def _plain_feed_forward(section: Section) -> None:
    """Refuse feed-forward layers other than the published ones."""
    section.require("mult", 4, 4)
    section.require("glu", True, True)
    for key in ("no_bias", "use_conv"):
        section.require(key, False, False)
    section.ignore(*IRRELEVANT["feed_forward"])
    section.finish()


def _norm(section: Section) -> tuple[bool, float]:
    """Return whether the norms have a bias, and their epsilon."""
    eps = section.number("eps", 1e-5)
    if not 0 < eps < 1:
        raise section.error("eps", f"must be between 0 and 1, not {eps}")
    section.require("fix_scale", False, False)
    section.ignore(*IRRELEVANT["norm"])
    bias = section.flag("bias", False)
    section.finish()
    return bias, eps


def _condition(entry: Section, width: int) -> Condition:
    kind = entry.choice("type", {"t5": "t5", "number": "number", "int": "int"})
    name, section = entry.identifier("id"), entry.section("config", optional=True)
    if hasattr(ModuleDict, name):
        raise entry.error("id", f"is the reserved name {name!r}")
    entry.finish()
    if kind == "number":
        condition = NumberCondition(
            name, section.number("min_val", 0), section.number("max_val", 1)
        )
        if not condition.minimum < condition.maximum:
            raise section.error("max_val", "must be above min_val")
    elif kind == "int":
        section.require(
            "min_val", 0, 0
        )  # the reference looks a value up in its table without subtracting it
        condition = NumberCondition(name, 0.0, float(section.integer("max_val", 512)), "int")
    else:
        section.require("enable_grad", False, False)
        encoder, limit = (
            section.text("t5_model_name", "t5-base"),
            section.integer("max_length", 128, maximum=MOST_TOKENS),
        )
        known = T5_WIDTHS.get(encoder, width)
        projected = section.flag("project_out", False) or known != width
        condition = TextCondition(name, encoder, limit, known if projected else None)
    section.finish()
    return condition
