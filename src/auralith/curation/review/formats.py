"""The file formats of an export: CSV for spreadsheets and Label Studio's JSON.

CSV has one row for each item, with empty cells for reviewer, decision, reason code and note; a settled item has one row
for each decision. Titles come from strangers, and spreadsheets run cells that begin with = + - or @, or with the full-width
forms of these: such a cell gets an apostrophe before it. So does what stands inside of a cell behind a semicolon, a tab or
a line end, where a spreadsheet that is set to another separator would begin a cell.
"""

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from auralith.curation.http import web_link
from auralith.curation.review.comparison import compared
from auralith.curation.review.queue import Case, NewDecision
from auralith.curation.review.rules import CHOICES, CODES, Decision
from auralith.errors import InvalidRequest
from auralith.foreign import parse_json
from auralith.tables import Row
from auralith.tables.delimited import header_names, text_rows

SHOWN = ("title", "author", "album", "url", "path")
"""Columns of the recording."""
REFERENCE = ("ref_id", "ref_title", "ref_artist", "ref_album", "duration_delta_s")
"""Columns of the strongest match."""


@dataclass(frozen=True)
class ExportedItem:
    """An exported item."""

    case: Case
    payload: Mapping[str, Any]
    curation: str
    reviewer: str
    audio_prefix: str

    @property
    def facts(self) -> dict[str, Any]:
        """Return flat columns for any table; text is untrusted."""
        item, recording = self.case.item, self.payload.get("recording") or {}
        match = next(iter(compared(self.payload).matches), None)
        best = match.side if match else None
        return {
            "item_id": item.item_id,
            "curation": self.curation,
            "stage": item.stage,
            "tier": item.tier,
            "score": item.score,
            "rec_id": item.rec_id,
            **{name: recording.get(name) for name in SHOWN},
            "ref_id": best and best.id,
            "ref_title": best and best.title,
            "ref_artist": best and best.author,
            "ref_album": best and best.album,
            "duration_delta_s": best and best.facts.get("duration_delta_s"),
            "state": self.case.state,
        }

    @property
    def audio(self) -> str:
        """Return the address of the sound for a player: its file, else its page, if that is a web address."""
        recording = self.payload.get("recording") or {}
        if recording.get("path"):
            return self.audio_prefix + quote(recording["path"])
        return web_link(recording.get("url")) or ""


@dataclass(frozen=True)
class ImportedRow:
    """A row of an imported file."""

    place: str
    """The place in the file, such as "line 3"; unique."""
    curation: str
    entry: NewDecision | None
    """None if the row has no decision."""
    problem: str = ""
    """Reason why the row can't be used; empty for a usable one."""


ANSWER = ("reviewer", "decision", "reason_code", "note")
_REQUIRED = ("item_id", "curation", "reviewer", "decision", "reason_code")
_BEFORE_FORMULA = re.compile(r'(?<![;|"\s])[;|"\s]*+(?=[=+@\uff1d\uff0b\uff0d\uff20-])')
"""Matches the signs from which spreadsheets calculate, with what may stand before them; those of East Asia read full-width signs alike."""
_SEPARATORS = frozenset(";|\t\r\n")
_COLUMNS = (
    "item_id",
    "curation",
    "stage",
    "tier",
    "score",
    "rec_id",
    *SHOWN,
    *REFERENCE,
    "state",
    *ANSWER,
)


