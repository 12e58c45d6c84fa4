"""`auralith encode`: a dataset's latents and text states, computed once for many trainings."""

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.lines import warn
from auralith.cli.options import (
    ConfigOption,
    DatasetArgument,
    Device,
    ModelOption,
    PathColumn,
    TextEncoderOption,
    WeightsOption,
)
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.data.recording import Recordings
    from auralith.training.encode import EncodeProgress
    from auralith.training.encoder import LatentEncoder


_MOST_NAMED = 20
"""Files that can't be used, on the terminal."""


def encode(
    dataset: DatasetArgument,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the latents; one begun is continued.")
    ],
    model: ModelOption = None,
    text_encoder: TextEncoderOption = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    path_column: PathColumn = "path",
    prompt_column: Annotated[
        str, typer.Option(help="Column of the prompts; '' makes them from the other columns.")
    ] = "prompt",
    *,
    changes: Annotated[
        Given,
        Options(
            "auralith.training.encode.EncodeOptions", "variants", "resample", shard_size="shard_mb"
        ),
    ],
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="Change any setting: --set prompts.vary_case=false, --set dtype=float32."
        ),
    ] = None,
    part: Annotated[int, typer.Option(min=0, help="Which part of the shards to make.")] = 0,
    parts: Annotated[int, typer.Option(min=1, help="How many processes share them.")] = 1,
    device: Device = "auto",
    dtype: Annotated[
        str, typer.Option(help="What to calculate in: auto, float32, bfloat16 or float16.")
    ] = "float32",
) -> None:
    """Encode a dataset for training. Prints the folder of the latents last."""
    from auralith.data.recordings import open_recordings
    from auralith.pipeline import load
    from auralith.resources import choose_dtype
    from auralith.settings import load_settings
    from auralith.training.encode import EncodeOptions, encode_dataset
    from auralith.training.encoder import LatentEncoder

    options = load_settings(EncodeOptions, overrides=set or (), options=changes)
    recordings = open_recordings(
        dataset, path_column=path_column, prompt_column=prompt_column or None
    )
    loaded = load(
        model,
        device=device,
        dtype="float32",
        text_encoder=text_encoder,
        weights=weights,
        config=config,
    )
    encoder = LatentEncoder.of(loaded, choose_dtype(dtype, loaded.device))
    _show(encode_dataset(encoder, recordings, output, options, part=part, parts=parts), output)
    _verify(encoder, recordings, output)
    print(output)


def _show(steps: Iterator["EncodeProgress"], folder: Path) -> None:
    started, bad = time.monotonic(), 0
    with stage_progress() as show:
        for step in steps:
            bad = step.bad
            rate = step.seconds / max(time.monotonic() - started, 1e-3)
            show("encode", step.done, step.total, f"{rate:.1f} × real time, {bad} failed")
    if bad:
        _warn(bad, folder / "report.json")


def _warn(bad: int, report: Path) -> None:
    """Name files that can't be used, the first ones where there are many."""
    for one in json.loads(report.read_text(encoding="utf-8"))["bad"][:_MOST_NAMED]:
        warn(one["reason"])
    warn(f"{bad} files can't be used; {report} names them")


def _verify(encoder: "LatentEncoder", recordings: "Recordings", folder: Path) -> None:
    """Decode the beginning of the first recording from what was stored, and say how close it is."""
    from auralith.data.latent_header import CacheHeader
    from auralith.data.latents import LatentCache
    from auralith.metrics.codec import si_sdr
    from auralith.training.encoder import stored_reconstruction

    missing = CacheHeader.read(folder).missing_shards(folder)
    if missing:
        print(f"{len(missing)} shards of other parts are missing", file=sys.stderr)
        return
    cache = LatentCache.open(folder, encoder.autoencoder_hash, verify=False)
    decoded, original = stored_reconstruction(encoder, cache, recordings)
    print(
        f"{cache.record(0).path} decoded from its latents: SI-SDR {float(si_sdr(decoded, original)):.1f} dB",
        file=sys.stderr,
    )
