"""The transformer of Stable Audio 3 in `model_config.json` and under its published names.

The rotary `inv_freq` of published files carries no information: it is recomputed.
"""

import re
from functools import partial

import torch

from auralith.config import MemoryDiTConfig
from auralith.families.family import NameRow, TransformerKind, nest
from auralith.families.sections import IRRELEVANT, Section
from auralith.families.stable_audio_1.transformer import (
    INV_FREQ,
    LARGEST_DEPTH,
    inverse_frequencies,
)
from auralith.foreign import Json
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.models.memory_dit import MemoryDiT

LARGEST_MULTIPLE = 64
NORM_EPS = 1e-5

ROWS = (
    NameRow("timestep_embed", "to_timestep_embed", "to_timestep_embed"),
    NameRow("context_embed", "to_cond_embed", "to_cond_embed"),
    NameRow("global_embed", "to_global_embed", "to_global_embed"),
    NameRow("conv_in", "preprocess_conv", "preprocess_conv"),
    NameRow("conv_out", "postprocess_conv", "postprocess_conv"),
    NameRow("project_in", "transformer.project_in", "proj_in"),
    NameRow("project_out", "transformer.project_out", "proj_out"),
    NameRow("memory", "transformer.memory_tokens", "memory_tokens"),
    NameRow("modulation", "transformer.global_cond_embedder", "global_cond_embedder"),
)
BLOCK = (
    NameRow("self_attention_norm.scale", "pre_norm.gamma", "pre_norm.gamma"),
    NameRow("self_attention.qkv", "self_attn.to_qkv", "self_attn.to_qkv"),
    NameRow("self_attention.out", "self_attn.to_out", "self_attn.to_out"),
    NameRow("self_attention.q_norm.scale", "self_attn.q_norm.gamma", "self_attn.q_norm.gamma"),
    NameRow("self_attention.k_norm.scale", "self_attn.k_norm.gamma", "self_attn.k_norm.gamma"),
    NameRow("cross_attention_norm.scale", "cross_attend_norm.gamma", "cross_attend_norm.gamma"),
    NameRow("cross_attention.q", "cross_attn.to_q", "cross_attn.to_q"),
    NameRow("cross_attention.kv", "cross_attn.to_kv", "cross_attn.to_kv"),
    NameRow("cross_attention.out", "cross_attn.to_out", "cross_attn.to_out"),
    NameRow("cross_attention.q_norm.scale", "cross_attn.q_norm.gamma", "cross_attn.q_norm.gamma"),
    NameRow("cross_attention.k_norm.scale", "cross_attn.k_norm.gamma", "cross_attn.k_norm.gamma"),
    NameRow("local_embed", "to_local_embed", "to_local_embed"),
    NameRow("feed_forward_norm.scale", "ff_norm.gamma", "ff_norm.gamma"),
    NameRow("feed_forward.up", "ff.ff.0.proj", "ff.proj_in"),
    NameRow("feed_forward.down", "ff.ff.2", "ff.proj_out"),
    NameRow("modulation", "to_scale_shift_gate", "to_scale_shift_gate"),
)
FIXED = {
    "transformer_type": "continuous_transformer",
    "global_cond_type": "adaLN",
    "timestep_features_type": "expo",
    "timestep_cond_type": "global",
    "norm_type": "rms_norm",
    "project_cond_tokens": True,
    "project_global_cond": True,
    "patch_size": 1,
    "final_cross_attn_ix": -1,
    "input_concat_dim": 0,
    "prepend_cond_dim": 0,
    "rotary_pos_emb": True,
    "timestep_features_logsnr": False,
    "use_abs_pos_emb": False,
    "use_sinusoidal_emb": False,
    "causal": False,
    "conformer": False,
    "remove_norms": False,
    "add_rope": False,
    "layer_scale": False,
}
"""Keys with the one value that the network has; what the reference takes for an absent one is `DEFAULTS`, or the same."""
DEFAULTS = {
    "global_cond_type": "prepend",
    "timestep_features_type": "learned",
    "norm_type": "layer_norm",
}


