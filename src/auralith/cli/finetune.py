"""`auralith finetune`: a table of sounds and prompts in, a model out, as the model card promises."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options, Sets
from auralith.cli.options import (
    ConfigOption,
    DatasetArgument,
    PathColumn,
    TextEncoderOption,
    WeightsOption,
)
from auralith.cli.progress import print_once, show_events

FinetuneChanges = Annotated[
    Given,
    Options(
        "auralith.training.finetune.FinetuneSettings",
        steps="loop.steps",
        batch_size="dit.batch_size",
        accumulation="loop.accumulate",
        learning_rate="optimizer.learning_rate",
        rank="adapter.rank",
        dora=Sets("adapter.kind", "dora", "DoRA instead of LoRA."),
        optimizer="optimizer.kind",
        ema="loop.ema",
        precision="loop.precision",
        checkpoint_activations="checkpoint_activations",
        layout="layout",
        demo_every="demo.every",
        resample="encode.resample",
        prompt_column="prompt_column",
        device="loop.device",
        no_checks=Sets("checks", "none", "Start even if the model looks untrained."),
    ),
]
"""Settings that have an option of their own."""


def finetune(
    dataset: DatasetArgument,
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub name, folder, checkpoint file or model_config.json beside one; the embedded model if left out."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="New folder of the finished model.")
    ] = Path("finetuned_model"),
    full: Annotated[
        bool | None,
        typer.Option("--full/--lora", help="Train all weights, or an adapter (the default)."),
    ] = None,
    *,
    changes: FinetuneChanges,
    path_column: PathColumn = "path",
    text_encoder: TextEncoderOption = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Continue what OUTPUT_run holds.")
    ] = True,
    settings: Annotated[
        Path | None, typer.Option(help="TOML file with any settings; options win over it.")
    ] = None,
    set: Annotated[
        list[str] | None, typer.Option(help="Change any setting: --set loop.save_every=50.")
    ] = None,
) -> None:
    """Fine-tune a model on your sounds. Prints the folder of the finished model last."""
    from auralith.data.recordings import open_recordings
    from auralith.errors import InvalidRequest
    from auralith.pipeline import load
    from auralith.settings import load_settings
    from auralith.training.export import dataset_name
    from auralith.training.finetune import FinetuneSettings, default_settings, run_folder
    from auralith.training.finetune import finetune as run
    from auralith.training.processes import leave_processes
    from auralith.training.published import follow_model

    named = changes if full is None else changes | {"mode": "full" if full else "lora"}
    overrides = set or ()
    mode = load_settings(FinetuneSettings, settings, overrides, options=named).mode
    base = default_settings(mode)
    chosen = load_settings(FinetuneSettings, settings, overrides, base, named)
    folder = run_folder(output)
    if not resume and folder.exists():
        raise InvalidRequest(f"{folder} holds a run; resume it, delete it or name another output")
    recordings = open_recordings(
        dataset, path_column=path_column, prompt_column=chosen.prompt_column
    )
    loaded = load(
        model,
        device=chosen.loop.device,
        dtype="float32",
        text_encoder=text_encoder,
        weights=weights,
        config=config,
    )
    followed, notes = follow_model(base, loaded.config, loaded.checkpoint.training)
    chosen = load_settings(FinetuneSettings, settings, overrides, followed, named)
    show_events(run(loaded, recordings, output, chosen, dataset_name(dataset), notes))
    leave_processes()
    print_once(output)
