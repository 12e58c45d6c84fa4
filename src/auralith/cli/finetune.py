"""`auralith finetune`: a table of sounds and prompts in, a model out, as the model card promises."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Sets, given
from auralith.cli.options import ConfigOption, WeightsOption, grouped
from auralith.cli.progress import print_once, show_events


@dataclass(frozen=True)
class FinetuneChanges:
    """Settings that have an option of their own."""

    steps: Annotated[
        int | None, Sets("loop.steps"), typer.Option(min=1, help="Training steps.")
    ] = None
    batch_size: Annotated[
        int | None, Sets("dit.batch_size"), typer.Option(min=1, help="Recordings of a step.")
    ] = None
    accumulation: Annotated[
        int | None,
        Sets("loop.accumulate"),
        typer.Option(min=1, help="Parts a batch is taken in; saves memory."),
    ] = None
    learning_rate: Annotated[
        float | None, Sets("optimizer.learning_rate"), typer.Option(help="Highest learning rate.")
    ] = None
    rank: Annotated[
        int | None, Sets("adapter.rank"), typer.Option(min=1, help="Rank of the adapter.")
    ] = None
    dora: Annotated[
        bool, Sets("adapter.kind", "dora"), typer.Option("--dora", help="DoRA instead of LoRA.")
    ] = False
    optimizer: Annotated[
        str | None, Sets("optimizer.kind"), typer.Option(help="adamw or adamw8bit.")
    ] = None
    ema: Annotated[
        str | None,
        Sets("loop.ema"),
        typer.Option(help="Where the average lies: device, cpu or off."),
    ] = None
    precision: Annotated[
        str | None,
        Sets("loop.precision"),
        typer.Option(help="auto, float32, bfloat16 or float16 (with a GPU)."),
    ] = None
    checkpoint_activations: Annotated[
        bool,
        typer.Option("--checkpoint-activations", help="Compute activations twice; saves memory."),
    ] = False
    layout: Annotated[
        str | None, typer.Option(help="Of the finished model: single-file, diffusers or both.")
    ] = None
    demo_every: Annotated[
        int | None,
        Sets("demo.every"),
        typer.Option(min=0, help="Steps between sounds made on the way; 0: none."),
    ] = None
    resample: Annotated[
        bool,
        Sets("encode.resample"),
        typer.Option("--resample", help="Resample files at other rates instead of refusing."),
    ] = False
    prompt_column: Annotated[
        str | None, typer.Option(help="Column of the prompts; prompt if left out.")
    ] = None
    device: Annotated[
        str | None,
        Sets("loop.device"),
        typer.Option(help="auto (the default), cpu, cuda, cuda:1 or mps."),
    ] = None
    no_checks: Annotated[
        bool,
        Sets("checks", "none"),
        typer.Option("--no-checks", help="Start even if the model looks untrained."),
    ] = False


@grouped
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
        bool | None,
        typer.Option("--full/--lora", help="Train all weights, or an adapter (the default)."),
    ] = None,
    *,
    changes: FinetuneChanges,
    path_column: Annotated[str, typer.Option(help="Column of the sound files.")] = "path",
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
    ] = None,
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
    from auralith.training.published import follow_training

    named = given(changes)
    if full is not None:
        named["mode"] = "full" if full else "lora"
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
    followed = follow_training(base, loaded.checkpoint.training)
    chosen = load_settings(FinetuneSettings, settings, overrides, followed.settings, named)
    show_events(run(loaded, recordings, output, chosen, dataset_name(dataset), followed.lines))
    leave_processes()
    print_once(output)
