"""SAME, the transformer autoencoder, in `model_config.json`, in diffusers' config, and under its foreign names.

Two kinds of published tensors carry no information: the rotary `inv_freq`, which is recomputed, and an empty tensor of
the bottleneck. Diffusers has neither. Its class knows no chunks, only bands, and equal shapes of both networks; it keeps q, q′, k, k′, v in
this order, where published files have q, k, v, q′, k′.
"""

import re
from dataclasses import MISSING, replace
from functools import partial

import torch

from auralith.config import AudioFormat
from auralith.families.family import AutoencoderForm, AutoencoderKind, NameRow, nest
from auralith.families.sections import IRRELEVANT, Section
from auralith.families.stable_audio_1.transformer import inverse_frequencies
from auralith.foreign import Json
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.models.same import FEED_FORWARD_MULTIPLE, Same
from auralith.network_config import SameConfig, SameNetworkConfig

TYPE = "taae_v2"
LARGEST_DEPTH = 512
NOISE_SCALE = "bottleneck.noise_scaling_factor"
INV_FREQ = "rope.inv_freq"
UNTRAINED = re.compile(rf".*\.{re.escape(INV_FREQ)}|{re.escape(NOISE_SCALE)}")

NORM = (
    NameRow("alpha", "alpha", "alpha"),
    NameRow("scale", "gamma", "gamma"),
    NameRow("bias", "beta", "beta"),
)
BLOCK = (
    *nest(NameRow("attention_norm", "pre_norm", "norm_attn"), NORM),
    NameRow("attention.qkv", "self_attn.to_qkv", "attn.to_qkv"),
    *nest(NameRow("attention.q_norm", "self_attn.q_norm", "attn.q_norm"), NORM),
    *nest(NameRow("attention.k_norm", "self_attn.k_norm", "attn.k_norm"), NORM),
    NameRow("attention.out", "self_attn.to_out", "attn.to_out"),
    *nest(NameRow("feed_forward_norm", "ff_norm", "norm_ff"), NORM),
    NameRow("feed_forward.up", "ff.ff.0.proj", "ff.proj_in"),
    NameRow("feed_forward.down", "ff.ff.2", "ff.proj_out"),
    NameRow(None, "rope", None),
)
BOTTLENECK = (
    NameRow("scale", "scaling_factor", "scale"),
    NameRow("bias", "bias", "bias"),
    NameRow("std", "running_std", "running_std"),
    NameRow(None, "noise_scaling_factor", None),
)


def _rows(config: SameConfig) -> tuple[NameRow, ...]:
    rows = nest(NameRow("bottleneck", "bottleneck", "bottleneck"), BOTTLENECK)
    for side, network, blocks, project in (
        ("encoder", config.encoder, "layers.0", "layers.2"),
        ("decoder", config.decoder, "layers.3", "layers.1"),
    ):
        inside = (
            NameRow("project", project, "proj"),
            NameRow("mapping", f"{blocks}.mapping", "blocks.0.mapping"),
            NameRow("new_token", f"{blocks}.new_tokens", "blocks.0.new_tokens"),
        )
        for index in range(network.depth):
            names = NameRow(
                f"transformer.blocks.{index}",
                f"{blocks}.transformers.{index}",
                f"blocks.0.transformers.{index}",
            )
            inside += nest(names, BLOCK)
        rows += nest(NameRow(side, side, side), inside)
    return rows


def _is_untrained(config: SameConfig, name: str) -> bool:
    return UNTRAINED.fullmatch(name) is not None


