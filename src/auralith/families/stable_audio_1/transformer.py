"""The transformer of Stable Audio Open in `model_config.json` and under its foreign names.

Two kinds of published tensors carry no information: the rotary `inv_freq`, which is recomputed, and the `beta` of the
norms where it is zero. A `beta` that is not zero was trained, and `as_stored` says so.
"""

import re
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from auralith.config import DiTConfig
from auralith.errors import CheckpointError
from auralith.families.family import NameRow, TransformerKind, nest
from auralith.families.sections import IRRELEVANT, Section
from auralith.foreign import Json
from auralith.models.dit import DiT
from auralith.models.lazy_tensor import LazyTensor, Weights

LARGEST_DEPTH = 512
GLOBAL_CONDITIONING = {"prepend": "prepend", "adaLN": "adaln"}
QK_NORMS = {"none": "none", "ln": "ln"}
INV_FREQ = "model.model.transformer.rotary_pos_emb.inv_freq"
# biases of the norms in both layouts; diffusers trains them, the published model has them at zero
NORM_BIAS = re.compile(r"model\.model\..*\.beta|transformer\.transformer_blocks\.\d+\.norm\d\.bias")

ROWS = (
    NameRow("timestep_features.frequencies", "timestep_features.weight", "time_proj.weight"),
    NameRow("timestep_embed", "to_timestep_embed", "timestep_proj"),
    NameRow("context_embed", "to_cond_embed", "cross_attention_proj"),
    NameRow("global_embed", "to_global_embed", "global_proj"),
    NameRow("conv_in", "preprocess_conv", "preprocess_conv"),
    NameRow("conv_out", "postprocess_conv", "postprocess_conv"),
    NameRow("project_in", "transformer.project_in", "proj_in"),
    NameRow("project_out", "transformer.project_out", "proj_out"),
    NameRow("positions", "transformer.pos_emb.emb", None),
    NameRow("modulation", "transformer.global_cond_embedder", None),
    NameRow(None, "transformer.rotary_pos_emb", None),
)
BLOCK = (
    NameRow("self_attention_norm.scale", "pre_norm.gamma", "norm1.weight"),
    NameRow("self_attention_norm.bias", "pre_norm.beta", "norm1.bias"),
    NameRow("self_attention.qkv", "self_attn.to_qkv", "attn1.to_qkv"),
    NameRow("self_attention.out", "self_attn.to_out", "attn1.to_out.0"),
    NameRow("self_attention.q_norm", "self_attn.q_norm", None),
    NameRow("self_attention.k_norm", "self_attn.k_norm", None),
    NameRow("cross_attention_norm.scale", "cross_attend_norm.gamma", "norm2.weight"),
    NameRow("cross_attention_norm.bias", "cross_attend_norm.beta", "norm2.bias"),
    NameRow("cross_attention.q", "cross_attn.to_q", "attn2.to_q"),
    NameRow("cross_attention.kv", "cross_attn.to_kv", "attn2.to_kv"),
    NameRow("cross_attention.out", "cross_attn.to_out", "attn2.to_out.0"),
    NameRow("cross_attention.q_norm", "cross_attn.q_norm", None),
    NameRow("cross_attention.k_norm", "cross_attn.k_norm", None),
    NameRow("feed_forward_norm.scale", "ff_norm.gamma", "norm3.weight"),
    NameRow("feed_forward_norm.bias", "ff_norm.beta", "norm3.bias"),
    NameRow("feed_forward.up", "ff.ff.0.proj", "ff.net.0.proj"),
    NameRow("feed_forward.down", "ff.ff.2", "ff.net.2"),
    NameRow("modulation", "to_scale_shift_gate", None),
)


def _rows(config: DiTConfig) -> tuple[NameRow, ...]:
    rows = ROWS
    for index in range(config.depth):
        names = NameRow(
            f"blocks.{index}", f"transformer.layers.{index}", f"transformer_blocks.{index}"
        )
        rows += nest(names, BLOCK)
    return rows


def _is_untrained(config: DiTConfig, name: str) -> bool:
    return name == INV_FREQ or (not config.norm_bias and NORM_BIAS.fullmatch(name) is not None)


def _check_untrained(config: DiTConfig, published: Weights) -> None:
    for name, tensor in published.items():
        is_bias = name != INV_FREQ and _is_untrained(config, name)
        if is_bias and tensor.read().count_nonzero():
            raise CheckpointError(
                f"{name!r} is not zero, but the config has norms without a bias; "
                'set "norm_kwargs": {"bias": true} in the config of the diffusion model'
            )


