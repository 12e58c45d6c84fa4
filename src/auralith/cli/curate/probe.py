"""`auralith curate probe`, `fingerprint` and `duplicates`: measurements of sound files, and groups of equal ones."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.curate.options import Folder, Root, Workers

if TYPE_CHECKING:
    from auralith.curation.duplicates import DuplicateGroups


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(probe)
    app.command()(fingerprint)
    app.command()(duplicates)


def probe(
    folder: Folder,
    root: Root,
    set: Annotated[
        list[str] | None, typer.Option(help="Change any setting: --set max_hours=2.")
    ] = None,
    *,
    workers: Workers,
) -> None:
    """Decode every recording once: hashes, levels, loudness, bandwidth. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one, step_settings

    run_one(step_settings(folder, "probe", workers, set), "probe", root)


def fingerprint(folder: Folder, root: Root, *, workers: Workers) -> None:
    """Keep every recording's landmarks, and look for near duplicates by them. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one, step_settings

    run_one(step_settings(folder, None, workers), "fingerprint", root)


def duplicates(
    folder: Folder,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV of the groups: best member first.")
    ] = None,
) -> None:
    """Group recordings whose files, samples or landmarks agree. Prints how many there are."""
    from auralith.curation.duplicates import COLUMNS, find_duplicates, near_pairs
    from auralith.curation.settings import CurationSettings
    from auralith.curation.steps import step_of
    from auralith.curation.store import Store
    from auralith.errors import InvalidRequest
    from auralith.files import whole_file

    probed = Store(folder).read("probe", COLUMNS)
    if not probed.num_rows:
        raise InvalidRequest(
            f"{folder} has no probed recordings; auralith curate probe comes first"
        )
    pairs = near_pairs(Store(folder), step_of(CurationSettings(folder), "fingerprint"))
    found = find_duplicates(probed, pairs)
    if output is not None:
        with whole_file(output) as file:
            file.write(_as_csv(found).encode())
    print(f"{len(found.groups):,} groups of {len(found.group_of):,} recordings")
    print(f"{len(found.superfluous):,} would be removed with dedupe = true")


def _as_csv(found: "DuplicateGroups") -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["dup_group", "rec_id", "stays"])
    for name, group in found.groups.items():
        writer.writerows([name, member, member == group[0]] for member in group)
    return text.getvalue()
