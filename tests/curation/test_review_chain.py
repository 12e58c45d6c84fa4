"""The review log's chain of hashes, and recordings that are taken out on request."""

import json
import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from auralith.cli.main import run
from auralith.curation.outcomes import outcomes
from auralith.curation.publish.attribution import verify_attribution
from auralith.curation.publish.card import write_card
from auralith.curation.publish.croissant import write_croissant
from auralith.curation.publish.funnel import funnels
from auralith.curation.publish.manifest import read_manifest
from auralith.curation.review import (
    Selection,
    cases,
    decide,
    is_begun,
    log_path,
    newest_entry,
    open_items,
    withdraw,
    withdrawals,
)
from auralith.curation.review.chain import CHAIN, HEAD_NAME, read_head
from auralith.curation.run import write_outputs
from auralith.errors import InvalidRequest, ResourceError
from tests.curation.test_attribution import SOUND
from tests.curation.test_manifest import curation
from tests.curation.test_review import ITEM, MATCH, keep, suspect


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three decisions on two items."""
    open_items(tmp_path, [suspect(1), suspect(2, "match", stage="identify")])
    keep(tmp_path, ITEM, "Ann")
    keep(tmp_path, ITEM, "Bob")
    decide(tmp_path, MATCH, "Ann", "remove", "commercial_recording", "a song")
    return tmp_path


def tamper(folder: Path, *statements: str) -> None:
    """Change the log as somebody would who has the file and knows how to drop a trigger."""
    connection = sqlite3.connect(log_path(folder))
    triggers = connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall()
    for (name,) in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE decisions SET decision = 'remove' WHERE seq = 1"], "decision 1 was changed"),
        (["UPDATE decisions SET note = 'x' WHERE seq = 3"], "decision 3 was changed"),
        (["UPDATE decisions SET reviewer = 'Eve' WHERE seq = 2"], "decision 2 was changed"),
        (["UPDATE decisions SET at = '2020' WHERE seq = 2"], "decision 2 was changed"),
        (["UPDATE decisions SET rec_id = 'fma:9' WHERE seq = 1"], "decision 1 was changed"),
        (["UPDATE items SET is_match = 0 WHERE rec_id = 'fma:2'"], "decision 3 was changed"),
        (["DELETE FROM decisions WHERE seq = 1"], "decision 1 was removed"),
        (["DELETE FROM items WHERE rec_id = 'fma:2'"], "decision 3 was removed"),
        (["DELETE FROM decisions WHERE seq = 3"], "decision 3 was removed"),
        (
            [
                "DELETE FROM decisions WHERE seq = 2",
                "DELETE FROM chain WHERE row = 2 AND kind = 'decision'",
            ],
            "an entry before number 4 was removed or moved",
        ),
        (
            ["DELETE FROM decisions WHERE seq = 3", "DELETE FROM chain WHERE position = 4"],
            f"it lacks the 4 entries that {HEAD_NAME} records",
        ),
        (
            [
                "UPDATE decisions SET seq = 9 WHERE seq = 1",
                "UPDATE decisions SET seq = 1 WHERE seq = 2",
                "UPDATE decisions SET seq = 2 WHERE seq = 9",
            ],
            "decision 1 was changed",
        ),
        (["DELETE FROM chain"], "decision 1 was added without the chain"),
        (["DROP TABLE chain"], "its chain is gone, though it had 4 entries"),
    ],
)
def test_a_log_that_was_changed_is_found(folder: Path, statements: list[str], said: str) -> None:
    tamper(folder, *statements)
    acts: list[Callable[[], object]] = [
        lambda: cases(folder),
        lambda: newest_entry(folder),
        lambda: keep(folder, MATCH, "Bob"),
        lambda: open_items(folder, [suspect(3)]),
    ]
    for act in acts:
        with pytest.raises(ResourceError, match="tampered with") as caught:
            act()
        assert said in str(caught.value) and "\n" not in str(caught.value)
    assert run(["curate", "review", "verify", str(folder)]) == 2


def test_a_log_that_was_not_changed_is_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["curate", "review", "verify", str(folder)]) == 0
    head = newest_entry(folder)
    assert head is not None and head.entries == 4
    assert f"4 entries, the last one has the hash {head.hash}" in capsys.readouterr().out
    assert json.loads((folder / HEAD_NAME).read_text()) == {"entries": 4, "hash": head.hash}


def test_a_log_that_is_gone_is_found(folder: Path) -> None:
    log_path(folder).unlink()
    with pytest.raises(ResourceError, match="is gone, though"):
        is_begun(folder)
    with pytest.raises(ResourceError, match="is gone, though"):
        open_items(folder, [suspect(3)])
    assert not log_path(folder).exists()


def test_a_head_that_is_behind_the_log_is_fine(folder: Path) -> None:
    """A process that is killed between the two leaves it so."""
    older = (folder / HEAD_NAME).read_bytes()
    keep(folder, MATCH, "Bob")
    (folder / HEAD_NAME).write_bytes(older)
    assert len(cases(folder)) == 2
    keep(folder, MATCH, "Cy")
    assert json.loads((folder / HEAD_NAME).read_text())["entries"] == 6


def test_a_damaged_head_is_one_clear_line(folder: Path) -> None:
    for content in (b"", b"[]", b"{}", b'{"entries": "x", "hash": 1}', b"\xff"):
        (folder / HEAD_NAME).write_bytes(content)
        with pytest.raises(ResourceError, match=r"review\.head\.json can't be read"):
            cases(folder)


def test_an_older_log_is_chained_once_and_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tamper(folder, "DROP TABLE chain", "DROP TABLE withdrawals")
    (folder / HEAD_NAME).unlink()
    assert len(cases(folder)) == 2 and newest_entry(folder) is None  # reading changes nothing
    with caplog.at_level(logging.WARNING):
        open_items(folder, [])
        open_items(folder, [])
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1 and "its 3 older decisions were taken as they stand" in said[0]
    head = newest_entry(folder)
    assert head is not None and head.entries == 4
    tamper(folder, "UPDATE decisions SET note = 'x' WHERE seq = 1")
    with pytest.raises(ResourceError, match="decision 1 was changed"):
        cases(folder)


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE revisions SET decision = 'keep'"], "revision 1 was changed"),
        (["UPDATE revisions SET seq = 2"], "revision 1 was changed"),
        (["DELETE FROM revisions"], "revision 1 was removed"),
        (["DROP TABLE revisions"], "revision 1 was removed"),
        (["UPDATE decisions SET reviewer_key = 'eve' WHERE seq = 3"], "decision 3 was changed"),
        (
            ["INSERT INTO revisions VALUES (9, 1, 1, 'unsure', NULL, '', '')"],
            "revision 9 was added without the chain",
        ),
    ],
)
def test_a_revision_that_was_changed_is_found(
    folder: Path, statements: list[str], said: str
) -> None:
    decide(folder, MATCH, "Ann", "remove", "background_music", replaces=0)
    assert newest_entry(folder) == read_head(folder)
    tamper(folder, *statements)
    with pytest.raises(ResourceError, match=said):
        cases(folder)


def test_a_log_of_before_revisions_takes_them(folder: Path) -> None:
    """Its chain keeps every hash, though its table only knew other kinds of entries."""
    before = newest_entry(folder)
    narrow = CHAIN.format(name="narrow").replace("'revision', ", "")
    tamper(
        folder,
        "DROP TABLE revisions",
        narrow,
        "INSERT INTO narrow SELECT * FROM chain",
        "DROP TABLE chain",
        "ALTER TABLE narrow RENAME TO chain",
    )
    assert len(cases(folder)) == 2 and newest_entry(folder) == before  # reading changes nothing
    open_items(folder, [])
    assert newest_entry(folder) == before
    decide(folder, MATCH, "Ann", "keep", "false_match", replaces=0)
    after = newest_entry(folder)
    assert before and after and after.entries == before.entries + 1
    connection = sqlite3.connect(log_path(folder))
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        connection.execute("DELETE FROM chain")
    connection.close()


def accepted(folder: Path) -> tuple:
    rows = [
        SOUND
        | {"rec_id": f"freesound:{n}", "author": author, "url": f"https://freesound.org/s/{n}/"}
        for n, author in enumerate(["Ann", "Bob", "Bob", "Cy"])
    ]
    return curation(folder, rows, probed=None)


@pytest.mark.parametrize(
    ("wanted", "gone"),
    [
        (Selection(ids=("freesound:0",)), ["freesound:0"]),
        (Selection(authors=("Bob",)), ["freesound:1", "freesound:2"]),
        (Selection(urls=("https://freesound.org/s/3/",)), ["freesound:3"]),
        (Selection(("freesound:0",), ("Cy",)), ["freesound:0", "freesound:3"]),
    ],
)
def test_what_is_withdrawn_is_out_of_all_that_is_written_next(
    tmp_path: Path, wanted: Selection, gone: list[str]
) -> None:
    store, settings = accepted(tmp_path)
    write_outputs(store, settings)
    assert withdraw(tmp_path, wanted, "asked by mail", "Ann") == gone
    found = verify_attribution(tmp_path)
    assert [line.split()[0] for line in found] == gone and "was withdrawn" in found[0]

    write_outputs(store, settings)
    rows = {row["rec_id"]: row for row in outcomes(store, settings).to_pylist()}
    for id, row in rows.items():
        left = (row["outcome"], row["stage"], row["reason_code"])
        assert left == (
            ("removed", "review", "withdrawn") if id in gone else ("accepted", None, None)
        )
    listed = read_manifest(tmp_path)["rec_id"].to_pylist()
    assert listed == sorted(set(rows) - set(gone))
    assert verify_attribution(tmp_path) == []
    review = next(s for s in funnels(store, settings).all.stages if s.stage == "review")
    assert review.dropped["removed"]["withdrawn"].recordings == len(gone)
    card = write_card(store, settings).read_text()
    assert "Taken out on request" in card and "asked by mail" in card
    head = newest_entry(tmp_path)
    assert head is not None and head.hash in card


def test_a_withdrawal_is_for_good_and_made_once(tmp_path: Path) -> None:
    accepted(tmp_path)
    assert withdraw(tmp_path, Selection(("freesound:0",)), "asked") == ["freesound:0"]
    assert withdraw(tmp_path, Selection(("freesound:0",)), "asked again") == []
    assert [one.reason for one in withdrawals(tmp_path)] == ["asked"]
    tamper(tmp_path, "DELETE FROM withdrawals")
    with pytest.raises(ResourceError, match="withdrawal 1 was removed"):
        withdrawals(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["freesound:0"], "--reason is missing"),
        (["--reason", "x"], "name what to take out"),
        (["freesound:9", "--reason", "x"], "no recording in"),
        (["freesound:0", "--author", "Nobody", "--reason", "x"], "has the author 'Nobody'"),
        (["--url", "https://example.org/", "--reason", "x"], "has the url"),
        (["freesound:0", "--reason", "x", "--reviewer", "\u200b"], "--reviewer is missing"),
    ],
)
def test_a_withdrawal_that_names_nothing_is_refused(
    tmp_path: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(tmp_path)
    assert run(["curate", "review", "withdraw", str(tmp_path), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert withdrawals(tmp_path) == []


def test_the_command_prints_what_it_took_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    accepted(tmp_path)
    command = ["curate", "review", "withdraw", str(tmp_path), "--author", "Bob", "--reason", "x"]
    assert run(command) == 0
    assert capsys.readouterr().out.split() == ["freesound:1", "freesound:2"]


def test_a_log_that_is_cut_with_its_head_is_found_by_the_manifest(tmp_path: Path) -> None:
    store, settings = accepted(tmp_path)
    withdraw(tmp_path, Selection(("freesound:0",)), "asked")
    write_outputs(store, settings)
    write_croissant(store, settings.publish)
    assert verify_attribution(tmp_path) == []
    tamper(tmp_path, "DELETE FROM withdrawals", "DELETE FROM chain WHERE position > 1")
    (tmp_path / HEAD_NAME).unlink()
    with pytest.raises(ResourceError, match="2 entries that the manifest records"):
        verify_attribution(tmp_path)
    with pytest.raises(InvalidRequest, match="no recording"):
        withdraw(tmp_path, Selection(("freesound:9",)), "asked")
