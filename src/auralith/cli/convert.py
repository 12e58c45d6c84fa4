"""`auralith convert`: a checkpoint from one layout into another."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from auralith.cli.options import ConfigOption, TextEncoderOption, WeightsOption


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Hub name, folder or checkpoint file.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    to: Annotated[
        Literal["single-file", "diffusers"], typer.Option(help="The layout to write.")
    ] = "single-file",
    quantize: Annotated[
        Literal["int8"] | None,
        typer.Option(help="Store the large matrices of the transformer in int8; not bit for bit."),
    ] = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    text_encoder: TextEncoderOption = None,
) -> None:
    """Rewrite a checkpoint in another layout, bit for bit; unwraps training checkpoints. Prints the new folder."""
    from auralith import checkpoints

    checkpoints.convert(
        source,
        out,
        to,
        quantize=quantize,
        text_encoder=text_encoder,
        files=checkpoints.Files(weights, config),
    )
    print(out)