def _buffers(config: DiTConfig, published: Weights) -> Weights:
    buffers: Weights = {}
    for name, gamma in published.items():
        beta = f"{name.removesuffix('gamma')}beta"
        if name.startswith("model.model.") and name.endswith(".gamma") and beta not in published:
            zeros = partial(torch.zeros, gamma.shape, dtype=gamma.dtype)
            buffers[beta] = LazyTensor(gamma.shape, gamma.dtype, zeros)
    stored = published.get(INV_FREQ)
    # rounded to half precision, the rotary table is wrong for long sounds
    if stored is None or stored.dtype is not torch.float32:
        dim = config.rotary_dim
        read = partial(inverse_frequencies, dim)
        buffers[INV_FREQ] = LazyTensor((dim // 2,), torch.float32, read)
    return buffers


def inverse_frequencies(dim: int) -> Tensor:
    """1 / 10000^(2i/dim) in float32, rounded as the reference rounds it."""
    return 1.0 / 10_000 ** (torch.arange(0, dim, 2).float() / dim)


def _as_stored(config: DiTConfig, published: Weights) -> DiTConfig:
    """Return the config with biases of the norms if the stored ones were trained; their values are read."""
    biases = (t for name, t in published.items() if NORM_BIAS.fullmatch(name))
    trained = config.norm_bias or any(bool(t.read().count_nonzero()) for t in biases)
    return replace(config, norm_bias=trained)


def _read(section: Section, conditional: bool) -> DiTConfig:
    attention = section.section("attn_kwargs", optional=True)
    qk_norm = attention.choice("qk_norm", QK_NORMS, "none")
    for key in ("differential", "feat_scale"):
        attention.expect(key, False, False)
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
            section.expect(key, 0, 0)
    section.expect("transformer_type", "continuous_transformer", "continuous_transformer")
    section.expect("timestep_cond_type", "global", "global")
    section.expect("rotary_pos_emb", True, True)
    section.expect("patch_size", 1, 1)
    section.expect("final_cross_attn_ix", -1, -1)
    for key in ("prepend_cond_dim", "num_memory_tokens"):
        section.expect(key, 0, 0)
    switches = (
        "causal",
        "conformer",
        "use_sinusoidal_emb",
        "remove_norms",
        "add_rope",
        "layer_scale",
    )
    for key in switches:
        section.expect(key, False, False)
    section.ignore(*IRRELEVANT["transformer"])
    section.finish()
    _check_widths(config, section)
    return config


def _check_widths(config: DiTConfig, section: Section) -> None:
    if config.embed_dim % config.num_heads:
        raise section.error("embed_dim", f"must divide into num_heads, {config.num_heads}")
    if config.head_dim % 2 or config.head_dim < 32:
        raise section.error("num_heads", "must give heads of an even width of at least 32")
    if not config.project_global and config.global_dim not in (0, config.embed_dim):
        raise section.error("project_global_cond", "must be true for these widths")
    kv_heads, rest = divmod(config.context_width, config.head_dim)  # as the reference splits them
    if config.context_dim and (rest or not kv_heads or config.num_heads % kv_heads):
        raise section.error("cond_token_dim", f"must divide into heads of {config.head_dim}")


def _plain_feed_forward(section: Section) -> None:
    """Refuse feed-forward layers other than the published ones."""
    section.expect("mult", 4, 4)
    section.expect("glu", True, True)
    for key in ("no_bias", "use_conv"):
        section.expect(key, False, False)
    section.ignore(*IRRELEVANT["feed_forward"])
    section.finish()


def _norm(section: Section) -> tuple[bool, float]:
    """Return whether the norms have a bias, and their epsilon."""
    eps = section.number("eps", 1e-5)
    if not 0 < eps < 1:
        raise section.error("eps", f"must be between 0 and 1, not {eps}")
    section.expect("fix_scale", False, False)
    section.ignore(*IRRELEVANT["norm"])
    bias = section.flag("bias", False)
    section.finish()
    return bias, eps


def _require_expressible(config: DiTConfig) -> None:
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


def _to_json(config: DiTConfig) -> Json:
    _require_expressible(config)
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


TRANSFORMER = TransformerKind(
    read=_read,
    to_json=_to_json,
    build=DiT,
    rows=_rows,
    is_untrained=_is_untrained,
    check_untrained=_check_untrained,
    buffers=_buffers,
    columns=("model.model.timestep_features.weight",),
    optional=re.compile(f"{re.escape(INV_FREQ)}|{NORM_BIAS.pattern}"),
    as_stored=_as_stored,
)
