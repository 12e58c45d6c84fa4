"""`auralith curate ingest`: recordings of one source into a curation."""

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from auralith.curation.sources import IngestProgress, Source
    from auralith.curation.store import Store

KEY_VARIABLE = "AURALITH_FREESOUND_KEY"


class Kind(StrEnum):
    """What an input is."""

    PACK = "pack"
    FREESOUND = "freesound"
    FMA = "fma"
    ATTRIBUTION = "attribution"
    FOLDER = "folder"
    TABLE = "table"


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
        Kind,
        typer.Option(
            "--from",
            help="pack: Freesound data pack; freesound: its API; fma: tracks.csv or raw_tracks.csv;"
            " attribution: id,title,author,license,url; folder: sounds with sidecars; table: any.",
        ),
    ] = Kind.FOLDER,
    root: Annotated[
        Path | None, typer.Option(help="Folder that the paths of the sounds start from.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Source in the ids, of a folder or table.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="Of a table: --column title=track_name.")
    ] = None,
    separator: Annotated[
        str | None, typer.Option(help="Between the members of a list in a table's cell.")
    ] = None,
    query: Annotated[str, typer.Option(help="Of a Freesound search; '' finds everything.")] = "",
    filter: Annotated[str, typer.Option(help="Of a Freesound search, as Solr writes it.")] = "",
    level: Annotated[
        int, typer.Option(min=1, max=3, help="Of the Freesound key; sets the request limits.")
    ] = 1,
) -> None:
    """Read recordings and their metadata. Prints how many rows became what.

    The API's key is read from AURALITH_FREESOUND_KEY.
    """
    from datetime import UTC, datetime

    from auralith.curation.inputs import remember_root, source_names
    from auralith.curation.settings import SourceSettings
    from auralith.curation.sources import ingest_steps, require_recordings
    from auralith.curation.sources.tables import MappedTable
    from auralith.curation.store import Store
    from auralith.tables.row import listed

    store = Store(folder)
    if kind is Kind.FREESOUND:
        source = _freesound(store, input, query, filter, level)
    else:
        source = _local(kind, _required(input), root, name, _columns(column or []), separator)
    if (sounds := input if kind is Kind.FOLDER else root) is not None:
        settings = SourceSettings(kind.value, input, root, name or "")
        remember_root(folder, source_names(settings), sounds)
    retrieved_at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    last = None
    for last in ingest_steps(store, source, retrieved_at):
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


def _local(
    kind: Kind,
    input: Path,
    root: Path | None,
    name: str | None,
    columns: Mapping[str, str],
    separator: str | None,
) -> "Source":
    from auralith.curation import sources

    if kind is Kind.FOLDER:
        return sources.FolderSource(input, name or "folder")
    if kind is Kind.TABLE:
        return sources.mapped_table(
            input, name or input.stem, columns, separator=separator, root=root
        )
    makers = {
        Kind.PACK: sources.data_pack,
        Kind.FMA: sources.fma_tracks,
        Kind.ATTRIBUTION: sources.stability_list,
    }
    return makers[kind](input, root)


def _freesound(store: "Store", ids: Path | None, query: str, filter: str, level: int) -> "Source":
    from auralith.curation.sources import FreesoundClient, FreesoundSearch, FreesoundSounds
    from auralith.errors import InvalidRequest

    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your Freesound API key there")
    levels: dict[int, Literal[1, 2, 3]] = {1: 1, 2: 2, 3: 3}
    client = FreesoundClient(key, store.folder / "freesound_api", level=levels[level])
    if ids is None:
        return FreesoundSearch(client, store, query, filter)
    return FreesoundSounds(client, store, _lines(ids))


def _lines(path: Path) -> list[str]:
    from auralith.errors import InvalidRequest

    try:
        return path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{path} can't be read ({error}); write one id a line") from error


def _required(input: Path | None) -> Path:
    from auralith.errors import InvalidRequest

    if input is None:
        raise InvalidRequest("no input is named; give a table or a folder after the curation's")
    return input


def _columns(pairs: list[str]) -> dict[str, str]:
    from auralith.errors import Field, InvalidRequest, shown

    if wrong := [pair for pair in pairs if not all(pair.partition("="))]:
        raise InvalidRequest(
            Field("column"), f" {shown(wrong[0])} maps no column; write title=track_name"
        )
    return dict(pair.split("=", 1) for pair in pairs)
