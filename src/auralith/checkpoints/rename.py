"""Tensor names: ours, those of the published single file, those of the diffusers folder. One table, read both ways.

A row pairs the dotted beginnings of names; the longest row that fits a name is used and the rest of the name is kept.
Rows are nested like the modules they name. `None` means that the column has no such tensor. Two things are finer than
names: diffusers keeps queries, keys and values apart (`FUSED`), and the published autoencoder stores weight norm
(`weight_g`, `weight_v`) where ours has the folded `weight`.
"""

from typing import Literal, NamedTuple

from auralith.checkpoints.config_json import Spec
from auralith.config import OobleckConfig


class Row(NamedTuple):
    ours: str | None
    single_file: str | None
    diffusers: str | None


Column = Literal["ours", "single_file", "diffusers"]
Prefixes = dict[str, str]

DIT = (
    Row("timestep_features.frequencies", "timestep_features.weight", "time_proj.weight"),
    Row("timestep_embed", "to_timestep_embed", "timestep_proj"),
    Row("context_embed", "to_cond_embed", "cross_attention_proj"),
    Row("global_embed", "to_global_embed", "global_proj"),
    Row("conv_in", "preprocess_conv", "preprocess_conv"),
    Row("conv_out", "postprocess_conv", "postprocess_conv"),
    Row("project_in", "transformer.project_in", "proj_in"),
    Row("project_out", "transformer.project_out", "proj_out"),
    Row("positions", "transformer.pos_emb.emb", None),
    Row("modulation", "transformer.global_cond_embedder", None),
    Row(None, "transformer.rotary_pos_emb", None),
)

BLOCK = (
    Row("self_attention_norm.scale", "pre_norm.gamma", "norm1.weight"),
    Row("self_attention_norm.bias", "pre_norm.beta", "norm1.bias"),
    Row("self_attention.qkv", "self_attn.to_qkv", "attn1.to_qkv"),
    Row("self_attention.out", "self_attn.to_out", "attn1.to_out.0"),
    Row("self_attention.q_norm", "self_attn.q_norm", None),
    Row("self_attention.k_norm", "self_attn.k_norm", None),
    Row("cross_attention_norm.scale", "cross_attend_norm.gamma", "norm2.weight"),
    Row("cross_attention_norm.bias", "cross_attend_norm.beta", "norm2.bias"),
    Row("cross_attention.q", "cross_attn.to_q", "attn2.to_q"),
    Row("cross_attention.kv", "cross_attn.to_kv", "attn2.to_kv"),
    Row("cross_attention.out", "cross_attn.to_out", "attn2.to_out.0"),
    Row("cross_attention.q_norm", "cross_attn.q_norm", None),
    Row("cross_attention.k_norm", "cross_attn.k_norm", None),
    Row("feed_forward_norm.scale", "ff_norm.gamma", "norm3.weight"),
    Row("feed_forward_norm.bias", "ff_norm.beta", "norm3.bias"),
    Row("feed_forward.up", "ff.ff.0.proj", "ff.net.0.proj"),
    Row("feed_forward.down", "ff.ff.2", "ff.net.2"),
    Row("modulation", "to_scale_shift_gate", None),
)

NUMBER = (
    Row("frequencies", "0.weights", "0.weights"),
    Row("linear", "1", "1"),
)

# ends of diffusers names that hold the rows of one of our tensors
FUSED = {
    "to_qkv.weight": ("to_q.weight", "to_k.weight", "to_v.weight"),
    "to_kv.weight": ("to_k.weight", "to_v.weight"),
}

# ids of the number embedders → the projection model's names
PROJECTIONS = {
    "seconds_start": "projection_model.start_number_conditioner.time_positional_embedding",
    "seconds_total": "projection_model.end_number_conditioner.time_positional_embedding",
}
TEXT_PROJECTION = "projection_model.text_projection"


def nest(outer: Row, rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """The rows below a module that has the names in `outer`."""
    return tuple(
        Row(*(f"{a}.{b}" if a and b else None for a, b in zip(outer, row, strict=True)))
        for row in rows
    )


def snake(ours: str, single_file: str, diffusers: str) -> tuple[Row, ...]:
    rows = (Row("log_alpha", "alpha", "alpha"), Row("log_beta", "beta", "beta"))
    return nest(Row(ours, single_file, diffusers), rows)


def residual_units(first_layer: int) -> tuple[Row, ...]:
    unit = (
        *snake("snake1", "layers.0", "snake1"),
        Row("conv1", "layers.1", "conv1"),
        *snake("snake2", "layers.2", "snake2"),
        Row("conv2", "layers.3", "conv2"),
    )
    rows: tuple[Row, ...] = ()
    for index in range(3):
        names = Row(f"units.{index}", f"layers.{first_layer + index}", f"res_unit{index + 1}")
        rows += nest(names, unit)
    return rows


def oobleck_rows(num_blocks: int) -> tuple[Row, ...]:
    encoder = (*residual_units(0), *snake("snake", "layers.3", "snake1"))
    decoder = (*snake("snake", "layers.0", "snake1"), *residual_units(2))
    blocks = {
        "encoder": (*encoder, Row("conv", "layers.4", "conv1")),
        "decoder": (*decoder, Row("conv", "layers.1", "conv_t1")),
    }
    rows: tuple[Row, ...] = ()
    for side, block in blocks.items():
        inside = (
            Row("conv_in", "layers.0", "conv1"),
            *snake("snake", f"layers.{num_blocks + 1}", "snake1"),
            Row("conv_out", f"layers.{num_blocks + 2}", "conv2"),
        )
        for index in range(num_blocks):
            inside += nest(Row(f"blocks.{index}", f"layers.{index + 1}", f"block.{index}"), block)
        rows += nest(Row(side, side, side), inside)
    return rows


def rows_of(spec: Spec) -> tuple[Row, ...]:
    """Every row of a model; our names begin with `autoencoder.`, `dit.` or `numbers.`."""
    if isinstance(spec.autoencoder, OobleckConfig):
        inside = oobleck_rows(len(spec.autoencoder.strides))
        rows = nest(Row("autoencoder", "pretransform.model", "vae"), inside)
    else:
        rows = (Row("autoencoder", "pretransform.model", None),)
    if spec.model is None:
        return rows
    for number in spec.numbers:
        ours, published = f"numbers.{number.id}", f"conditioner.conditioners.{number.id}"
        if number.kind == "int":
            rows += (Row(f"{ours}.table", f"{published}.int_embedder", None),)
        else:
            names = Row(ours, f"{published}.embedder.embedding", PROJECTIONS.get(number.id))
            rows += nest(names, NUMBER)
    if spec.model.is_conditional:
        text = spec.model.text.id
        published = f"conditioner.conditioners.{text}.proj_out"
        rows += (Row(f"numbers.{text}", published, TEXT_PROJECTION),)
    inside = DIT
    for index in range(spec.model.dit.depth):
        names = Row(f"blocks.{index}", f"transformer.layers.{index}", f"transformer_blocks.{index}")
        inside += nest(names, BLOCK)
    return rows + nest(Row("dit", "model.model", "transformer"), inside)


def prefixes(spec: Spec, source: Column, target: Column) -> Prefixes:
    """The table as a dictionary from one column to another."""
    pairs = ((getattr(row, source), getattr(row, target)) for row in rows_of(spec))
    return {a: b for a, b in pairs if a is not None and b is not None}


def rename(name: str, table: Prefixes) -> str | None:
    """The name in the table's target column, or None if it has no such tensor."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        prefix = table.get(".".join(parts[:cut]))
        if prefix is not None:
            return ".".join((prefix, *parts[cut:]))
    return None
