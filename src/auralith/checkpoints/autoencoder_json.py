"""The autoencoder's part of `model_config.json`: the published Oobleck, and our spectral one."""

from auralith.checkpoints.irrelevant import IRRELEVANT
from auralith.checkpoints.sections import Section, read_fields
from auralith.config import AudioFormat, AutoencoderConfig, OobleckConfig, SpectralConfig


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
