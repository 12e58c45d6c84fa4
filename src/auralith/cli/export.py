"""`auralith export`: a model as graphs for other runtimes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from auralith.cli.options import ConfigOption, TextEncoderOption, WeightsOption


def export(
    model: Annotated[
        str,
        typer.Argument(
            help="Hub name, folder or checkpoint file; embedded for the model that comes along."
        ),
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The new folder.")],
    to: Annotated[Literal["onnx", "openvino"], typer.Option(help="The format of the graphs.")],
    weights: WeightsOption = None,
    config: ConfigOption = None,
    text_encoder: TextEncoderOption = None,
) -> None:
    """Write text encoder, transformer and decoder as graphs that other runtimes compute. Prints the new folder."""
    from auralith import exporting
    from auralith.checkpoints import Files
    from auralith.pipeline import EMBEDDED
    from auralith.provenance import EMBEDDED_NAME

    source = EMBEDDED if model == EMBEDDED_NAME else model
    exporting.export(
        source,
        out,
        to,
        text_encoder=text_encoder,
        files=Files(weights, config),
    )
    print(out)