def write_csv(items: Sequence[ExportedItem]) -> bytes:
    """Return the table in UTF-8 with a byte order mark, without which spreadsheets assume another encoding."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for item in items:
        for row in _csv_rows(item):
            writer.writerow([_csv_cell(row[name]) for name in _COLUMNS])
    return text.getvalue().encode("utf-8-sig")


def _csv_rows(item: ExportedItem) -> Iterator[dict[str, Any]]:
    if not item.case.settled:
        yield {**item.facts, **dict.fromkeys(ANSWER, ""), "reviewer": item.reviewer}
        return
    for one in item.case.decisions:
        yield {**item.facts, **{name: getattr(one, name) for name in ANSWER}}


def _csv_cell(value: object) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = _BEFORE_FORMULA.sub(_disarmed, value)
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def _disarmed(before: re.Match[str]) -> str:
    begins_cell = not before.start() or not _SEPARATORS.isdisjoint(before[0])
    return f"{before[0]}'" if begins_cell else before[0]


def read_csv(text: str, reviewers: Mapping[str, str]) -> list[ImportedRow]:
    """Return the rows of a table that was exported and filled in.

    Raises:
        InvalidRequest: the text is not CSV or lacks a column.
    """
    columns = header_names(text)
    if missing := [name for name in _REQUIRED if name not in columns]:
        raise InvalidRequest(
            f"the table has no column {', '.join(missing)}; keep the columns of the export"
        )
    rows = text_rows(Path("the table"), io.StringIO(text, newline=""), pad=True)
    return [_from_row(row, reviewers) for row in rows]


def _from_row(row: Row, reviewers: Mapping[str, str]) -> ImportedRow:
    place = f"line {row.line}"
    if row.problem == "row_unreadable":
        raise InvalidRequest(f"the table, {place} {row.reason}")
    if row.problem:
        return ImportedRow(place, "", None, f"it {row.reason}")
    cells = {name: (row.cells.get(name) or "").strip() for name in ("item_id", "curation", *ANSWER)}
    if not cells["decision"]:
        return ImportedRow(place, cells["curation"], None)
    entry = NewDecision(
        item_id=cells["item_id"],
        reviewer=reviewers.get(cells["reviewer"], cells["reviewer"]),
        decision=cells["decision"].lower(),
        reason_code=cells["reason_code"].lower() or None,
        note=cells["note"],
    )
    return ImportedRow(place, cells["curation"], entry)


_TEXTS = ("title", "author", "album", "tier", "ref_title", "ref_artist", "ref_album")


def labeling_config() -> str:
    """Return the XML of the labeling interface: a player for each sound, the decision, its reason and a note."""
    view = ElementTree.Element("View")
    for name in _TEXTS:
        ElementTree.SubElement(view, "Text", name=name, value=f"${name}")
    for name in ("audio", "ref_audio"):
        ElementTree.SubElement(view, "Audio", name=name, value=f"${name}")
    _choices(view, "decision", CHOICES, required="true")
    _choices(view, "reason_code", [code for codes in CODES.values() for code in codes])
    ElementTree.SubElement(view, "TextArea", name="note", toName="audio", maxSubmissions="1")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _choices(
    view: ElementTree.Element, name: str, values: Sequence[str], required: str = "false"
) -> None:
    settings = {"name": name, "toName": "audio", "choice": "single", "required": required}
    element = ElementTree.SubElement(view, "Choices", settings)
    for value in values:
        ElementTree.SubElement(element, "Choice", value=value)


def write_label_studio(items: Sequence[ExportedItem]) -> bytes:
    """Return the tasks as JSON, with `data`, `predictions` and `annotations`."""
    tasks = [_task(item) for item in items]
    return json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n"


def _task(item: ExportedItem) -> dict[str, Any]:
    facts = {name: "" if value is None else value for name, value in item.facts.items()}
    settled = item.case.decisions if item.case.settled else ()
    return {
        "data": {**facts, "audio": item.audio, "ref_audio": ""},
        "predictions": [_prediction(item)],
        "annotations": [_annotation(one) for one in settled],
    }


def _prediction(item: ExportedItem) -> dict[str, Any]:
    """Return the machine's result: only a match suggests removing."""
    case = item.case.item
    choice = "remove" if case.is_match else "unsure"
    score = {} if case.score is None else {"score": case.score}
    return {"model_version": case.evidence_key, **score, "result": [_choice("decision", choice)]}


def _annotation(one: Decision) -> dict[str, Any]:
    result = [_choice("decision", one.decision)]
    if one.reason_code:
        result.append(_choice("reason_code", one.reason_code))
    if one.note:
        value = {"text": [one.note]}
        result.append({"from_name": "note", "to_name": "audio", "type": "textarea", "value": value})
    return {"completed_by": {"username": one.reviewer}, "created_at": one.at, "result": result}


def _choice(name: str, value: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": "choices", "value": {"choices": [value]}}


def read_label_studio(text: str, reviewers: Mapping[str, str]) -> list[ImportedRow]:
    """Return the annotations of a JSON export; a task without one is blank.

    Raises:
        InvalidRequest: the text is not a list of tasks.
    """
    try:
        tasks = parse_json(text)
    except ValueError as error:
        raise InvalidRequest(
            f"the file is not JSON ({error}); export the project as JSON"
        ) from error
    if not isinstance(tasks, list):
        raise InvalidRequest(
            "the file is not a list of tasks; export the project as JSON (not JSON-MIN)"
        )
    return [
        one for number, task in enumerate(tasks, 1) for one in _from_task(number, task, reviewers)
    ]


def _from_task(number: int, task: object, reviewers: Mapping[str, str]) -> Iterator[ImportedRow]:
    place = f"task {number}"
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(task, dict) or not isinstance(data, dict):
        yield ImportedRow(
            place, "", None, "it has no data; export the project as JSON (not JSON-MIN)"
        )
        return
    curation = _text(data.get("curation"))
    annotations = [
        one for one in _list(task.get("annotations")) if not _mapping(one).get("was_cancelled")
    ]
    if not annotations:
        yield ImportedRow(place, curation, None)
    for position, annotation in enumerate(annotations, 1):
        entry = _from_annotation(_text(data.get("item_id")), _mapping(annotation), reviewers)
        yield ImportedRow(f"{place}, annotation {position}", curation, entry)


def _from_annotation(
    item_id: str, annotation: Mapping[str, Any], reviewers: Mapping[str, str]
) -> NewDecision:
    answer = {"decision": "", "reason_code": "", "note": ""}
    for result in map(_mapping, _list(annotation.get("result"))):
        name, value = _text(result.get("from_name")), _mapping(result.get("value"))
        words = _list(value.get("choices")) or _list(value.get("text"))
        if name in answer and words:
            answer[name] = " ".join(map(_text, words)).strip()
    who = _annotator(annotation.get("completed_by"))
    return NewDecision(
        item_id,
        reviewers.get(who, who),
        answer["decision"],
        answer["reason_code"] or None,
        answer["note"],
    )


def _annotator(completed_by: object) -> str:
    """Return the annotator's name: the account's user name, mail address or full name, else its number, to which
    `reviewers` may give a name."""
    if isinstance(completed_by, dict):
        full = f"{_text(completed_by.get('first_name'))} {_text(completed_by.get('last_name'))}"
        known = (_text(completed_by.get(name)) for name in ("username", "email"))
        return next(filter(None, (*known, full.strip())), _text(completed_by.get("id")))
    return _text(completed_by)


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
