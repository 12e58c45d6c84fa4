"""`auralith convert`: a checkpoint from one layout into another."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Hub name, folder or checkpoint file.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    to: Annotated[
        Literal["single-file", "diffusers"], typer.Option(help="The layout to write.")
    ] = "single-file",
    weights: Annotated[
        str | None,
        typer.Option(help="Name of the weights file, where a folder or repository has several."),
    ] = None,
    config: Annotated[
        str | None, typer.Option(help="The model's config, if it is not beside the weights.")
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
    ] = None,
) -> None:
    """Rewrite a checkpoint in another layout, bit for bit; unwraps training checkpoints. Prints the new folder."""
    from auralith import checkpoints

    checkpoints.convert(
        source, out, to, text_encoder=text_encoder, files=checkpoints.Files(weights, config)
    )
    print(out)
