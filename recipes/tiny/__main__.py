"""Train the embedded model: `python -m recipes.tiny` in a clone; every stage resumes where it stopped.

Several processes share a stage under `accelerate launch -m recipes.tiny …` or `torchrun -m recipes.tiny …`.
"""

import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.main import run
from auralith.cli.progress import stage_progress, training_line
from auralith.errors import InvalidRequest

if TYPE_CHECKING:
    from auralith.training.task import Progress
    from recipes.tiny.stages import Recipe

RECIPE = Path(__file__).with_name("recipe.toml")


class Stage(Enum):
    """The stages of the recipe, in their order."""

    text = "text"
    autoencoder = "autoencoder"
    encode = "encode"
    dit = "dit"
    export = "export"


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file.")] = RECIPE,
    stage: Annotated[
        Stage | None, typer.Option(help="One stage; all of them in order if left out.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/tiny"),
    set: Annotated[
        list[str] | None, typer.Option(help="Change a setting: --set dit_loop.steps=100.")
    ] = None,
    part: Annotated[
        int, typer.Option(min=0, help="Part of the encoding that this process does.")
    ] = 0,
    parts: Annotated[int, typer.Option(min=1, help="Processes that share the encoding.")] = 1,
) -> None:
    """Train the embedded model from nothing. Prints the model's folder last."""
    from auralith.settings import load_settings
    from auralith.training.processes import leave_processes
    from recipes.tiny.stages import Recipe, encode_corpus, export

    if part >= parts:
        raise InvalidRequest(f"--part is {part}; it must be below --parts, {parts}")
    settings = load_settings(Recipe, recipe, set or ())
    with stage_progress() as show:
        for one in Stage if stage is None else [stage]:
            if one is Stage.encode:
                for encoded in encode_corpus(settings, output, part, parts):
                    show(one.value, encoded.done, encoded.total, "")
            elif one is Stage.export:
                print(export(settings, output))
            else:
                for at in _train(one, settings, output):
                    show(one.value, at.step, at.steps, training_line(at))
    leave_processes()


def _train(stage: Stage, recipe: "Recipe", folder: Path) -> Iterator["Progress"]:
    from recipes.tiny.stages import train_autoencoder, train_dit, train_text

    runs = {Stage.text: train_text, Stage.autoencoder: train_autoencoder, Stage.dit: train_dit}
    return runs[stage](recipe, folder)


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(train)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or [str(RECIPE)], app, "python -m recipes.tiny"))
