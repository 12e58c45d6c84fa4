"""Items as CSV: one row each, with empty cells for reviewer, decision, reason code and note; settled ones one row for
each decision.

Titles come from strangers, and spreadsheets run what begins with = + - or @: such a cell gets an apostrophe before it.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from auralith.curation.review.exchanged import Exported, Handed
from auralith.curation.review.queue import Entry
from auralith.errors import InvalidRequest
from auralith.tables import Row
from auralith.tables.delimited import header_names, text_rows

ANSWER = ("reviewer", "decision", "reason_code", "note")
_REQUIRED = ("item_id", "curation", "reviewer", "decision", "reason_code")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
_COLUMNS = (
    *(
        "item_id",
        "curation",
        "stage",
        "tier",
        "score",
        "rec_id",
        "title",
        "author",
        "album",
        "url",
        "path",
    ),
    *("ref_id", "ref_title", "ref_artist", "ref_album", "duration_delta_s", "state", *ANSWER),
)


def write(items: Sequence[Exported]) -> bytes:
    """The table in UTF-8 with a mark at its beginning, without which spreadsheets take it for something else."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for item in items:
        for row in _rows(item):
            writer.writerow([_cell(row[name]) for name in _COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def _rows(item: Exported) -> Iterator[dict[str, Any]]:
    if not item.case.settled:
        yield {**item.facts, **dict.fromkeys(ANSWER, ""), "reviewer": item.reviewer}
        return
    for one in item.case.decisions:
        yield {**item.facts, **{name: getattr(one, name) for name in ANSWER}}


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = str(value)
    return "'" + text if isinstance(value, str) and text.startswith(_FORMULA) else text


def read(text: str, reviewers: Mapping[str, str]) -> list[Handed]:
    """The rows of a table, as it was exported and filled in.

    Raises:
        InvalidRequest: it is no CSV or lacks a column.
    """
    columns = header_names(text)
    if missing := [name for name in _REQUIRED if name not in columns]:
        raise InvalidRequest(
            f"the table has no column {', '.join(missing)}; keep the columns of the export"
        )
    rows = text_rows(Path("the table"), io.StringIO(text, newline=""), pad=True)
    return [_handed(row, reviewers) for row in rows]


def _handed(row: Row, reviewers: Mapping[str, str]) -> Handed:
    place = f"line {row.line}"
    if row.problem == "row_unreadable":
        raise InvalidRequest(f"the table, {place} {row.reason}")
    if row.problem:
        return Handed(place, "", None, f"it {row.reason}")
    said = {name: (row.cells.get(name) or "").strip() for name in ("item_id", "curation", *ANSWER)}
    if not said["decision"]:
        return Handed(place, said["curation"], None)
    entry = Entry(
        item_id=said["item_id"],
        reviewer=reviewers.get(said["reviewer"], said["reviewer"]),
        decision=said["decision"].lower(),
        reason_code=said["reason_code"].lower() or None,
        note=said["note"],
    )
    return Handed(place, said["curation"], entry)
