"""The commands over sources, licenses, preferences and the guard: a line of counts, or one line of what is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from auralith.cli.curate import guard, ingest, licenses
from auralith.cli.fields import name_options
from auralith.curation.store import Store
from auralith.errors import InvalidRequest

Run = Callable[..., str]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command and gives what it printed."""
    app = typer.Typer()
    for module in (ingest, licenses, guard):
        module.register(app)
    name_options(app)

    def run(*arguments: object) -> str:
        app([str(argument) for argument in arguments], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "list.csv"
    rows = [
        "id,name,license,gen_ai_preference",
        "1,a,CC0,",
        "2,b,sampling+,no-gen-ai",
        "3,c,by-nc/3.0,maybe",
        ",d,CC0,",
    ]
    path.write_text("\n".join(rows))
    return path


def test_a_table_from_rows_to_verdicts(run: Run, tmp_path: Path, table: Path) -> None:
    folder = tmp_path / "curation"
    columns = ("--column", "title=name", "--column", "license_raw=license")
    said = run("ingest", folder, table, "--from", "table", "--name", "freesound", *columns)
    assert said == "4 rows: 3 new, 0 repeated, 1 rejected (1 no_id)\n"
    assert Store(folder).read("recordings", ["title"])["title"].to_pylist() == ["a", "b", "c"]
    said = run("licenses", folder, "--licenses", "cc0,cc-by").split("\n")
    assert [line.split() for line in said if line] == [
        ["1", "pass"],
        ["1", "refuse:", "license_nc"],
        ["1", "refuse:", "license_not_selected"],
    ]
    said = run("preferences", folder)
    assert "preference_unknown" in said and "preference_no_gen_ai" in said
    (tmp_path / "fsd.csv").write_text("fname\n1\n")
    assert "refuse: eval_overlap:fsd50k" in run(
        "guard", folder, "--set", f"fsd50k={tmp_path}/fsd.csv"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("ingest", "DIR"), "no input is named"),
        (("ingest", "DIR", "none", "--from", "folder"), "is not a folder"),
        (("ingest", "DIR", "none.csv", "--from", "attribution"), "can't be read"),
        (
            ("ingest", "DIR", "none.csv", "--from", "table", "--column", "title"),
            "column 'title' maps no column",
        ),
        (("ingest", "DIR", "--from", "freesound"), "AURALITH_FREESOUND_KEY is not set"),
        (("licenses", "DIR"), "holds no recordings"),
        (("licenses", "DIR", "--licenses", "gpl"), "licenses: 'gpl' is not one to choose"),
        (("guard", "DIR", "--set", "=x.csv"), "set '=x.csv' is not an evaluation set"),
        (("guard", "DIR", "--set", "mine=x.csv"), "has no source"),
    ],
)
def test_what_cant_be_done_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.delenv("AURALITH_FREESOUND_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match=says) as caught:
        run(*[str(tmp_path / "curation") if one == "DIR" else one for one in arguments])
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "curation/recordings").exists()


def test_a_set_names_its_file_source_and_column() -> None:
    one = guard.parse_set("mine@fma:track=a=b.csv")
    assert (one.name, one.ids, one.source, one.column) == ("mine", Path("a=b.csv"), "fma", "track")
    assert guard.parse_set("audiocaps").ids is None
