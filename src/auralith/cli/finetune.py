"""`auralith finetune`: a table of sounds and prompts in, a model out, as the model card promises."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.options import ConfigOption, WeightsOption
from auralith.cli.progress import print_once, show_events


def finetune(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="train_dataset.csv with path and prompt; also .jsonl, .parquet, folder, .tar."
        ),
    ],
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
        bool, typer.Option("--full/--lora", help="Train all weights, or an adapter (the default).")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Recordings of a step.")] = None,
    accumulation: Annotated[
        int | None, typer.Option(min=1, help="Parts a batch is taken in; saves memory.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.")] = None,
    rank: Annotated[int | None, typer.Option(min=1, help="Rank of the adapter.")] = None,
    dora: Annotated[bool, typer.Option("--dora", help="DoRA instead of LoRA.")] = False,
    optimizer: Annotated[str | None, typer.Option(help="adamw or adamw8bit.")] = None,
    ema: Annotated[
        str | None, typer.Option(help="Where the average lies: device, cpu or off.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="auto, float32, bfloat16 or float16 (with a GPU).")
    ] = None,
    checkpoint_activations: Annotated[
        bool,
        typer.Option("--checkpoint-activations", help="Compute activations twice; saves memory."),
    ] = False,
    layout: Annotated[
        str | None, typer.Option(help="Of the finished model: single-file, diffusers or both.")
    ] = None,
    demo_every: Annotated[
        int | None, typer.Option(min=0, help="Steps between sounds made on the way; 0: none.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Resample files at other rates instead of refusing.")
    ] = False,
    path_column: Annotated[str, typer.Option(help="Column of the sound files.")] = "path",
    prompt_column: Annotated[str, typer.Option(help="Column of the prompts.")] = "prompt",
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
    ] = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Continue what OUTPUT_run holds.")
    ] = True,
    no_checks: Annotated[
        bool, typer.Option("--no-checks", help="Start even if the model looks untrained.")
    ] = False,
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
    from auralith.training.published import follow_training

    mode = "full" if full else "lora"
    named = {
        "mode": mode,
        "loop.steps": steps,
        "loop.accumulate": accumulation,
        "loop.ema": ema,
        "loop.precision": precision,
        "loop.device": device,
        "dit.batch_size": batch_size,
        "optimizer.learning_rate": learning_rate,
        "optimizer.kind": optimizer,
        "adapter.rank": rank,
        "adapter.kind": "dora" if dora else None,
        "checkpoint_activations": "true" if checkpoint_activations else None,
        "layout": layout,
        "demo.every": demo_every,
        "encode.resample": "true" if resample else None,
        "checks": "none" if no_checks else None,
        "prompt_column": prompt_column,
    }
    overrides = [f"{name}={value}" for name, value in named.items() if value is not None]
    changes = [*overrides, *(set or ())]
    base = default_settings(mode)
    load_settings(FinetuneSettings, settings, changes, base)  # refused before a model is loaded
    folder = run_folder(output)
    if not resume and folder.exists():
        raise InvalidRequest(f"{folder} holds a run; resume it, delete it or name another output")
    recordings = open_recordings(dataset, path_column=path_column, prompt_column=prompt_column)
    loaded = load(
        model,
        device=device,
        dtype="float32",
        text_encoder=text_encoder,
        weights=weights,
        config=config,
    )
    followed = follow_training(base, loaded.checkpoint.training)
    chosen = load_settings(FinetuneSettings, settings, changes, followed.settings)
    show_events(run(loaded, recordings, output, chosen, dataset_name(dataset), followed.lines))
    leave_processes()
    print_once(output)
