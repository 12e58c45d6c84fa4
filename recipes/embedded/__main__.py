"""Train the embedded model: `python -m recipes.embedded` in a clone; every stage resumes where it stopped.

Several processes share a stage under `accelerate launch -m recipes.embedded …` or `torchrun -m recipes.embedded …`.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from auralith.checkpoints.attribution import carry_attribution
from auralith.cli.main import run
from auralith.settings import load_settings
from recipes.embedded.corpus import Corpus, Library
from recipes.tiny.__main__ import Changes, OneStage, Part, Parts
from recipes.tiny.command import run_stages
from recipes.tiny.stages import Recipe

RECIPE = Path(__file__).with_name("recipe.toml")


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file.")] = RECIPE,
    recordings: Annotated[
        Path | None,
        typer.Option(help="Table of real recordings: path, caption, license. None if left out."),
    ] = None,
    stage: OneStage = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/embedded"),
    set: Changes = None,
    part: Part = 0,
    parts: Parts = 1,
) -> None:
    """Train the embedded model from nothing. Prints the model's folder last."""
    settings = load_settings(Recipe, recipe, set or ())
    corpus = Corpus(Library(recordings) if recordings else None)
    run_stages(settings, corpus, output, stage, part, parts)
    if recordings and (output / "model").is_dir():
        carry_attribution(recordings.parent, output / "model")


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(train)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or [str(RECIPE)], app, "python -m recipes.embedded"))