def _read(section: Section, conditional: bool) -> MemoryDiTConfig:
    if not conditional:
        raise section.error("cond_token_dim", "is missing; models of this kind are conditional")
    attention = section.section("attn_kwargs")
    attention.expect("qk_norm", "rms", "none")
    differential = attention.flag("differential", False)
    attention.expect("feat_scale", False, False)
    attention.finish()
    config = MemoryDiTConfig(
        latent_channels=section.integer("io_channels"),
        embed_dim=section.integer("embed_dim"),
        depth=section.integer("depth", maximum=LARGEST_DEPTH),
        num_heads=section.integer("num_heads"),
        context_dim=section.integer("cond_token_dim"),
        global_dim=section.integer("global_cond_dim"),
        extra_channels=section.integer("local_add_cond_dim"),
        num_memory_tokens=section.integer("num_memory_tokens", 0, minimum=0),
        differential=differential,
        hidden_multiple=_hidden_multiple(section.section("ff_kwargs", optional=True)),
        norm_eps=_norm_eps(section.section("norm_kwargs", optional=True)),
    )
    for key, value in FIXED.items():
        section.expect(key, value, DEFAULTS.get(key, value))
    section.ignore(*IRRELEVANT["transformer"])
    section.finish()
    if config.embed_dim % config.num_heads:
        raise section.error("embed_dim", f"must divide into num_heads, {config.num_heads}")
    if config.head_dim % 2 or config.head_dim < config.rotary_dim:
        raise section.error("num_heads", "must give heads of an even width of at least 32")
    return config


def _hidden_multiple(section: Section) -> float:
    multiple = section.number("mult", 4)
    if not 0 < multiple <= LARGEST_MULTIPLE:
        raise section.error("mult", f"must be above 0, up to {LARGEST_MULTIPLE}, not {multiple}")
    section.expect("glu", True, True)
    for key in ("no_bias", "use_conv"):
        section.expect(key, False, False)
    section.ignore(*IRRELEVANT["feed_forward"])
    section.finish()
    return multiple


def _norm_eps(section: Section) -> float:
    eps = section.number("eps", NORM_EPS)
    if not 0 < eps < 1:
        raise section.error("eps", f"must be between 0 and 1, not {eps}")
    section.expect("fix_scale", False, False)
    section.ignore(*IRRELEVANT["norm"])
    section.finish()
    return eps


def _to_json(config: MemoryDiTConfig) -> Json:
    norm: Json = {"force_fp32": True}
    if config.norm_eps != NORM_EPS:
        norm["eps"] = config.norm_eps
    return {
        "io_channels": config.latent_channels,
        "embed_dim": config.embed_dim,
        "depth": config.depth,
        "num_heads": config.num_heads,
        "cond_token_dim": config.context_dim,
        "global_cond_dim": config.global_dim,
        "local_add_cond_dim": config.extra_channels,
        "global_cond_type": "adaLN",
        "timestep_features_type": "expo",
        "norm_type": "rms_norm",
        "norm_kwargs": norm,
        "ff_kwargs": {"mult": config.hidden_multiple},
        "num_memory_tokens": config.num_memory_tokens,
        "attn_kwargs": {"qk_norm": "rms", "differential": config.differential},
    }


def _rows(config: MemoryDiTConfig) -> tuple[NameRow, ...]:
    rows = (*ROWS, NameRow(None, "transformer.rotary_pos_emb", "rotary_pos_emb"))
    for index in range(config.depth):
        names = NameRow(
            f"blocks.{index}", f"transformer.layers.{index}", f"transformer_blocks.{index}"
        )
        rows += nest(names, BLOCK)
    return rows


def _is_untrained(config: MemoryDiTConfig, name: str) -> bool:
    return name == INV_FREQ


def _block_orders(config: MemoryDiTConfig) -> dict[str, tuple[int, ...]]:
    """Queries and keys of both pairs: q, k, v, q′, k′ published, and q, q′, k, k′, v in diffusers."""
    return {"self_attn.to_qkv.weight": (0, 3, 1, 4, 2)} if config.differential else {}


def _check_untrained(config: MemoryDiTConfig, published: Weights) -> None:
    """Accept everything: what is recomputed can't have been trained."""


def _buffers(config: MemoryDiTConfig, published: Weights) -> Weights:
    stored = published.get(INV_FREQ)
    # rounded to half precision, the rotary table is wrong for long sounds
    if stored is not None and stored.dtype is torch.float32:
        return {}
    read = partial(inverse_frequencies, config.rotary_dim)
    return {INV_FREQ: LazyTensor((config.rotary_dim // 2,), torch.float32, read)}


def _as_stored(config: MemoryDiTConfig, published: Weights) -> MemoryDiTConfig:
    return config


TRANSFORMER = TransformerKind(
    read=_read,
    to_json=_to_json,
    build=MemoryDiT,
    rows=_rows,
    is_untrained=_is_untrained,
    check_untrained=_check_untrained,
    buffers=_buffers,
    columns=(),
    optional=re.compile(re.escape(INV_FREQ)),
    as_stored=_as_stored,
    is_split=False,
    block_orders=_block_orders,
    has_lengths=True,
    inputs="local_add_cond",
)
