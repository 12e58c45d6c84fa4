"""Oobleck, the convolutional autoencoder, in `model_config.json` and under its foreign names."""

from auralith.config import OobleckConfig
from auralith.families.family import AutoencoderKind, NameRow, nest
from auralith.families.sections import IRRELEVANT, Section
from auralith.foreign import Json
from auralith.models.autoencoder import Oobleck


def _read(section: Section) -> OobleckConfig:
    section.ignore("type")
    outer, inner = _sides(section)
    bottleneck = section.section("bottleneck")
    bottleneck.expect("type", "vae")
    bottleneck.expect("config", {}, {})
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
        section.expect(key, config.channels, config.channels)
    section.expect("downsampling_ratio", config.samples_per_frame)
    encoder.expect("in_channels", config.channels, 2)
    decoder.expect("out_channels", config.channels, 2)
    encoder.expect("latent_dim", 2 * config.latent_channels, 32)
    decoder.expect("latent_dim", config.latent_channels, 32)
    decoder.expect("strides", list(config.strides), [2, 4, 8, 8])
    decoder.expect("use_nearest_upsample", False, False)
    all_multiples = (config.encoder_multiples, config.decoder_multiples)
    for side, multiples in zip(inner, all_multiples, strict=True):
        if len(multiples) != len(config.strides) or any(n % 2 for n in config.strides):
            raise side.error("strides", "must be even numbers, one for each of c_mults")
    for read in (*outer, *inner, bottleneck, section):
        read.finish()
    return config


def _sides(section: Section) -> tuple[list[Section], list[Section]]:
    """The objects of encoder and decoder, and their `config`s."""
    outer = [section.section(side) for side in ("encoder", "decoder")]
    for side, name in zip(outer, ("encoder", "decoder"), strict=True):
        side.expect("type", "oobleck")
        side.ignore(*IRRELEVANT[name])
    inner = [side.section("config") for side in outer]
    for side in inner:
        side.expect("use_snake", True, False)
        side.expect("antialias_activation", False, False)
    return outer, inner


def _to_json(config: OobleckConfig) -> Json:
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


def _snake(ours: str, single_file: str, diffusers: str) -> tuple[NameRow, ...]:
    rows = (NameRow("log_alpha", "alpha", "alpha"), NameRow("log_beta", "beta", "beta"))
    return nest(NameRow(ours, single_file, diffusers), rows)


def _residual_units(first_layer: int) -> tuple[NameRow, ...]:
    unit = (
        *_snake("snake1", "layers.0", "snake1"),
        NameRow("conv1", "layers.1", "conv1"),
        *_snake("snake2", "layers.2", "snake2"),
        NameRow("conv2", "layers.3", "conv2"),
    )
    rows: tuple[NameRow, ...] = ()
    for index in range(3):
        names = NameRow(f"units.{index}", f"layers.{first_layer + index}", f"res_unit{index + 1}")
        rows += nest(names, unit)
    return rows


def _rows(config: OobleckConfig) -> tuple[NameRow, ...]:
    encoder = (*_residual_units(0), *_snake("snake", "layers.3", "snake1"))
    decoder = (*_snake("snake", "layers.0", "snake1"), *_residual_units(2))
    blocks = {
        "encoder": (*encoder, NameRow("conv", "layers.4", "conv1")),
        "decoder": (*decoder, NameRow("conv", "layers.1", "conv_t1")),
    }
    num_blocks = len(config.strides)
    rows: tuple[NameRow, ...] = ()
    for side, block in blocks.items():
        inside = (
            NameRow("conv_in", "layers.0", "conv1"),
            *_snake("snake", f"layers.{num_blocks + 1}", "snake1"),
            NameRow("conv_out", f"layers.{num_blocks + 2}", "conv2"),
        )
        for index in range(num_blocks):
            inside += nest(
                NameRow(f"blocks.{index}", f"layers.{index + 1}", f"block.{index}"), block
            )
        rows += nest(NameRow(side, side, side), inside)
    return rows


OOBLECK = AutoencoderKind(
    title="an Oobleck autoencoder",
    config=OobleckConfig,
    describes=lambda data: True,  # as the reference takes any other
    read=_read,
    to_json=_to_json,
    build=Oobleck,
    rows=_rows,
    weight_norm=True,
    map_vectors=(".alpha", ".beta"),
)