def _buffers(config: SameConfig) -> Weights:
    buffers: Weights = {
        NOISE_SCALE: LazyTensor((1, 0, 1), torch.float32, partial(torch.ones, 1, 0, 1))
    }
    for blocks, network in (
        ("encoder.layers.0", config.encoder),
        ("decoder.layers.3", config.decoder),
    ):
        read = partial(inverse_frequencies, network.rotary_dim)
        for index in range(network.depth):
            name = f"{blocks}.transformers.{index}.{INV_FREQ}"
            buffers[name] = LazyTensor((network.rotary_dim // 2,), torch.float32, read)
    return buffers


# --- model_config.json ---


def _describes(data: Json) -> bool:
    encoder = data.get("encoder")
    return isinstance(encoder, dict) and encoder.get("type") == TYPE


def _read(section: Section) -> SameConfig:
    patches = _patches(section.section("pretransform"))
    channels, patch_size = patches.integer("channels"), patches.integer("patch_size")
    patches.finish()
    encoder, decoder = (_side(section, name) for name in ("encoder", "decoder"))
    stride = _single(encoder, "strides")
    config = SameConfig(
        channels=channels,
        latent_channels=section.integer("latent_dim"),
        patch_size=patch_size,
        stride=stride,
        encoder=_network(encoder, stride),
        decoder=_network(decoder, stride),
    )
    decoder.expect("strides", [stride])
    for side, key in ((encoder, "in_channels"), (decoder, "out_channels")):
        side.expect(key, config.patch_width)
        side.expect("latent_dim", config.latent_channels)
        side.finish()
    _bottleneck(section.section("bottleneck"), config.latent_channels)
    section.expect("downsampling_ratio", config.samples_per_frame)
    for key in ("io_channels", "in_channels", "out_channels"):
        section.expect(key, channels, channels)
    section.expect("soft_clip", False, False)
    section.finish()
    if config.patch_width in (config.encoder.width, config.decoder.width):
        raise patches.error("patch_size", f"must not give rows of {config.patch_width} features")
    return config


def _patches(outer: Section) -> Section:
    outer.expect("type", "patched")
    inner = outer.section("config")
    inner.expect("oversampling", 1, 1)
    inner.expect("postfilter_channels", 0, 0)
    outer.finish()
    return inner


def _side(section: Section, name: str) -> Section:
    """Open the `config` of the encoder or decoder; check what has only one form here."""
    outer = section.section(name)
    outer.expect("type", TYPE)
    outer.ignore(*IRRELEVANT[name])
    inner = outer.section("config")
    outer.finish()
    for key in ("differential", "dyt", "mapping_bias"):
        inner.expect(key, True, True)
    inner.expect("variable_stride", True, False)
    inner.expect("ff_mult", FEED_FORWARD_MULTIPLE, FEED_FORWARD_MULTIPLE)
    for key in ("conformer", "layer_scale", "feat_scale", "cross_attn"):
        inner.expect(key, False, False)
    inner.ignore(*IRRELEVANT["same"])
    return inner


def _network(side: Section, stride: int) -> SameNetworkConfig:
    attention, chunk_frames, window_frames = "chunks", 2, 1
    if "sliding_window" in side:
        attention, window_frames = "band", _window(side)
        side.ignore("chunk_size", "chunk_midpoint_shift")
    else:
        side.expect("chunk_midpoint_shift", True, False)
        chunk_frames, rest = divmod(side.integer("chunk_size", 128), stride)
        if rest or chunk_frames % 2:
            raise side.error("chunk_size", f"must be a multiple of {2 * stride}, twice the stride")
    network = SameNetworkConfig(
        width=side.integer("channels", 128) * _single(side, "c_mults"),
        depth=_single(side, "transformer_depths"),
        head_dim=side.integer("dim_heads", 128),
        attention=attention,
        chunk_frames=chunk_frames,
        window_frames=window_frames,
        sine_blocks=_sine_blocks(side),
        kernel_size=3 if side.flag("conv_mapping", False) else 1,
        token_noise=side.number("mask_noise", 0.0),
    )
    if network.depth > LARGEST_DEPTH:
        raise side.error("transformer_depths", f"must be at most {LARGEST_DEPTH}")
    _check_heads(network, side, "dim_heads")
    return network


def _check_heads(network: SameNetworkConfig, section: Section, key: str) -> None:
    if network.width % network.head_dim or network.head_dim % 4:
        raise section.error(key, f"must be a multiple of 4 that divides the width {network.width}")


def _single(side: Section, key: str, default: object = MISSING) -> int:
    values = side.integers(key, default)
    if len(values) != 1:
        raise side.error(key, f"must be one number, not {list(values)}")
    return values[0]


def _window(side: Section) -> int:
    before, after = side.numbers("sliding_window", count=2)
    if before != after or not before.is_integer() or not 1 <= before < 2**16:
        raise side.error("sliding_window", "must be a whole number of frames, twice the same")
    return int(before)


def _sine_blocks(side: Section, start: str = "") -> int:
    """Return the number in a list of one; none where it is absent, as in the encoder's config."""
    key = f"{start}sinusoidal_blocks"
    (count,) = side.numbers(key, (0,), count=1)
    if not count.is_integer() or not 0 <= count < 2**16:
        raise side.error(key, "must be a number of blocks")
    return int(count)


def _bottleneck(outer: Section, channels: int) -> None:
    outer.expect("type", "softnorm")
    outer.ignore(*IRRELEVANT["bottleneck"])
    inner = outer.section("config")
    inner.expect("dim", channels)
    inner.expect("auto_scale", True, False)
    inner.expect("noise_augment_dim", 0, 0)
    inner.expect("noise_regularize", True, False)
    inner.ignore(*IRRELEVANT["soft_norm"])
    outer.finish()
    inner.finish()


def _to_json(config: SameConfig) -> Json:
    encoder = _network_json(config, config.encoder) | {"in_channels": config.patch_width}
    decoder = _network_json(config, config.decoder) | {"out_channels": config.patch_width}
    bottleneck = {
        "dim": config.latent_channels,
        "auto_scale": True,
        "freeze": True,
        "noise_augment_dim": 0,
        "noise_regularize": True,
    }
    patches = {"channels": config.channels, "patch_size": config.patch_size}
    return {
        "pretransform": {"type": "patched", "config": patches},
        "encoder": {"type": TYPE, "config": encoder},
        "decoder": {"type": TYPE, "config": decoder},
        "bottleneck": {"type": "softnorm", "config": bottleneck},
        "latent_dim": config.latent_channels,
        "downsampling_ratio": config.samples_per_frame,
        "io_channels": config.channels,
    }


def _network_json(config: SameConfig, network: SameNetworkConfig) -> Json:
    data: Json = {
        "channels": network.width,
        "c_mults": [1],
        "strides": [config.stride],
        "latent_dim": config.latent_channels,
        "transformer_depths": [network.depth],
        "dim_heads": network.head_dim,
        "differential": True,
        "dyt": True,
        "variable_stride": True,
        "conv_mapping": network.kernel_size == 3,
        "mask_noise": network.token_noise,
    }
    if network.sine_blocks:
        data["sinusoidal_blocks"] = [network.sine_blocks]
    if network.attention == "band":
        return data | {"sliding_window": [network.window_frames] * 2}
    rows = network.chunk_frames * config.stride
    return data | {"chunk_size": rows, "chunk_midpoint_shift": True}


# --- diffusers ---


def _read_diffusers(section: Section) -> tuple[AudioFormat, SameConfig]:
    """Read the config of an `AutoencoderSAME`. It knows no noise."""
    stride = _single(section, "encoder_strides", (16,))
    section.expect("use_differential_attention", True, True)
    section.expect("ff_mult", FEED_FORWARD_MULTIPLE, FEED_FORWARD_MULTIPLE)
    multiple = _single(section, "encoder_c_mults", (6,))
    depth = _single(section, "encoder_transformer_depths", (6,))
    network = SameNetworkConfig(
        width=section.integer("encoder_channels", 128) * multiple,
        depth=depth,
        head_dim=section.integer("dim_heads", 64),
        attention="band",
        window_frames=section.integer("sliding_window", 1),
    )
    _check_heads(network, section, "dim_heads")
    if depth > LARGEST_DEPTH:
        raise section.error("encoder_transformer_depths", f"must be at most {LARGEST_DEPTH}")
    config = SameConfig(
        channels=section.integer("audio_channels", 2),
        latent_channels=section.integer("latent_dim", 256),
        patch_size=section.integer("patch_size", 256),
        stride=stride,
        encoder=replace(network, sine_blocks=_sine_blocks(section, "encoder_")),
        decoder=replace(network, sine_blocks=_sine_blocks(section, "decoder_")),
    )
    if config.patch_width == network.width:
        raise section.error("patch_size", f"must not give rows of {network.width} features")
    audio = AudioFormat(
        section.integer("sampling_rate", 44_100),
        config.channels,
        config.latent_channels,
        config.samples_per_frame,
    )
    section.ignore(*(key for key in section.data if key.startswith("_")))
    section.finish()
    return audio, config


def _diffusers_json(audio: AudioFormat, config: SameConfig) -> Json:
    encoder, decoder = config.encoder, config.decoder
    return {
        "audio_channels": config.channels,
        "patch_size": config.patch_size,
        "encoder_channels": encoder.width,
        "encoder_c_mults": [1],
        "encoder_strides": [config.stride],
        "encoder_transformer_depths": [encoder.depth],
        "latent_dim": config.latent_channels,
        "use_differential_attention": True,
        "dim_heads": encoder.head_dim,
        "ff_mult": FEED_FORWARD_MULTIPLE,
        "sliding_window": encoder.window_frames,
        "encoder_sinusoidal_blocks": [encoder.sine_blocks],
        "decoder_sinusoidal_blocks": [decoder.sine_blocks],
        "sampling_rate": audio.sample_rate,
    }


def _refusals(config: SameConfig) -> list[str]:
    networks = (config.encoder, config.decoder)
    plain = [replace(network, sine_blocks=0, token_noise=0.0) for network in networks]
    reasons = {
        "attention in chunks": any(network.attention == "chunks" for network in networks),
        "a convolution over several rows": any(network.kernel_size > 1 for network in networks),
        "an encoder and a decoder of different shapes": plain[0] != plain[1],
    }
    return [reason for reason, applies in reasons.items() if applies]


DIFFUSERS = AutoencoderForm(
    class_name="AutoencoderSAME",
    read=_read_diffusers,
    to_json=_diffusers_json,
    refusals=_refusals,
)
SAME = AutoencoderKind(
    title="a SAME autoencoder",
    config=SameConfig,
    describes=_describes,
    read=_read,
    to_json=_to_json,
    build=Same,
    rows=_rows,
    weight_norm=True,
    block_orders={"self_attn.to_qkv.weight": (0, 3, 1, 4, 2)},
    is_untrained=_is_untrained,
    buffers=_buffers,
    optional=UNTRAINED,
    diffusers=DIFFUSERS,
)
