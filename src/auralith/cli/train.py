"""`auralith train`: the stages of a recipe, in order or one by one; each resumes where it stopped."""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.progress import stage_progress, training_line

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
    with stage_progress() as show:
        for name in [s for s in Stage if s is not Stage.all] if stage is Stage.all else [stage]:
            if name is Stage.encode:
                for done in encode_corpus(settings, output, part, parts):
                    show(name.value, done.done, done.total, "")
            elif name is Stage.export:
                print(export(settings, output))
            else:
                for progress in _run(name, settings, output):
                    show(name.value, progress.step, progress.steps, training_line(progress))


def _run(stage: Stage, recipe: "Recipe", folder: Path) -> Iterator["Progress"]:
    from auralith.training.recipe import train_autoencoder, train_dit, train_text

    runs = {Stage.text: train_text, Stage.autoencoder: train_autoencoder, Stage.dit: train_dit}
    return runs[stage](recipe, folder)
