"""`auralith curate guard`: keep recordings of evaluation sets out of training."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.curate.options import Folder

if TYPE_CHECKING:
    from auralith.curation.guard import EvalSet


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(guard)


def guard(
    folder: Folder,
    set: Annotated[
        list[str] | None,
        typer.Option(
            help="Evaluation set and the CSV of its ids, --set clotho=clotho_metadata.csv; own sets"
            " as NAME@SOURCE:COLUMN=FILE; a name alone is compared by sound only."
        ),
    ] = None,
) -> None:
    """Refuse recordings that evaluation sets contain, by id and by sound. Prints the counts by set."""
    from auralith.cli.curate.steps import run_one
    from auralith.curation.guard import GuardSettings
    from auralith.curation.settings import CurationSettings

    chosen = GuardSettings(tuple(parse_set(text) for text in set or ()))
    run_one(CurationSettings(folder, guard=chosen), "guard")


def parse_set(text: str) -> "EvalSet":
    """Return the set in NAME, NAME=FILE or NAME@SOURCE:COLUMN=FILE."""
    from auralith.curation.guard import EvalSet
    from auralith.errors import Field, InvalidRequest, shown

    named, equals, file = text.partition("=")
    name, _, drawn = named.partition("@")
    source, _, column = drawn.partition(":")
    if not name or (equals and not file):
        raise InvalidRequest(
            Field("set"), f" {shown(text)} is not an evaluation set; write NAME=FILE"
        )
    return EvalSet(name, Path(file) if file else None, source, column)
