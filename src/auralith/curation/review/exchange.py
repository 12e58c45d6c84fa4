"""Export items to other tools and import decisions, as CSV for spreadsheets or as Label Studio's JSON.

An export lists open items without decisions; settled items, with theirs, only on request. An import enters decisions as
if each had been typed: by the same rules, in one transaction, appended and never overwriting. Rows are matched by
`item_id`; a file of another curation is refused whole, a row that can't be used is named with its reason, and importing a
file twice adds nothing the second time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from auralith.curation.review.formats import (
    ExportedItem,
    ImportedRow,
    read_csv,
    read_label_studio,
    write_csv,
    write_label_studio,
)
from auralith.curation.review.log import curation_id, read_payload, reading
from auralith.curation.review.queue import Case, NewDecision, RecordedDecision, cases, decide_many
from auralith.curation.review.rules import reviewer_key, reviewer_name
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import whole_file

_Kind = TypeVar("_Kind")


@dataclass(frozen=True)
class ExportOptions:
    """Selection and form of an export."""

    settled: bool = False
    """Include settled items, with their decisions."""
    reviewer: str | None = None
    """Include only items on which this person may decide, with the name filled in."""
    stage: str | None = None
    """Include only items of this step: identify or metadata."""
    audio_prefix: str = ""
    """Prefix of the relative path of a sound file, such as /data/local-files/?d= for Label Studio."""


@dataclass(frozen=True)
class ImportReport:
    """Result of an import."""

    appended: int
    already: int
    """Decisions that the log had already."""
    blank: int
    """Rows without a decision."""
    rejected: tuple[str, ...] = field(default=())
    """Place and reason of each row that can't be used."""


_WRITERS: Mapping[str, Callable[[Sequence[ExportedItem]], bytes]] = {
    ".csv": write_csv,
    ".json": write_label_studio,
}
_READERS: Mapping[str, Callable[[str, Mapping[str, str]], list[ImportedRow]]] = {
    ".csv": read_csv,
    ".json": read_label_studio,
}


def export_items(folder: Path, path: Path, options: ExportOptions | None = None) -> int:
    """Write items to a .csv or .json (Label Studio) file, and return their number.

    Raises:
        InvalidRequest: another suffix, no review, or an unusable name. ResourceError: it can't be written.
    """
    options = options or ExportOptions()
    write = _by_suffix(_WRITERS, path)
    if options.reviewer is not None:
        reviewer_name(options.reviewer)
    chosen = [case for case in cases(folder) if _wanted(case, options)]
    with reading(folder) as connection:
        name = curation_id(connection)
        exported = [
            ExportedItem(
                case,
                read_payload(connection, case.item.item_id),
                name,
                options.reviewer or "",
                options.audio_prefix,
            )
            for case in chosen
        ]
    with whole_file(path) as file:
        file.write(write(exported))
    return len(exported)


def _wanted(case: Case, options: ExportOptions) -> bool:
    if case.superseded or options.stage not in (None, case.item.stage):
        return False
    if case.settled:
        return options.settled
    return options.reviewer is None or case.may_decide(options.reviewer)


def import_decisions(
    folder: Path, path: Path, reviewers: Mapping[str, str] | None = None
) -> ImportReport:
    """Append the decisions in a .csv or .json file to the log.

    `reviewers` maps accounts that the file gives as numbers to names; "" is the key for decisions without a name.

    Raises:
        InvalidRequest: no such table, or it belongs to another curation; then nothing is appended. ResourceError: it
            can't be opened.
    """
    rows = _by_suffix(_READERS, path)(_text(path), reviewers or {})
    with reading(folder) as connection:
        name = curation_id(connection)
    if foreign := next((one for one in rows if one.curation not in ("", name)), None):
        raise InvalidRequest(
            f"{path}, {foreign.place} belongs to another curation ({foreign.curation[:12]}); import it there"
        )
    reasons = {one.place: _reason_against(one) for one in rows}
    usable = [one for one in rows if one.entry and not reasons[one.place]]
    results = decide_many(folder, [one.entry for one in usable if one.entry])
    return _report(
        folder, rows, reasons, dict(zip([one.place for one in usable], results, strict=True))
    )


def _reason_against(one: ImportedRow) -> str:
    if one.entry and not one.curation:
        return "it doesn't say which curation it belongs to; keep the column curation of the export"
    return one.problem


def _report(
    folder: Path,
    rows: Sequence[ImportedRow],
    reasons: Mapping[str, str],
    results: Mapping[str, RecordedDecision | InvalidRequest],
) -> ImportReport:
    known = {
        _signature(NewDecision(one.item_id, one.reviewer, one.decision, one.reason_code))
        for case in cases(folder)
        for one in case.decisions
    }
    appended = sum(isinstance(result, RecordedDecision) for result in results.values())
    already, rejected = 0, []
    for one in rows:
        result = results.get(one.place)
        if isinstance(result, InvalidRequest) and one.entry and _signature(one.entry) in known:
            already += 1
        elif reason := reasons[one.place] or (
            str(result) if isinstance(result, InvalidRequest) else ""
        ):
            rejected.append(f"{one.place}: {reason}")
    blank = sum(one.entry is None and not one.problem for one in rows)
    return ImportReport(appended, already, blank, tuple(rejected))


def _signature(entry: NewDecision) -> tuple[str, str, str, str]:
    return (
        entry.item_id,
        reviewer_key(entry.reviewer),
        entry.decision,
        (entry.reason_code or "").strip(),
    )


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ResourceError(
            f"{path} can't be read ({error.strerror or error}); name an exported file"
        ) from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"{path} is not UTF-8 ({error.reason}); save it as UTF-8") from error


def _by_suffix(table: Mapping[str, _Kind], path: Path) -> _Kind:
    kind = table.get(path.suffix.lower())
    if kind is None:
        raise InvalidRequest(f"{path} is neither .csv nor .json (Label Studio); name one of these")
    return kind
