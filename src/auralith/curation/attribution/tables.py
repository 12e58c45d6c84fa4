"""The attribution as tables: Stability AI's schema, one with everything, and JSON lines.

`csv.writer` with its defaults writes the published FMA list byte for byte from what was read of it.
"""

import csv
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from auralith.curation.attribution.catalog import Catalog
from auralith.curation.attribution.entries import CHANGES, Entry
from auralith.curation.licenses import family_of

HEADER = ("id", "title", "author", "license", "url")
EXTENDED, LINES = "attribution_extended.csv", "attribution.jsonl"
_LABELS = {"cc0": "cc0", "cc-by": "ccby", "sampling+": "sampling+"}
_FIELDS = tuple(field.name for field in fields(Entry))
_EXTENDED = (
    *("rec_id", "title", "author", "author_url", "url", "license_spdx", "license_version"),
    *("license_uri", "retrieved_at", "sha256", "changes"),
)
_ABOUT = {
    EXTENDED: "all that is known, not for spreadsheets, which take titles that begin with = + - or @ for formulas",
    LINES: "the same and the length in seconds, a JSON object in each line",
}


def write_tables(catalog: Catalog, folder: Path) -> dict[str, str]:
    """Write all of them into `folder`, in the catalog's order, which has each source's recordings together.

    Their names, with a line that says what each holds.
    """
    about = {}
    for source, part in _by_source(catalog):
        name = f"{source}_attribution.csv"
        about[name] = f"the recordings from {source}, in the columns of Stability AI's lists"
        with _text(folder / name) as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows((e.source_id, e.title, e.author, _label(e), e.url or "") for e in part)
    with ExitStack() as stack:
        extended = csv.writer(stack.enter_context(_text(folder / EXTENDED)))
        lines = stack.enter_context(_text(folder / LINES))
        extended.writerow(_EXTENDED)
        for entry in catalog:
            told = {name: getattr(entry, name) for name in _FIELDS} | {"changes": CHANGES}
            extended.writerow([told[name] or "" for name in _EXTENDED])
            lines.write(json.dumps(told, ensure_ascii=False) + "\n")
    return about | _ABOUT


def _by_source(catalog: Catalog) -> Iterator[tuple[str, Catalog]]:
    for source in catalog.column("source").unique().to_pylist():
        yield source, catalog.of(source)


def _label(entry: Entry) -> str:
    """As the published lists name licenses; the SPDX id of what they have no name for."""
    family = family_of(entry.license_spdx)
    return _LABELS[family] if family else entry.license_spdx


def _text(path: Path) -> TextIO:
    """Line ends as the writer gives them, on every system."""
    return path.open("w", encoding="utf-8", newline="")
