"""One layout into another, value by value: nothing is folded, cast or rounded on the way."""

from pathlib import Path
from typing import Literal

from auralith.checkpoints.choosing import FOUND, Files
from auralith.checkpoints.diffusers_folder import (
    require_expressible,
    write_diffusers,
    write_diffusers_autoencoder,
)
from auralith.checkpoints.opening import locate
from auralith.checkpoints.single_file import write_raw
from auralith.checkpoints.text_encoders import copy_text_encoder, locate_text_encoder
from auralith.files import whole_folder

Target = Literal["single-file", "diffusers"]


def convert(
    source: str | Path,
    out: Path,
    to: Target = "single-file",
    *,
    text_encoder: str | Path | None = None,
    files: Files = FOUND,
) -> None:
    """Write a checkpoint of any layout into the new folder `out`, with its text encoder.

    A training checkpoint is unwrapped, with the averaged weights (EMA) where it has them. The diffusers layout needs a
    text encoder: if none lies beside the weights it is fetched from the Hub. `out` appears whole or not at all.
    Raises CheckpointError, also for models that the diffusers layout can't express.
    """
    raw = locate(source, with_text_encoder=text_encoder is None, files=files)
    with whole_folder(out) as folder:
        if to == "diffusers" and raw.spec.model is None:
            write_diffusers_autoencoder(folder, raw)
        elif to == "diffusers":
            require_expressible(raw.spec)
            write_diffusers(folder, raw, locate_text_encoder(raw, text_encoder))
        else:
            write_raw(folder, raw)
            copy_text_encoder(raw, folder, text_encoder)
