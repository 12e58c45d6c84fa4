"""Items out to CSV and Label Studio, decisions back (facts 9), and the commands."""

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typer
from typer.testing import CliRunner

from auralith.cli.curate import review as review_command
from auralith.cli.fields import name_options
from auralith.curation.review import (
    CODES,
    ExportOptions,
    Suspect,
    cases,
    decide,
    export_items,
    import_decisions,
    open_items,
)
from auralith.curation.review.formats import labeling_config
from auralith.errors import AuralithError, InvalidRequest, ResourceError

TITLE = '=HYPERLINK("http://x")<script>, "quoted"\x1b[2J'
PAYLOAD = {
    "recording": {
        "title": TITLE,
        "author": "<1",
        "path": "a/ü #1.mp3",
        "url": "javascript:alert(1)",
    },
    "evidence": {
        "matches": [{"ref_id": "t1", "ref_title": "@", "ref_artist": "Bo", "ref_album": ""}]
    },
}
SUSPECTS = [
    Suspect("fma:1", "metadata", "A", 100.0, False, "", "p/1/h", PAYLOAD),
    Suspect(
        "freesound:2",
        "identify",
        "match",
        None,
        True,
        "",
        "p/1/h",
        {"recording": {"url": "https://x.org/2"}, "evidence": {}},
    ),
    Suspect("fma:3", "metadata", "C", 50.0, False, "Ann", "p/1/h", {}),
]
ITEM, MATCH, LAST = (one.item_id for one in SUSPECTS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "curation"
    made.mkdir()
    open_items(made, SUSPECTS)
    return made


def csv_rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig"), newline="")))


def write_rows(path: Path, rows: list[dict[str, str]]) -> Path:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def filled(folder: Path, path: Path, who: str, decision: str, code: str = "") -> Path:
    """An export with one answer everywhere."""
    export_items(folder, path)
    answer = {"reviewer": who, "decision": decision, "reason_code": code}
    return write_rows(path, [row | answer for row in csv_rows(path)])


def annotated(
    folder: Path, path: Path, completed_by: object, decision: str, code: str
) -> list[dict[str, Any]]:
    export_items(folder, path)
    tasks = json.loads(path.read_text("utf-8"))
    for task in tasks:
        result = [
            {
                "from_name": name,
                "to_name": "audio",
                "type": "choices",
                "value": {"choices": [value]},
            }
            for name, value in (("decision", decision), ("reason_code", code))
        ]
        task["annotations"] = [{"completed_by": completed_by, "result": result}]
    return tasks


def write_json(path: Path, value: object) -> Path:
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def num_decisions(folder: Path) -> int:
    return sum(len(case.decisions) for case in cases(folder))


# CSV


def test_csv_goes_out_in_the_order_of_review_and_comes_back(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    assert export_items(folder, path) == 3
    assert [row["item_id"] for row in csv_rows(path)] == [MATCH, ITEM, LAST]
    report = import_decisions(folder, filled(folder, path, "Ann", "keep", "false_match"))
    assert (report.appended, report.already, report.blank, report.rejected) == (3, 0, 0, ())
    assert {one.reviewer for case in cases(folder) for one in case.decisions} == {"Ann"}


def test_an_import_twice_adds_nothing_and_overwrites_nothing(folder: Path, tmp_path: Path) -> None:
    path = filled(folder, tmp_path / "items.csv", "Ann", "keep", "false_match")
    import_decisions(folder, path)
    report = import_decisions(folder, path)
    assert (report.appended, report.already, report.rejected) == (0, 3, ())
    changed = write_rows(
        path, [row | {"decision": "unsure", "reason_code": ""} for row in csv_rows(path)]
    )
    report = import_decisions(folder, changed)
    assert (report.appended, report.already, len(report.rejected)) == (0, 0, 3)
    assert "decided" in report.rejected[0]
    assert {one.decision for case in cases(folder) for one in case.decisions} == {"keep"}


def test_formulas_are_made_harmless_and_text_survives(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    export_items(folder, path)
    row = csv_rows(path)[1]
    assert row["title"] == "'" + TITLE
    assert row["ref_title"] == "'@"
    assert row["author"] == "<1"
    for row in csv_rows(path):
        assert not any(cell.startswith(("=", "+", "-", "@")) for cell in row.values())


def test_an_export_tells_nobody_what_the_first_decided(folder: Path, tmp_path: Path) -> None:
    decide(folder, ITEM, "Ann", "remove", "other", "a telling note")
    for name in ("items.csv", "items.json"):
        for options in (ExportOptions(), ExportOptions(settled=True), ExportOptions(reviewer="Bo")):
            export_items(folder, tmp_path / name, options)
            text = (tmp_path / name).read_text("utf-8")
            assert "telling" not in text and "Ann" not in text


def test_an_export_for_a_reviewer_has_what_they_may_decide(folder: Path, tmp_path: Path) -> None:
    decide(folder, ITEM, "Ann", "unsure")
    assert export_items(folder, tmp_path / "a.csv", ExportOptions(reviewer="ann")) == 2
    assert {row["reviewer"] for row in csv_rows(tmp_path / "a.csv")} == {"ann"}
    assert export_items(folder, tmp_path / "m.csv", ExportOptions(stage="identify")) == 1
    with pytest.raises(InvalidRequest, match="name"):
        export_items(folder, tmp_path / "b.csv", ExportOptions(reviewer=" "))


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_settled_items_go_out_with_their_decisions_and_are_known_on_return(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    for who in ("Ann", "Bo"):
        decide(folder, ITEM, who, "remove", "other", "+note")
    path = tmp_path / f"all{suffix}"
    assert export_items(folder, path) == 2
    assert export_items(folder, path, ExportOptions(settled=True)) == 3
    report = import_decisions(folder, path)
    assert (report.appended, report.already, report.blank, report.rejected) == (0, 2, 2, ())


def test_rows_that_can_not_be_used_are_named_and_the_rest_is_taken(
    folder: Path, tmp_path: Path
) -> None:
    path = filled(folder, tmp_path / "items.csv", "Ann", "keep", "false_match")
    rows = csv_rows(path)
    rows = [
        rows[0],
        rows[1] | {"item_id": "r0000000000000000"},
        rows[1] | {"reason_code": "because"},
        rows[1] | {"reviewer": ""},
        rows[1] | {"curation": ""},
        rows[1] | {"decision": ""},
        rows[2] | {"decision": " KEEP "},
    ]
    report = import_decisions(folder, write_rows(path, rows))
    assert (report.appended, report.blank) == (2, 1)
    assert [line.split(":")[0] for line in report.rejected] == [
        "line 3",
        "line 4",
        "line 5",
        "line 6",
    ]
    for line, says in zip(
        report.rejected,
        ("no item", "reason is 'because'", "reviewer is missing", "which curation"),
        strict=True,
    ):
        assert says in line


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_file_of_another_curation_is_refused_whole(
    folder: Path, tmp_path: Path, suffix: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    open_items(other, SUSPECTS)
    path = tmp_path / f"items{suffix}"
    if suffix == ".csv":
        mixed = [
            *csv_rows(filled(folder, path, "Ann", "keep", "false_match")),
            csv_rows(filled(other, path, "Ann", "keep", "false_match"))[0],
        ]
        write_rows(path, mixed)
    else:
        write_json(
            path,
            [
                *annotated(folder, path, {"email": "a@x"}, "keep", "false_match"),
                *annotated(other, path, {"email": "a@x"}, "keep", "false_match"),
            ],
        )
    with pytest.raises(InvalidRequest, match="another curation"):
        import_decisions(folder, path)
    assert num_decisions(folder) == 0


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", b"", "no column"),
        ("x.csv", b"a,b\n1,2\n", "no column item_id"),
        ("x.csv", b"\xff\xfe\x00", "UTF-8"),
        (
            "x.csv",
            b'item_id,curation,reviewer,decision,reason_code\n"' + b"a" * 200_000,
            "can't be read",
        ),
        ("x.json", b"{", "not JSON"),
        ("x.json", b"{}", "not a list"),
        ("x.json", b"[" * 100_000, "JSON"),
        ("x.txt", b"", "neither"),
    ],
)
def test_what_is_no_export_is_refused_in_one_line(
    folder: Path, tmp_path: Path, name: str, content: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidRequest, match=says) as error:
        import_decisions(folder, tmp_path / name)
    assert "\n" not in str(error.value)


def test_files_that_are_not_there_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match=r"none\.csv"):
        import_decisions(folder, tmp_path / "none.csv")
    with pytest.raises(ResourceError):
        export_items(folder, tmp_path / "no folder" / "x.csv")


def test_semicolons_and_spreadsheet_marks_are_understood(folder: Path, tmp_path: Path) -> None:
    rows = csv_rows(filled(folder, tmp_path / "items.csv", "Ann", "unsure"))
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    (tmp_path / "saved.csv").write_text(text.getvalue(), encoding="utf-8-sig", newline="")
    assert import_decisions(folder, tmp_path / "saved.csv").appended == 3


# Label Studio


def test_label_studio_tasks_have_data_predictions_and_annotations(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.json"
    export_items(folder, path, ExportOptions(audio_prefix="/data/local-files/?d="))
    tasks = json.loads(path.read_text("utf-8"))
    match, item, bare = tasks
    assert match["data"]["item_id"] == MATCH
    assert match["data"]["audio"] == "https://x.org/2"
    assert match["predictions"][0]["result"][0]["value"] == {"choices": ["remove"]}
    assert item["data"]["title"] == TITLE
    assert item["data"]["audio"] == "/data/local-files/?d=a/%C3%BC%20%231.mp3"
    assert item["predictions"][0]["score"] == 100.0
    assert bare["data"]["audio"] == bare["data"]["ref_audio"] == ""
    assert all(task["annotations"] == [] for task in tasks)


def test_only_web_addresses_become_players(folder: Path, tmp_path: Path) -> None:
    bad = Suspect(
        "fma:9", "metadata", "A", 1.0, False, "", "k", {"recording": {"url": "javascript:alert(1)"}}
    )
    open_items(folder, [bad])
    export_items(folder, tmp_path / "t.json")
    [task] = [
        one
        for one in json.loads((tmp_path / "t.json").read_text())
        if one["data"]["rec_id"] == "fma:9"
    ]
    assert task["data"]["audio"] == ""


@pytest.mark.parametrize(
    "who",
    [
        {"email": "ann@x.org"},
        {"username": "Ann"},
        {"first_name": "Ann", "last_name": "Lee"},
        5,
        {"id": 5},
    ],
)
def test_annotations_come_back_as_decisions(folder: Path, tmp_path: Path, who: object) -> None:
    path = tmp_path / "tasks.json"
    write_json(path, annotated(folder, path, who, "remove", "background_music"))
    report = import_decisions(folder, path, {"5": "Ann Lee"})
    assert (report.appended, report.rejected) == (3, ())
    assert import_decisions(folder, path, {"5": "Ann Lee"}).already == 3


def test_odd_annotations_are_named_and_skipped_ones_are_blank(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    first, second, third = annotated(folder, path, {"email": "a@x"}, "remove", "other")
    first["annotations"][0]["was_cancelled"] = True
    second["annotations"] = ["odd", {"result": [{"from_name": "decision", "value": 7}, None]}]
    write_json(path, [first, second, third, "odd", {"data": 3}, {"data": {}}])
    report = import_decisions(folder, path)
    assert (report.appended, report.blank) == (1, 2)
    assert [line.split(":")[0] for line in report.rejected] == [
        "task 2, annotation 1",
        "task 2, annotation 2",
        "task 4",
        "task 5",
    ]


def test_the_labeling_interface_offers_every_answer() -> None:
    view = ElementTree.fromstring(labeling_config())
    offered = {one.get("value") for one in view.iter("Choice")}
    assert offered == {*CODES, *(code for codes in CODES.values() for code in codes)}
    assert {one.get("value") for one in view.iter("Audio")} == {"$audio", "$ref_audio"}


# The commands


def command(*arguments: object) -> str:
    app = typer.Typer()
    review_command.register(app)
    name_options(app)
    app.command("other")(lambda: None)  # so that the group keeps its name
    result = CliRunner().invoke(app, ["review", *map(str, arguments)])
    if isinstance(result.exception, AuralithError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_a_review_by_command_line(folder: Path, tmp_path: Path) -> None:
    assert "0 new items" in command("open", folder)
    assert len(command("list", folder).splitlines()) == 3
    shown = command("next", folder, "--reviewer", "Ann", "--stage", "metadata")
    assert ITEM in shown and "\x1b" not in shown and "\\x1b[2J" in shown
    command("decide", folder, ITEM, "keep", "--reviewer", "Ann", "--reason", "false_match")
    assert "kept" in command(
        "decide", folder, ITEM, "keep", "--reviewer", "Bo", "--reason", "false_match"
    )
    assert json.loads(command("show", folder, ITEM, "--json"))["decisions"][1]["reviewer"] == "Bo"
    assert "kappa undefined" in command("agreement", folder)
    assert len(command("list", folder, "--state", "open").splitlines()) == 2
    path = tmp_path / "items.csv"
    command("export", folder, path)
    filled(folder, path, "Ann", "unsure")
    assert "2 decisions added" in command("import", folder, path)
    assert "<View>" in command("export", folder, tmp_path / "items.json")


def test_the_command_refuses_in_one_line(folder: Path) -> None:
    with pytest.raises(InvalidRequest, match="state is 'odd'"):
        command("list", folder, "--state", "odd")
    with pytest.raises(InvalidRequest, match="reason is 'x'"):
        command("decide", folder, ITEM, "keep", "--reviewer", "Ann", "--reason", "x")
