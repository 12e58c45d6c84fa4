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
    quantize: Annotated[
        Literal["int8"] | None,
        typer.Option(
            help="Numbers of the large products of openvino's graphs; float32 if left out."
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="With --quantize: table of the prompts that the model is run on, or a .txt with one a line; six of our own "
            "if left out.",
        ),
    ] = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    text_encoder: TextEncoderOption = None,
) -> None:
    """Write text encoder, transformer and decoder as graphs that other runtimes compute. Prints the new folder."""
    from auralith import exporting
    from auralith.checkpoints import Files
    from auralith.cli.progress import stage_progress
    from auralith.pipeline import EMBEDDED
    from auralith.provenance import EMBEDDED_NAME

    source = EMBEDDED if model == EMBEDDED_NAME else model
    prompts = exporting.PROMPTS
    if calibration is not None:
        from auralith.evaluation.prompts import read_prompts

        prompts = tuple(prompt.text for prompt in read_prompts(calibration).prompts)
    with stage_progress() as show:
        exporting.export(
            source,
            out,
            to,
            quantize=quantize,
            calibration=prompts,
            text_encoder=text_encoder,
            files=Files(weights, config),
            show=lambda done, total: show("calibration", done, total, ""),
        )
    print(out)
