"""`auralith curate ingest`: recordings of one source into a curation."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from auralith.cli.fields import Given, Options

if TYPE_CHECKING:
    from auralith.curation.sources import Column, IngestProgress


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(ingest)


def ingest(
    folder: Annotated[Path, typer.Argument(help="Folder of the curation; made if it isn't there.")],
    input: Annotated[
        Path | None,
        typer.Argument(help="Table or folder to read; for freesound a file of ids, one a line."),
    ] = None,
    kind: Annotated[
        Literal["pack", "freesound", "fma", "attribution", "folder", "table", "debian"],
        typer.Option(
            "--from",
            help="pack: Freesound data pack; freesound: its API; fma: tracks.csv or raw_tracks.csv;"
            " attribution: id,title,author,license,url; folder: sounds with sidecars; table: any; debian: the"
            " copyright file of an unpacked package (with --root).",
        ),
    ] = "folder",
    column: Annotated[
        list[str] | None, typer.Option(help="Column of a table: --column title=track_name.")
    ] = None,
    *,
    chosen: Annotated[
        Given,
        Options(
            "auralith.curation.sources.SourceSettings",
            *("name", "prefix", "separator", "query", "filter", "level"),
            root="sounds",
        ),
    ],
) -> None:
    """Read recordings and their metadata. Prints how many rows became what.

    The API's key is read from AURALITH_FREESOUND_KEY.
    """
    from auralith.curation.sources import SourceSettings, ingest_steps, require_recordings
    from auralith.curation.sources.intake import open_source, remember_roots, sound_roots
    from auralith.curation.sources.tables import MappedTable
    from auralith.curation.store import Store
    from auralith.errors import InvalidRequest
    from auralith.files import utc_now
    from auralith.settings import load_settings
    from auralith.tables.row import listed

    if input is None and kind != "freesound":
        raise InvalidRequest("no input is named; give a table or a folder after the curation's")
    columns = _columns(column or [])
    settings = load_settings(SourceSettings, options=chosen | {"kind": kind, "path": input})
    settings = replace(settings, columns=columns)
    store = Store(folder)
    source = open_source(settings, store)
    if roots := sound_roots([settings]):
        remember_roots(folder, roots)
    last = None
    for last in ingest_steps(store, source, utc_now()):
        print(f"{last.read} rows", file=sys.stderr)
    assert last is not None
    print(_summary(last))
    if isinstance(source, MappedTable) and (unused := source.unused()):
        print(f"columns not used: {listed(unused)}", file=sys.stderr)
    require_recordings(last, source)


def _summary(last: "IngestProgress") -> str:
    rejected = ", ".join(f"{count} {reason}" for reason, count in sorted(last.rejected.items()))
    total = sum(last.rejected.values())
    reasons = f" ({rejected})" if rejected else ""
    return (
        f"{last.read} rows: {last.added} new, {last.repeated} repeated, {total} rejected{reasons}"
    )


def _columns(pairs: list[str]) -> "tuple[Column, ...]":
    from auralith.curation.sources import Column
    from auralith.errors import Field, InvalidRequest, shown

    if wrong := [pair for pair in pairs if not all(pair.partition("="))]:
        raise InvalidRequest(
            Field("column"), f" {shown(wrong[0])} maps no column; write title=track_name"
        )
    return tuple(Column(*pair.split("=", 1)) for pair in pairs)
