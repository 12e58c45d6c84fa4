"""The attribution as tables: Stability AI's schema, one with everything, and JSON lines.

`csv.writer` with its defaults writes the published FMA list byte for byte from what was read of it.
"""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from auralith.curation.attribution.entries import CHANGES, Entry, source_order
from auralith.curation.licenses import family_of

HEADER = ("id", "title", "author", "license", "url")
_LABELS = {"cc0": "cc0", "cc-by": "ccby", "sampling+": "sampling+"}
_EXTENDED = (
    *("rec_id", "title", "author", "author_url", "url", "license_spdx", "license_version"),
    *("license_uri", "retrieved_at", "sha256", "changes"),
)
_NOTE = (
    "SOURCE_attribution.csv has the columns of Stability AI's lists, with titles exactly as they are: some begin with"
    " = + - or @. attribution_extended.csv is not for spreadsheets, which would take such titles for formulas; read it as text.\n"
)


def write_tables(entries: Sequence[Entry], folder: Path) -> list[str]:
    """Write all of them into `folder`; their names."""
    ordered = sorted(entries, key=source_order)
    names = [f"{source}_attribution.csv" for source in dict.fromkeys(e.source for e in ordered)]
    for name in names:
        rows = [
            (e.source_id, e.title, e.author, _label(e), e.url or "")
            for e in ordered
            if name == f"{e.source}_attribution.csv"
        ]
        _write_csv(folder / name, HEADER, rows)
    told = [asdict(entry) | {"changes": CHANGES} for entry in ordered]
    extended = [[one[name] or "" for name in _EXTENDED] for one in told]
    _write_csv(folder / "attribution_extended.csv", _EXTENDED, extended)
    with (folder / "attribution.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in told)
    (folder / "ABOUT_THE_TABLES.txt").write_text(_NOTE)
    return [*names, "attribution_extended.csv", "attribution.jsonl"]


def _label(entry: Entry) -> str:
    """As the published lists name licenses; the SPDX id of what they have no name for."""
    family = family_of(entry.license_spdx)
    return _LABELS[family] if family else entry.license_spdx


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(text.getvalue().encode())
