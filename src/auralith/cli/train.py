"""`auralith train`: a recipe from random weights to a checkpoint; every stage resumes where it stopped.

Also started by `accelerate launch -m auralith train …` or `torchrun -m auralith train …`.
"""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.progress import print_once, show_events


def train(
    recipe: Annotated[Path, typer.Argument(help="TOML file, such as those under recipes/.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the run; an existing one is resumed.")
    ] = Path("runs/run"),
    set: Annotated[
        list[str] | None, typer.Option(help="Change a setting: --set loop.steps=100.")
    ] = None,
) -> None:
    """Train an autoencoder or a transformer from random weights. Prints the result's folder last."""
    from auralith.errors import InvalidRequest
    from auralith.settings import read_toml
    from auralith.training.processes import leave_processes

    kind = read_toml(recipe).get("kind")
    if kind not in ("autoencoder", "transformer"):
        hint = "; python -m recipes.tiny trains it" if kind == "embedded" else ""
        raise InvalidRequest(
            f"{recipe}: kind is {kind!r}; it must be autoencoder or transformer{hint}"
        )
    _train_network(recipe, kind, output, set or [])
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
