"""People decide: queue, rules, log, agreement (facts 9)."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from auralith.curation.review import (
    CODES,
    Case,
    NewDecision,
    Outdated,
    Suspect,
    agreement,
    agreement_of,
    cases,
    decide,
    decide_many,
    is_begun,
    log_path,
    next_item,
    open_items,
    suspects,
    view_item,
)
from auralith.curation.review.rules import Choice
from auralith.curation.store import EVIDENCE, Store
from auralith.errors import InvalidRequest, ResourceError


def suspect(
    number: int,
    tier: str = "A",
    score: float | None = 90.0,
    *,
    key: str = "k",
    group: str = "",
    stage: str = "metadata",
) -> Suspect:
    return Suspect(
        rec_id=f"fma:{number}",
        stage=stage,
        tier=tier,
        score=score,
        is_match=tier == "match",
        grouped_by=group,
        evidence_key=key,
        payload={"recording": {"title": f"Title {number}"}, "evidence": {}},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    open_items(tmp_path, [suspect(1), suspect(2, "match", stage="identify")])
    return tmp_path


ITEM, MATCH = suspect(1).item_id, suspect(2, "match", stage="identify").item_id


def keep(folder: Path, item: str, who: str, code: str = "false_match") -> str:
    return decide(folder, item, who, "keep", code).state


def remove(folder: Path, item: str, who: str, code: str = "commercial_recording") -> str:
    return decide(folder, item, who, "remove", code).state


def unsure(folder: Path, item: str, who: str) -> str:
    return decide(folder, item, who, "unsure").state


def case_of(folder: Path, item: str) -> Case:
    (found,) = [case for case in cases(folder) if case.item.item_id == item]
    return found


def settled_by(folder: Path, item: str) -> str | None:
    """Return the reason code of a settled item; None for an open one."""
    settled = case_of(folder, item).settled
    return settled.reason_code if settled else None


# The queue


def test_the_queue_is_ordered_by_tier_and_score(tmp_path: Path) -> None:
    wanted = [
        suspect(9, "match", 50.0),
        suspect(1, "A", 100.0),
        suspect(2, "A", 99.0),
        suspect(3, "A", None),
        suspect(4, "B", 95.0),
        suspect(5, "D", 99.0),
        suspect(6, "E", 70.0, group="album 1"),
        suspect(7, "E", 90.0, group="album 2"),
        suspect(8, "indeterminate", None),
        suspect(10, "error", None),
        suspect(11, "C", 60.0, group="artist 1"),
        suspect(12, "C", 90.0, group="artist 2"),
    ]
    open_items(tmp_path, [*reversed(wanted)])
    assert [case.item.rec_id for case in cases(tmp_path)] == [one.rec_id for one in wanted]


def test_opening_again_adds_nothing(folder: Path) -> None:
    assert open_items(folder, [suspect(1), suspect(3)]) == 1
    assert len(cases(folder)) == 3


def test_next_gives_each_reviewer_what_is_left_for_them(folder: Path) -> None:
    def next_of(who: str, stage: str | None = None) -> str | None:
        view = next_item(folder, who, stage)
        return view and view.item.item_id

    assert next_of("Ann") == MATCH
    assert next_of("Ann", "metadata") == ITEM
    keep(folder, MATCH, "Ann")
    assert next_of("Ann") == ITEM
    assert next_of("Bo") == MATCH
    keep(folder, MATCH, "Bo")
    assert next_of("Bo") == next_of("Cy") == ITEM
    remove(folder, ITEM, "Bo")
    assert next_of("Bo") is None


def test_suspects_are_matches_answers_that_are_none_and_tiers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    append(
        store,
        "identify",
        [("a", "ok", "flag", "identified"), ("b", "indeterminate", "quarantine", "x")],
    )
    append(store, "identify", [("c", "error", "quarantine", "x"), ("d", "ok", "pass", None)])
    append(
        store,
        "metadata",
        [("e", "ok", "flag", "metadata_c"), ("f", "skipped", "pass", None)],
        tier="C",
    )
    recordings = [
        {"rec_id": name, "title": f"<b>{name}", "author": f"by {name}"} for name in "abcdef"
    ]
    store.append("recordings", pa.Table.from_pylist(recordings), "0")
    found = {one.rec_id: one for one in suspects(store)}
    assert {name: one.tier for name, one in found.items()} == {
        "a": "match",
        "b": "indeterminate",
        "c": "error",
        "e": "C",
    }
    assert [one.rec_id for one in found.values() if one.is_match] == ["a"]
    assert found["e"].grouped_by == "by e"
    assert found["a"].payload["recording"]["title"] == "<b>a"
    assert open_items(tmp_path, list(found.values())) == 4


def append(
    store: Store, stage: str, rows: list[tuple[str, str, str, str | None]], tier: str | None = None
) -> None:
    table = pa.Table.from_pylist(
        [
            {
                "rec_id": rec_id,
                "stage": stage,
                "provider": "p",
                "provider_version": "1",
                "params_hash": "h",
            }
            | {"status": status, "verdict": verdict, "reason_code": reason, "at": "", "tier": tier}
            for rec_id, status, verdict, reason in rows
        ],
        pa.schema([*EVIDENCE, ("tier", pa.string())]),
    )
    store.append(stage, table, f"{store.next_slice(stage):08d}")


def test_the_last_evidence_of_a_recording_counts(tmp_path: Path) -> None:
    store = Store(tmp_path)
    append(store, "identify", [("a", "error", "quarantine", "timeout")])
    append(store, "identify", [("a", "ok", "pass", None)])
    assert suspects(store) == []


# Two independent decisions, a third on conflict


def test_two_equal_decisions_settle_an_item(folder: Path) -> None:
    assert keep(folder, ITEM, "Ann") == "open"
    assert keep(folder, ITEM, "Bo", "common_phrase") == "kept"
    assert settled_by(folder, ITEM) == "false_match"


@pytest.mark.parametrize(("third", "state"), [(keep, "kept"), (remove, "removed")])
def test_a_third_decides_a_conflict(folder: Path, third: object, state: str) -> None:
    assert callable(third)
    keep(folder, ITEM, "Ann")
    assert remove(folder, ITEM, "Bo") == "open"
    assert third(folder, ITEM, "Cy") == state
    assert [one.role for one in view_item(folder, ITEM).decisions] == ["first", "second", "third"]


@pytest.mark.parametrize("second", [keep, remove, unsure])
def test_unsure_counts_as_a_conflict_even_twice(folder: Path, second: object) -> None:
    assert callable(second)
    unsure(folder, ITEM, "Ann")
    assert second(folder, ITEM, "Bo") == "open"
    with pytest.raises(InvalidRequest, match="settles a conflict"):
        unsure(folder, ITEM, "Cy")
    assert remove(folder, ITEM, "Cy") == "removed"


def test_a_single_decision_closes_nothing(folder: Path) -> None:
    remove(folder, ITEM, "Ann")
    assert (case_of(folder, ITEM).state, settled_by(folder, ITEM)) == ("open", None)


def test_overturning_an_automatic_match_needs_two_signatures(folder: Path) -> None:
    unsure(folder, MATCH, "Ann")
    remove(folder, MATCH, "Bo")
    assert keep(folder, MATCH, "Cy") == "removed"
    assert settled_by(folder, MATCH) == "match_not_overturned"


def test_two_of_three_signatures_overturn_a_match(folder: Path) -> None:
    keep(folder, MATCH, "Ann")
    remove(folder, MATCH, "Bo")
    assert keep(folder, MATCH, "Cy") == "kept"


def test_the_second_does_not_see_the_first(folder: Path) -> None:
    decide(folder, ITEM, "Ann", "keep", "false_match", "a telling note")
    for who in ("Bo", None):
        assert view_item(folder, ITEM, who).decisions == ()
    upcoming = next_item(folder, "Bo", "metadata")
    assert upcoming is not None
    assert "telling" not in repr(upcoming) and "Ann" not in repr(upcoming)
    assert len(view_item(folder, ITEM, "ANN ").decisions) == 1
    remove(folder, ITEM, "Bo")
    assert [one.reviewer for one in view_item(folder, ITEM, "Bo").decisions] == ["Bo"]
    keep(folder, ITEM, "Cy")
    assert len(view_item(folder, ITEM).decisions) == 3


# Who and what


@pytest.mark.parametrize(
    "again", ["Ann", "ann", " ANN ", "A n n", "Ａｎｎ", "Ann\u200b", "A\u00a0nn"]
)
def test_nobody_decides_twice_under_any_spelling(folder: Path, again: str) -> None:
    keep(folder, ITEM, "Ann")
    with pytest.raises(InvalidRequest, match=r"already|unprintable"):
        keep(folder, ITEM, again)
    assert len(cases(folder)[1].decisions) == 1


@pytest.mark.parametrize(
    "name", ["", " ", "\t", "\u200b", "-", "Ann\x1b[31m", "\u202eAnn", "x" * 101, "\udcff"]
)
def test_a_reviewer_needs_a_name(folder: Path, name: str) -> None:
    with pytest.raises(InvalidRequest, match="reviewer"):
        keep(folder, ITEM, name)
    with pytest.raises(InvalidRequest, match="reviewer"):
        next_item(folder, name)


@pytest.mark.parametrize(
    ("decision", "code", "says"),
    [
        ("delete", None, "decision is"),
        ("Keep", "false_match", "decision is"),
        ("", None, "decision is"),
        ("keep", None, "reason is missing; to keep"),
        ("keep", "", "reason is missing; to keep"),
        ("keep", "because", "reason is 'because'; to keep"),
        ("keep", "background_music", "reason is 'background_music'; to keep"),
        ("remove", "false_match", "reason is 'false_match'; to remove"),
        ("unsure", "other", "takes no reason code"),
    ],
)
def test_what_is_no_decision_is_refused_and_not_written(
    folder: Path, decision: str, code: str | None, says: str
) -> None:
    with pytest.raises(InvalidRequest, match=says) as error:
        decide(folder, ITEM, "Ann", decision, code)
    assert "\n" not in str(error.value)
    assert all(not case.decisions for case in cases(folder))


def test_the_reason_codes_are_those_of_the_facts() -> None:
    assert {choice: len(codes) for choice, codes in CODES.items()} == {
        "keep": 5,
        "remove": 6,
        "unsure": 0,
    }


@pytest.mark.parametrize("note", ["x" * 4_001, "a\0b", "\udcff"])
def test_a_note_is_text_of_bounded_length(folder: Path, note: str) -> None:
    with pytest.raises(InvalidRequest, match="note"):
        decide(folder, ITEM, "Ann", "unsure", None, note)


def test_markup_and_quotes_are_kept_as_they_are(folder: Path) -> None:
    note = '\'; DROP TABLE decisions; -- <script>\n"й"'
    decide(folder, ITEM, 'O\'Neill "Q" <b>', "unsure", None, note)
    [one] = view_item(folder, ITEM, 'o\'neill "q" <B>').decisions
    assert (one.note, one.reviewer) == (note, 'O\'Neill "Q" <b>')


@pytest.mark.parametrize("item", ["", "r0000", "nothing'", "\udcff", "ü"])
def test_an_unknown_item_is_refused(folder: Path, item: str) -> None:
    for act in (lambda: keep(folder, item, "Ann"), lambda: view_item(folder, item)):
        with pytest.raises(InvalidRequest, match="no item"):
            act()


def test_a_settled_item_takes_no_more_decisions(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    keep(folder, ITEM, "Bo")
    with pytest.raises(InvalidRequest, match="settled"):
        remove(folder, ITEM, "Cy")
    assert case_of(folder, ITEM).state == "kept"


# Decisions that are replaced


def replaced(
    folder: Path, item: str, who: str, choice: str, code: str | None = None, revision: int = 0
) -> str:
    return decide(folder, item, who, choice, code, replaces=revision).state


def test_an_own_decision_is_replaced_and_stays_in_the_log(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    assert replaced(folder, ITEM, " ann", "remove", "other") == "open"
    assert replaced(folder, ITEM, "Ann", "unsure", revision=1) == "open"
    [own] = case_of(folder, ITEM).decisions
    assert (own.decision, own.reason_code, own.revision, own.role) == ("unsure", None, 2, "first")
    assert view_item(folder, ITEM, "ANN").own == own and view_item(folder, ITEM, "Bo").own is None
    connection = sqlite3.connect(log_path(folder))
    assert connection.execute("SELECT decision FROM decisions").fetchall() == [("keep",)]
    kept = connection.execute("SELECT decision, revision FROM revisions ORDER BY number").fetchall()
    assert kept == [("remove", 1), ("unsure", 2)]
    connection.close()


@pytest.mark.parametrize("revision", [1, 7, -1])
def test_only_the_decision_that_was_seen_is_replaced(folder: Path, revision: int) -> None:
    keep(folder, ITEM, "Ann")
    with pytest.raises(Outdated, match="not the one to replace"):
        replaced(folder, ITEM, "Ann", "remove", "other", revision)
    with pytest.raises(Outdated, match="not the one to replace"):
        replaced(folder, ITEM, "Bo", "remove", "other")
    assert case_of(folder, ITEM).decisions[0].revision == 0


def test_replacing_makes_and_ends_conflicts(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    keep(folder, ITEM, "Bo")
    assert replaced(folder, ITEM, "Bo", "remove", "other") == "open"
    assert case_of(folder, ITEM).is_conflict
    assert [one.counts["keep", "remove"] for one in agreement(folder)] == [0, 1]
    assert replaced(folder, ITEM, "Ann", "remove", "other") == "removed"
    with pytest.raises(Outdated, match="settled"):
        keep(folder, ITEM, "Cy")


def test_what_others_have_settled_is_not_replaced(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    remove(folder, ITEM, "Bo")
    keep(folder, ITEM, "Cy")
    for who in ("Ann", "Bo"):
        assert not view_item(folder, ITEM, who).may_replace
        with pytest.raises(Outdated, match="settled by another"):
            replaced(folder, ITEM, who, "remove", "other")
    with pytest.raises(InvalidRequest, match="settles a conflict"):
        replaced(folder, ITEM, "Cy", "unsure")
    assert view_item(folder, ITEM, "Cy").may_replace
    assert replaced(folder, ITEM, "Cy", "remove", "other") == "removed"


def test_a_decision_on_replaced_evidence_stays(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    open_items(folder, [suspect(1, key="other settings")])
    assert not view_item(folder, ITEM, "Ann").may_replace
    with pytest.raises(Outdated, match="newer evidence"):
        replaced(folder, ITEM, "Ann", "remove", "other")


# Evidence that is made again


def test_newer_evidence_takes_the_place_of_older(folder: Path) -> None:
    keep(folder, ITEM, "Ann")
    keep(folder, ITEM, "Bo")
    open_items(folder, [suspect(1, key="other settings")])
    newer = suspect(1, key="other settings").item_id
    assert (case_of(folder, ITEM).superseded, case_of(folder, newer).superseded) == (True, False)
    assert case_of(folder, newer).state == "open"
    with pytest.raises(InvalidRequest, match="decided"):
        keep(folder, ITEM, "Ann")
    keep(folder, newer, "Ann")
    keep(folder, newer, "Bo")
    assert case_of(folder, newer).state == "kept"


def test_a_replaced_open_item_is_not_asked_for_any_more(folder: Path) -> None:
    open_items(folder, [suspect(1, key="other settings")])
    view = next_item(folder, "Ann", "metadata")
    assert view is not None and view.item.evidence_key == "other settings"
    with pytest.raises(InvalidRequest, match="newer evidence"):
        keep(folder, ITEM, "Ann")


def test_what_people_removed_stays_removed(folder: Path) -> None:
    remove(folder, ITEM, "Ann", "withdrawn")
    remove(folder, ITEM, "Bo")
    newer = suspect(1, key="other settings")
    open_items(folder, [newer])
    keep(folder, newer.item_id, "Ann")
    keep(folder, newer.item_id, "Bo")
    assert case_of(folder, ITEM).state == "removed"
    assert settled_by(folder, ITEM) == "withdrawn"


def test_without_a_review_nothing_is_decided(tmp_path: Path) -> None:
    assert not is_begun(tmp_path)
    assert not log_path(tmp_path).exists()
    with pytest.raises(InvalidRequest, match="review open"):
        keep(tmp_path, ITEM, "Ann")
    assert not log_path(tmp_path).exists()
    with pytest.raises(InvalidRequest, match="no curation"):
        open_items(tmp_path / "none", [])


# The log


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE decisions SET decision = 'remove'",
        "UPDATE OR REPLACE decisions SET note = ''",
        "DELETE FROM decisions",
        "INSERT OR REPLACE INTO decisions SELECT * FROM decisions",
        "REPLACE INTO decisions SELECT seq + 9, item_id, rec_id, reviewer, reviewer_key, role, 'remove', 'other', note, at FROM decisions",
        "INSERT INTO decisions SELECT seq + 9, item_id, rec_id, 'x', 'x', 'third', decision, reason_code, note, at FROM decisions",
        "UPDATE revisions SET decision = 'keep'",
        "DELETE FROM revisions",
        "INSERT OR REPLACE INTO revisions SELECT * FROM revisions",
        "INSERT INTO revisions SELECT number + 1, seq, revision + 2, decision, reason_code, note, at FROM revisions",
        "UPDATE items SET tier = 'C'",
        "DELETE FROM items",
        "INSERT OR REPLACE INTO items SELECT * FROM items",
        "UPDATE meta SET value = 'x'",
        "REPLACE INTO meta VALUES ('curation', 'x')",
    ],
)
def test_the_log_is_append_only(folder: Path, statement: str) -> None:
    keep(folder, ITEM, "Ann")
    replaced(folder, ITEM, "Ann", "remove", "other")
    connection = sqlite3.connect(log_path(folder))
    before = list(connection.iterdump())
    with pytest.raises(sqlite3.IntegrityError, match=r"append-only|in turn"):
        connection.execute(statement)
    connection.rollback()
    assert list(connection.iterdump()) == before
    connection.close()


def test_the_log_is_write_ahead(folder: Path) -> None:
    connection = sqlite3.connect(log_path(folder))
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_readers_are_not_held_up_by_a_writer(folder: Path) -> None:
    connection = sqlite3.connect(log_path(folder), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    assert len(cases(folder)) == 2
    connection.execute("ROLLBACK")
    connection.close()


def test_a_log_that_stays_locked_is_one_clear_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auralith.curation.review.log._WAIT_SECONDS", 0.05)
    connection = sqlite3.connect(log_path(folder), isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    with pytest.raises(ResourceError, match="another process holds it"):
        keep(folder, ITEM, "Ann")
    connection.close()


@pytest.mark.parametrize(
    "content", [b"no database at all, but text" * 40, b"SQLite format 3\0" + b"\xff" * 4_000]
)
def test_a_damaged_log_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    log_path(tmp_path).write_bytes(content)
    for act in (lambda: cases(tmp_path), lambda: open_items(tmp_path, [suspect(1)])):
        with pytest.raises(ResourceError, match=r"review\.sqlite"):
            act()


def test_a_log_that_was_begun_and_cut_off_is_begun_again(tmp_path: Path) -> None:
    log_path(tmp_path).touch()
    assert not is_begun(tmp_path)
    assert open_items(tmp_path, [suspect(1)]) == 1


CRASH = """
import os, sys
from pathlib import Path
from auralith.curation.review import log, queue
append, left = log.append_decision, [2]
def crashing(connection, decision):
    if left[0] == 0:
        os._exit(9)
    left[0] -= 1
    return append(connection, decision)
