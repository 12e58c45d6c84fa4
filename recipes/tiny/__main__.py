"""Train a small model on procedural sound: `python -m recipes.tiny` in a clone; every stage resumes where it stopped.

Several processes share a stage under `accelerate launch -m recipes.tiny …` or `torchrun -m recipes.tiny …`.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.main import run
from auralith.settings import load_settings
from recipes.tiny.command import Stage, run_stages
from recipes.tiny.corpus import ProceduralCorpus
from recipes.tiny.stages import Recipe

RECIPE = Path(__file__).with_name("recipe.toml")
OneStage = Annotated[
    Stage | None, typer.Option(help="One stage; all of them in order if left out.")
]
Changes = Annotated[
    list[str] | None, typer.Option(help="Change a setting: --set dit_loop.steps=100.")
]
Part = Annotated[int, typer.Option(min=0, help="Part of the encoding that this process does.")]
Parts = Annotated[int, typer.Option(min=1, help="Processes that share the encoding.")]


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file.")] = RECIPE,
    stage: OneStage = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/tiny"),
    set: Changes = None,
    part: Part = 0,
    parts: Parts = 1,
) -> None:
    """Train the small model from nothing. Prints the model's folder last."""
    settings = load_settings(Recipe, recipe, set or ())
    run_stages(settings, ProceduralCorpus(), output, stage, part, parts)


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(train)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or [str(RECIPE)], app, "python -m recipes.tiny"))
