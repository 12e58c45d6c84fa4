"""The review queue: suspects from the evidence, items for a reviewer, decisions, withdrawals. The command line and a web
page call these functions.

Suspects are every match, every error or indeterminate answer, and every tier of the metadata search. The last row of a
recording in a stage counts, not those of earlier runs under other settings. The recording's metadata and the whole
evidence are stored with the item, so that it can be shown unchanged later.

The state of an item is computed from its decisions each time and never stored. A reviewer sees no other decision on an
item until it is settled. Evidence made under other settings opens a new item, which supersedes the recording's older item
of that stage; a removal stays. Withdrawals, on request by id, author or link, are permanent and have a reason.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Literal

import pyarrow as pa

from auralith.curation.review import chain
from auralith.curation.review.log import (
    Item,
    Withdrawal,
    append_decision,
    append_item,
    append_withdrawal,
    is_begun,
    log_path,
    newest_item_id,
    read_decisions,
    read_items,
    read_payload,
    read_withdrawals,
    reading,
    writing,
)
from auralith.curation.review.rules import (
    Agreement,
    Choice,
    Decision,
    Role,
    Settled,
    agreement_of,
    check_choice,
    check_note,
    next_role,
    reviewer_key,
    reviewer_name,
    settle,
)
from auralith.curation.store import EVIDENCE, EvidenceKey, Store, compute
from auralith.errors import Field, InvalidRequest
from auralith.files import utc_now

REVIEWED_STAGES = ("identify", "metadata")
_SHOWN = (
    "rec_id",
    "source",
    "path",
    "url",
    "title",
    "author",
    "author_url",
    "album",
    "year",
    "duration_s",
)
"""Columns of `recordings` that a reviewer sees."""
_SHOWN_LICENSE = ("license_raw", "license_url_raw")
State = Literal["open", "kept", "removed"]
TIER_ORDER = ("match", "A", "B", "D", "E", "indeterminate", "error", "C")
"""Order of review; within a tier items are ordered by group (album, artist), then by score."""
_COLUMN_OF = {"ids": "rec_id", "authors": "author", "urls": "url"}


@dataclass(frozen=True)
class Suspect:
    """A recording that people should judge, with the evidence."""

    rec_id: str
    stage: str
    tier: str
    score: float | None
    is_match: bool
    grouped_by: str
    evidence_key: str
    payload: Mapping[str, Any]

    @property
    def item_id(self) -> str:
        """Return an id that depends only on the evidence; its first letter keeps spreadsheets from reading a number."""
        text = "\n".join((self.rec_id, self.stage, self.evidence_key))
        return "r" + hashlib.sha256(text.encode()).hexdigest()[:16]


def suspects(store: Store) -> list[Suspect]:
    """Return all suspects of a curation's present evidence."""
    rows = [row for stage in REVIEWED_STAGES for row in _flagged(_last_rows(store, stage))]
    recordings = _recordings(store, {row["rec_id"] for row in rows})
    return [_suspect(row, recordings.get(row["rec_id"], {})) for row in rows]


def _last_rows(store: Store, stage: str) -> Iterable[dict[str, Any]]:
    return {row["rec_id"]: row for row in store.read(stage).to_pylist()}.values()


def _flagged(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["verdict"] != "pass")


def _recordings(store: Store, wanted: set[str]) -> dict[str, dict[str, Any]]:
    table = store.recordings([*_SHOWN, *_SHOWN_LICENSE])
    return {row["rec_id"]: row for row in table.to_pylist() if row["rec_id"] in wanted}


def _suspect(row: dict[str, Any], recording: dict[str, Any]) -> Suspect:
    tier = _tier(row)
    grouping = {"C": "author", "E": "album"}.get(tier)
    own = {
        name: value
        for name, value in row.items()
        if name not in EVIDENCE.names and value is not None
    }
    return Suspect(
        rec_id=row["rec_id"],
        stage=row["stage"],
        tier=tier,
        score=row["score"],
        is_match=tier == "match",
        grouped_by=(recording.get(grouping) or "") if grouping else "",
        evidence_key=str(EvidenceKey(row["provider"], row["provider_version"], row["params_hash"])),
        payload={
            "recording": recording,
            "evidence": {name: row[name] for name in EVIDENCE.names if name != "rec_id"} | own,
        },
    )


