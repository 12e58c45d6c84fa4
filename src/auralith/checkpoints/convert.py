"""One layout into another, value by value: nothing is folded, cast or rounded on the way."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from auralith.checkpoints.attribution import carry_attribution
from auralith.checkpoints.choosing import FOUND, Files
from auralith.checkpoints.diffusers_folder import (
    require_expressible,
    write_diffusers,
    write_diffusers_autoencoder,
)
from auralith.checkpoints.opening import locate
from auralith.checkpoints.quantization import described, quantized, require_floats
from auralith.checkpoints.single_file import RawCheckpoint, write_raw
from auralith.checkpoints.text_encoders import copy_text_encoder, locate_text_encoder
from auralith.families.model_config import spec_to_json
from auralith.files import whole_folder
from auralith.tensor_files import sha256_of

Target = Literal["single-file", "diffusers"]
Format = Literal["int8"]


def convert(
    source: str | Path,
    out: Path,
    to: Target = "single-file",
    *,
    quantize: Format | None = None,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
) -> None:
    """Write a checkpoint of any layout into the new folder `out`, with its text encoder.

    `quantize` stores the large matrices of the transformer in int8, with a scale per row, as `load` computes with them.
    The single-file layout alone holds such weights.

    A training checkpoint is unwrapped, with the averaged weights (EMA) where it has them. The diffusers layout needs a
    text encoder: if none lies beside the weights it is fetched from the Hub. `out` appears whole or not at all.
    What names everybody whose sounds the model learned from comes along. Raises CheckpointError, also for models that
    the diffusers layout can't express.
    """
    raw = locate(source, with_text_encoder=text_encoder is None, files=files)
    if quantize is not None:
        require_floats(raw.source, raw.weights, "quantizing")
        raw = _quantized(raw)
    if to == "diffusers":
        require_floats(raw.source, raw.weights, "the diffusers layout")
    with whole_folder(out) as folder:
        if to == "diffusers" and raw.spec.model is None:
            write_diffusers_autoencoder(folder, raw)
        elif to == "diffusers":
            require_expressible(raw.spec)
            write_diffusers(folder, raw, locate_text_encoder(raw, text_encoder))
        else:
            write_raw(folder, raw)
            copy_text_encoder(raw, folder, text_encoder)
        carry_attribution(raw.folder, folder)


def _quantized(raw: RawCheckpoint) -> RawCheckpoint:
    raw.model  # noqa: B018 - an autoencoder alone has nothing to quantize
    config = described(raw.config_json or spec_to_json(raw.spec), sha256_of(raw.files))
    return replace(raw, weights=quantized(raw.weights, raw.spec), config_json=config)
