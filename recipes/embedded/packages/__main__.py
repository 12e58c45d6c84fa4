"""Get and curate real recordings: `python -m recipes.embedded.packages FOLDER`; what is done is not done again."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.curate.publish import print_funnel
from auralith.cli.curate.steps import show_steps
from auralith.cli.main import run
from auralith.cli.progress import stage_progress
from auralith.curation.run import write_outputs
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.settings import load_settings
from recipes.embedded.packages.curation import curated, write_recipe
from recipes.embedded.packages.fetch import HERE, packages, unpacked
from recipes.embedded.packages.table import write_attribution, write_tables


def get(
    folder: Annotated[Path, typer.Argument(help="Folder for everything; one begun is continued.")],
    table: Annotated[
        Path, typer.Option("--packages", help="List of packages, with versions and hashes.")
    ] = HERE / "packages.toml",
) -> None:
    """Get the packages, curate their recordings, and write tables and ATTRIBUTION. Prints the funnel."""
    wanted = packages(table)
    with stage_progress() as show:
        for number, package in enumerate(wanted):
            show("packages", number, len(wanted), package.name)
            unpacked(package, folder / "downloads", folder / "packages")
        show("packages", len(wanted), len(wanted), "")
    recipe = write_recipe(folder, wanted)
    show_steps(curated(recipe))
    settings = load_settings(CurationSettings, recipe)
    print_funnel(write_outputs(Store(settings.folder), settings))
    for name, count in write_tables(folder).items():
        print(f"{folder / name}.csv: {count:,} recordings")
    print(write_attribution(folder, wanted))


app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False)
app.command()(get)

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:] or ["--help"], app, "python -m recipes.embedded.packages"))