def _tier(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return row["status"]
    return "indeterminate" if row["verdict"] == "quarantine" else row.get("tier") or "match"


@dataclass(frozen=True)
class Case:
    """An item with its decisions."""

    item: Item
    decisions: tuple[Decision, ...]
    superseded: bool = False
    """Newer evidence has opened another item in its place."""

    @property
    def settled(self) -> Settled | None:
        return settle(self.decisions, self.item.is_match)

    @property
    def state(self) -> State:
        return self.settled.state if self.settled else "open"

    @property
    def role(self) -> Role | None:
        """Return the role of the next decision; None if the item takes no more of them."""
        return None if self.superseded else next_role(self.decisions, self.item.is_match)

    def may_decide(self, reviewer: str) -> bool:
        """Return whether the item is open and this person has not decided on it."""
        key = reviewer_key(reviewer)
        return self.role is not None and all(
            reviewer_key(one.reviewer) != key for one in self.decisions
        )


@dataclass(frozen=True)
class ItemView:
    """An item as one reviewer may see it."""

    item: Item
    payload: dict[str, Any]
    """"recording" and "evidence" at the time the item was opened; untrusted text."""
    state: State
    role: Role | None
    decisions: tuple[Decision, ...]
    """All decisions once the item is settled; before that, only the viewer's own."""


@dataclass(frozen=True)
class RecordedDecision:
    """A decision as the log has it, and the state of its item after it."""

    decision: Decision
    state: State


def open_items(folder: Path, suspects: Sequence[Suspect]) -> int:
    """Put suspects into the queue, all or none, and return how many are new."""
    now = utc_now()
    with writing(folder) as connection:
        return sum(append_item(connection, _item(one, now), dict(one.payload)) for one in suspects)


def _item(one: Suspect, now: str) -> Item:
    return Item(
        one.item_id,
        one.rec_id,
        one.stage,
        one.tier,
        one.score,
        one.is_match,
        one.grouped_by,
        one.evidence_key,
        now,
    )


def cases(folder: Path) -> list[Case]:
    """Return every item with its decisions, in the order of review. Raises as `reading` does."""
    with reading(folder) as connection:
        items, decisions = read_items(connection), read_decisions(connection)
    by_item: dict[str, list[Decision]] = {}
    for one in decisions:
        by_item.setdefault(one.item_id, []).append(one)
    newest = {(item.rec_id, item.stage): item.item_id for item in items}
    found = [
        Case(
            item,
            tuple(by_item.get(item.item_id, ())),
            superseded=newest[item.rec_id, item.stage] != item.item_id,
        )
        for item in items
    ]
    return sorted(found, key=_order)


def _order(case: Case) -> tuple[Any, ...]:
    item = case.item
    rank = TIER_ORDER.index(item.tier) if item.tier in TIER_ORDER else len(TIER_ORDER)
    return rank, item.grouped_by, item.score is None, -(item.score or 0.0), item.item_id


def next_item(folder: Path, reviewer: str, stage: str | None = None) -> ItemView | None:
    """Return the first item that this person may decide on; None without one.

    Raises:
        InvalidRequest: the name is empty, or the folder has no review.
    """
    name = reviewer_name(reviewer)
    for case in cases(folder):
        if case.may_decide(name) and stage in (None, case.item.stage):
            return view_item(folder, case.item.item_id, name)
    return None


def view_item(folder: Path, item_id: str, reviewer: str | None = None) -> ItemView:
    """Return an item with the decisions that this person may see.

    Raises:
        InvalidRequest: the item is unknown.
    """
    with reading(folder) as connection:
        case = _case(connection, item_id)
        payload = read_payload(connection, item_id)
    key = reviewer_key(reviewer or "")
    seen = [one for one in case.decisions if case.settled or reviewer_key(one.reviewer) == key]
    return ItemView(case.item, payload, case.state, case.role, tuple(seen))


def _case(connection: Connection, item_id: str) -> Case:
    found = read_items(connection, item_id) if item_id.isascii() else []
    if not found:
        raise InvalidRequest(
            f"there is no item {item_id!r} in this review; see: auralith curate review list"
        )
    [item] = found
    newest = newest_item_id(connection, item.rec_id, item.stage)
    return Case(item, tuple(read_decisions(connection, item_id)), superseded=newest != item_id)


def decide(
    folder: Path,
    item_id: str,
    reviewer: str,
    decision: str,
    reason_code: str | None = None,
    note: str = "",
) -> RecordedDecision:
    """Record a person's decision on an item.

    Raises:
        InvalidRequest: the item is unknown, settled or superseded, the name is empty or has decided already, or the
            decision or reason is invalid. Nothing is written then.
    """
    [result] = decide_many(folder, [NewDecision(item_id, reviewer, decision, reason_code, note)])
    if isinstance(result, InvalidRequest):
        raise result
    return result


@dataclass(frozen=True)
class NewDecision:
    """A decision to be recorded."""

    item_id: str
    reviewer: str
    decision: str
    reason_code: str | None = None
    note: str = ""


def decide_many(
    folder: Path, entries: Sequence[NewDecision]
) -> list[RecordedDecision | InvalidRequest]:
    """Record decisions in order, in one transaction; the result of an invalid one is its error."""
    with reading(folder):  # requires an existing review, which `writing` would begin
        pass
    with writing(folder) as connection:
        return [_record(connection, entry) for entry in entries]


def _record(connection: Connection, entry: NewDecision) -> RecordedDecision | InvalidRequest:
    try:
        case = _case(connection, entry.item_id)
        made = _decision(case, entry)
    except InvalidRequest as error:
        return error
    made = replace(made, seq=append_decision(connection, made))
    return RecordedDecision(made, replace(case, decisions=(*case.decisions, made)).state)


def _decision(case: Case, entry: NewDecision) -> Decision:
    """Return an entry as a decision, if the rules allow it; its `seq` is not known yet."""
    name, item = reviewer_name(entry.reviewer), case.item
    if any(reviewer_key(one.reviewer) == reviewer_key(name) for one in case.decisions):
        raise InvalidRequest(
            f"{name} has decided on {item.item_id} already; take another: review next"
        )
    if case.superseded:
        raise InvalidRequest(
            f"{item.item_id} was replaced by newer evidence; take another: review next"
        )
    if case.role is None:
        raise InvalidRequest(f"{item.item_id} is settled ({case.state}); take another: review next")
    code = (entry.reason_code or "").strip() or None
    choice = check_choice(entry.decision, code, case.role)
    note = check_note(entry.note)
    return Decision(0, item.item_id, item.rec_id, name, case.role, choice, code, note, utc_now())


def agreement(folder: Path) -> list[Agreement]:
    """Return the agreement on each stage with items, in alphabetical order.

    Raises:
        InvalidRequest: the folder has no review.
    """
    pairs: dict[str, list[tuple[Choice, Choice]]] = {}
    for case in cases(folder):
        found = pairs.setdefault(case.item.stage, [])
        if len(case.decisions) >= 2:
            found.append((case.decisions[0].decision, case.decisions[1].decision))
    return [agreement_of(stage, pairs[stage]) for stage in sorted(pairs)]


@dataclass(frozen=True)
class Selection:
    """Selection of recordings; every value must match at least one."""

    ids: tuple[str, ...] = ()
    """`rec_id`, such as "freesound:7"."""
    authors: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    """The recording's page, as the source states it."""


def withdraw(folder: Path, selection: Selection, reason: str, reviewer: str = "") -> list[str]:
    """Take out recordings, and return the ids of those that were not out yet.

    Raises:
        InvalidRequest: nothing is selected, a value matches no recording, or the reason is empty. Nothing is written then.
        ResourceError: the log can't be used.
    """
    note = check_note(reason)
    if not note:
        raise InvalidRequest(Field("reason"), " is missing; a withdrawal needs one")
    who = reviewer_name(reviewer) if reviewer else ""
    ids, now = _found(folder, selection), utc_now()
    with writing(folder) as connection:
        return [id for id in ids if append_withdrawal(connection, Withdrawal(id, note, who, now))]


def withdrawals(folder: Path) -> list[Withdrawal]:
    """Return the withdrawals in order; none without a log.

    Raises:
        ResourceError: the log is damaged, or was changed.
    """
    if not is_begun(folder):
        return []
    with reading(folder) as connection:
        return read_withdrawals(connection)


def newest_entry(folder: Path) -> chain.Head | None:
    """Return the newest entry of the log; None without a log or without a chain."""
    if not is_begun(folder):
        return None
    with reading(folder) as connection:
        return chain.head(connection) if chain.has_chain(connection) else None


def check_head(folder: Path, noted: chain.Head) -> None:
    """Raise `ResourceError` unless the log has the entry that was its newest when a manifest was written."""
    if is_begun(folder):
        with reading(folder) as connection:
            if chain.has_chain(connection) and chain.contains(connection, noted):
                return
    raise chain.broken(
        log_path(folder), f"it lacks the {noted.entries} entries that the manifest records"
    )


def _found(folder: Path, selection: Selection) -> list[str]:
    recordings = Store(folder).recordings(["rec_id", "author", "url"])
    found: dict[str, None] = {}
    for kind, column in _COLUMN_OF.items():
        values: Sequence[str] = getattr(selection, kind)
        for value in values:
            rows = recordings.filter(compute.equal(recordings[column].cast(pa.string()), value))
            if not rows.num_rows:
                raise InvalidRequest(
                    f"no recording in {folder} has the {column} {value[:100]!r}; see manifest.parquet"
                )
            found |= dict.fromkeys(rows["rec_id"].to_pylist())
    if not found:
        raise InvalidRequest(
            *("name what to take out: ids, ", Field("author"), " or ", Field("url"))
        )
    return sorted(found)