queue.append_decision = crashing
items = sys.argv[2:]
queue.decide_many(Path(sys.argv[1]), [queue.NewDecision(item, "Ann", "unsure") for item in items])
"""


def test_a_crash_between_writes_leaves_nothing_half_done(folder: Path) -> None:
    open_items(folder, [suspect(3)])
    items = [case.item.item_id for case in cases(folder)]
    assert run(CRASH, folder, *items).wait() == 9
    assert all(not case.decisions for case in cases(folder))
    decide_many(folder, [NewDecision(item, "Ann", "unsure") for item in items])
    assert all(len(case.decisions) == 1 for case in cases(folder))


REVIEWER = """
import sys
from pathlib import Path
from auralith.curation.review import decide, next_item, open_items
from auralith.curation.review.queue import Suspect
from auralith.errors import InvalidRequest
folder, name = Path(sys.argv[1]), sys.argv[2]
open_items(folder, [Suspect(f"fma:{i}", "metadata", "A", 1.0 * i, False, "", "k", {}) for i in range(12)])
while (view := next_item(folder, name)) is not None:
    try:
        decide(folder, view.item.item_id, name, *(("keep", "false_match") if len(name) % 2 else ("unsure",)))
    except InvalidRequest as error:
        assert "settled" in str(error), error
