"""`auralith train`: a recipe from random weights to a checkpoint; every stage resumes where it stopped.

Also started by `accelerate launch -m auralith train …` or `torchrun -m auralith train …`.
"""

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.progress import print_once, show_events, stage_progress, training_line

if TYPE_CHECKING:
    from auralith.training.recipe import Recipe
    from auralith.training.task import Progress


class Stage(Enum):
    """What `auralith train` can run."""

    text = "text"
    autoencoder = "autoencoder"
    encode = "encode"
    dit = "dit"
    export = "export"
    all = "all"


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file, such as those under recipes/.")],
    stage: Annotated[
        Stage, typer.Option(help="Of the embedded model: one stage, or all in order.")
    ] = Stage.all,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/run"),
    set: Annotated[
        list[str] | None, typer.Option(help="Change a setting: --set loop.steps=100.")
    ] = None,
    part: Annotated[int, typer.Option(min=0, help="Which part of the encoding to do.")] = 0,
    parts: Annotated[int, typer.Option(min=1, help="How many processes share it.")] = 1,
) -> None:
    """Train from nothing: the embedded model, an autoencoder or a transformer. Prints the result's folder last."""
    from auralith.errors import InvalidRequest
    from auralith.settings import read_toml
    from auralith.training.processes import leave_processes

    if part >= parts:
        raise InvalidRequest(f"part is {part}; it must be below parts, {parts}")
    kind = read_toml(recipe).get("kind", "embedded")
    if kind == "embedded":
        _train_embedded(recipe, stage, output, set or [], part, parts)
    elif kind in ("autoencoder", "transformer"):
        if stage is not Stage.all:
            raise InvalidRequest(f"a recipe of kind {kind!r} has no stages; leave --stage out")
        _train_network(recipe, kind, output, set or [])
    else:
        raise InvalidRequest(
            f"{recipe}: kind is {kind!r}; it must be embedded, autoencoder or transformer"
        )
    leave_processes()


def _train_network(path: Path, kind: str, folder: Path, overrides: list[str]) -> None:
    from auralith.settings import load_settings
    from auralith.training import scratch

    if kind == "autoencoder":
        settings = load_settings(scratch.AutoencoderRecipe, path, overrides)
        show_events(scratch.train_autoencoder(settings, folder))
        print_once(folder / "autoencoder")
    else:
        settings, notes = scratch.transformer_recipe(path, overrides)
        show_events(scratch.train_transformer(settings, folder, notes))
        print_once(folder / "model")


def _train_embedded(
    path: Path, stage: Stage, folder: Path, overrides: list[str], part: int, parts: int
) -> None:
    from auralith.settings import load_settings
    from auralith.training.recipe import Recipe, encode_corpus, export

    settings = load_settings(Recipe, path, overrides)
    with stage_progress() as show:
        for name in [s for s in Stage if s is not Stage.all] if stage is Stage.all else [stage]:
            if name is Stage.encode:
                for done in encode_corpus(settings, folder, part, parts):
                    show(name.value, done.done, done.total, "")
            elif name is Stage.export:
                print(export(settings, folder))
            else:
                for progress in _run(name, settings, folder):
                    show(name.value, progress.step, progress.steps, training_line(progress))


def _run(stage: Stage, recipe: "Recipe", folder: Path) -> Iterator["Progress"]:
    from auralith.training.recipe import train_autoencoder, train_dit, train_text

    runs = {Stage.text: train_text, Stage.autoencoder: train_autoencoder, Stage.dit: train_dit}
    return runs[stage](recipe, folder)
