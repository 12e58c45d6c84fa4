"""`auralith curate attribution build` and `verify`: the page that names everyone."""

import sys

import typer

from auralith.cli.curate.options import Changes, Folder, Recipe
from auralith.cli.lines import cell

_SHOWN = 20


def register(app: typer.Typer) -> None:
    """Add the commands."""
    attribution = typer.Typer(
        name="attribution", help="The page that names everyone.", no_args_is_help=True
    )
    attribution.command()(build)
    attribution.command()(verify)
    app.add_typer(attribution)


def build(
    folder: Folder,
    recipe: Recipe = None,
    set: Changes = None,
) -> None:
    """Write attribution/, of the manifest that is there. Prints the page to open."""
    from auralith.curation.publish.attribution import write_attribution
    from auralith.curation.settings import CurationSettings
    from auralith.settings import load_settings

    settings = load_settings(CurationSettings, recipe, set or ())
    print(write_attribution(folder, settings.publish))


def verify(folder: Folder) -> None:
    """Compare the pages with the manifest: exit code 1 and the first differences if they aren't one to one."""
    from auralith.curation.publish.attribution import verify_attribution

    differences = verify_attribution(folder)
    for difference in differences[:_SHOWN]:
        print(cell(difference))
    if differences:
        rest = len(differences) - _SHOWN
        more = f", {rest:,} more not shown" if rest > 0 else ""
        print(f"{len(differences):,} differences{more}", file=sys.stderr)
        raise typer.Exit(1)
    print("the pages and the manifest agree")