"""


def run(script: str, *arguments: object) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], env=environment)


def test_several_processes_write_at_once_and_every_item_gets_its_decisions(tmp_path: Path) -> None:
    names = ["a", "bb", "ccc", "ddddd"]  # bb is unsure of everything
    assert [process.wait() for process in [run(REVIEWER, tmp_path, name) for name in names]] == [
        0
    ] * 4
    found = cases(tmp_path)
    assert len(found) == 12
    for case in found:
        assert case.state == "kept"
        assert [one.role for one in case.decisions] == ["first", "second", "third"][
            : len(case.decisions)
        ]
        assert len({one.reviewer for one in case.decisions}) == len(case.decisions)
    assert sorted(one.seq for case in found for one in case.decisions) == list(
        range(1, 1 + sum(len(case.decisions) for case in found))
    )


# Agreement


def test_kappa_by_hand() -> None:
    counts: dict[tuple[Choice, Choice], int] = {
        ("keep", "keep"): 20,
        ("keep", "remove"): 5,
        ("remove", "keep"): 10,
        ("remove", "remove"): 15,
    }
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    found = agreement_of("metadata", pairs)
    assert found.num_items == 50
    assert found.kappa == pytest.approx((0.7 - 0.5) / (1 - 0.5))


@pytest.mark.parametrize(
    ("pairs", "kappa"),
    [
        ([("keep", "keep"), ("remove", "remove")], 1.0),
        ([("keep", "remove"), ("remove", "keep")], -1.0),
        ([("keep", "keep"), ("keep", "remove")], 0.0),
        ([("unsure", "unsure"), ("keep", "keep")], 1.0),
        ([("keep", "keep")] * 3, None),
        ([], None),
    ],
)
def test_kappa_at_its_ends_and_where_it_is_undefined(
    pairs: list[tuple[Choice, Choice]], kappa: float | None
) -> None:
    assert agreement_of("s", pairs).kappa == kappa


def test_agreement_is_per_stage_over_first_and_second_decisions(folder: Path) -> None:
    open_items(folder, [suspect(3)])
    other = suspect(3).item_id
    keep(folder, ITEM, "Ann")
    remove(folder, ITEM, "Bo")
    keep(folder, ITEM, "Cy")
    for who in ("Ann", "Bo"):
        remove(folder, other, who)
    keep(folder, MATCH, "Ann")
    identify, metadata = agreement(folder)
    assert (identify.stage, identify.num_items, identify.kappa) == ("identify", 0, None)
    assert metadata.num_items == 2
    assert metadata.counts["keep", "remove"] == metadata.counts["remove", "remove"] == 1
    assert metadata.kappa == 0.0
