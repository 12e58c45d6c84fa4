"""`auralith train`: the stages of a recipe, in order or one by one; each resumes where it stopped."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auralith.training.loop import Progress
    from auralith.training.recipe import Recipe


class Stage(Enum):
    """What `auralith train` can run."""

    text = "text"
    autoencoder = "autoencoder"
    encode = "encode"
    dit = "dit"
    export = "export"
    all = "all"


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file, such as recipes/tiny/recipe.toml.")],
    stage: Annotated[Stage, typer.Option(help="One stage, or all in order.")] = Stage.all,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/tiny"),
    set: Annotated[
        list[str] | None, typer.Option(help="Change a setting: --set dit_loop.steps=100.")
    ] = None,
    part: Annotated[int, typer.Option(min=0, help="Which part of the encoding to do.")] = 0,
    parts: Annotated[int, typer.Option(min=1, help="How many processes share it.")] = 1,
) -> None:
    """Train the embedded model from nothing. Prints the folder of the finished model last."""
    from auralith.errors import InvalidRequest
    from auralith.settings import load_settings
    from auralith.training.recipe import Recipe, encode_corpus, export

    settings = load_settings(Recipe, recipe, set or ())
    if part >= parts:
        raise InvalidRequest(f"part is {part}; it must be below parts, {parts}")
    output.mkdir(parents=True, exist_ok=True)
    for name in [s for s in Stage if s is not Stage.all] if stage is Stage.all else [stage]:
        if name is Stage.encode:
            clips = settings.corpus.clips
            _show(
                ((done, clips, "") for done in encode_corpus(settings, output, part, parts)), name
            )
        elif name is Stage.export:
            print(export(settings, output))
        else:
            _show(_training_lines(_run(name, settings, output)), name)


def _run(stage: Stage, recipe: "Recipe", folder: Path) -> Iterator["Progress"]:
    from auralith.training.recipe import train_autoencoder, train_dit, train_text

    runs = {Stage.text: train_text, Stage.autoencoder: train_autoencoder, Stage.dit: train_dit}
    return runs[stage](recipe, folder)


def _training_lines(steps: Iterator["Progress"]) -> Iterator[tuple[int, int, str]]:
    for progress in steps:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in progress.losses.items())
        yield progress.step, progress.steps, f"{losses}  {progress.seconds:.2f} s/step"


def _show(steps: Iterator[tuple[int, int, str]], stage: Stage) -> None:
    """A progress bar on stderr; where that is no terminal, a line every so often."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn(stage.value),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        for done, total, text in steps:
            bar.update(task, completed=done, total=total, description=text)
            if not console.is_terminal and (done % 100 == 0 or done == total):
                console.print(f"{stage.value} {done}/{total}  {text}", highlight=False)
