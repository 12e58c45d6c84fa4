"""The whole curation by one command: under both runners, after a kill, after a review, and with bad input."""

import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from auralith.cli.curate import curate as app
from auralith.curation.engine import StageProgress
from auralith.curation.outcomes import outcomes
from auralith.curation.review import cases, decide
from auralith.curation.run import curate, run_step
from auralith.curation.settings import STAGES, CurationSettings
from auralith.curation.steps import steps
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.files import exclusive
from auralith.settings import load_settings, read_toml
from tests.curation.toy_pipeline import ENVIRONMENT, ROOT, run_toy, toy_recordings
from tests.curation.toy_stages import ToySettings
from tests.curation.whole import EXPECTED, recipe, write_inputs

TOY_ROWS = 90


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder)
    return folder


def run(
    inputs: Path, output: Path, **overrides: str
) -> tuple[CurationSettings, list[StageProgress]]:
    path = recipe(inputs, output, output.name)
    settings = load_settings(CurationSettings, path, [f"{k}={v}" for k, v in overrides.items()])
    return settings, list(curate(settings))


@pytest.fixture(scope="module")
def native(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> CurationSettings:
    return run(inputs, tmp_path_factory.mktemp("native"))[0]


def tables(folder: Path) -> Mapping[str, list[dict[str, object]]]:
    """All rows of all tables, but when they were made."""
    store = Store(folder)
    found = {}
    for name in ("recordings", "rejected", *STAGES):
        table = store.read(name)
        times = [c for c in ("at", "retrieved_at") if c in table.column_names]
        found[name] = table.drop_columns(times).to_pylist()
    return found


def results(settings: CurationSettings) -> dict[str, tuple[object, ...]]:
    table = outcomes(Store(settings.folder), settings)
    rows = table.select(["rec_id", "outcome", "stage", "reason_code"]).to_pylist()
    return {row["rec_id"]: tuple(row.values())[1:] for row in rows}


def test_each_recording_ends_where_it_must(native: CurationSettings) -> None:
    assert results(native) == EXPECTED


def test_a_row_without_an_id_is_rejected_and_counted(native: CurationSettings) -> None:
    rejected = Store(native.folder).read("rejected").to_pylist()
    assert [(row["file"], row["reason_code"]) for row in rejected] == [("tracks.csv", "no_id")]


def test_a_step_sees_only_what_the_steps_before_it_let_pass(native: CurationSettings) -> None:
    seen = {name: {row["rec_id"] for row in rows} for name, rows in tables(native.folder).items()}
    assert (
        "folder:unwilling.wav" in seen["preference"]
        and "folder:unlicensed.wav" not in seen["preference"]
    )
    assert "folder:text.wav" in seen["probe"] and "folder:unwilling.wav" not in seen["probe"]
    assert seen["metadata"] == {"fma:1", "fma:2", "fma:3"} and "fma:1" not in seen["guard"]


def test_doing_it_again_changes_nothing(native: CurationSettings) -> None:
    def files() -> dict[Path, int]:
        store = Store(native.folder)
        found = [path for name in ("recordings", *STAGES) for path in store.slices(name)]
        return {path: path.stat().st_mtime_ns for path in found}

    before = files()
    again = list(curate(native))
    assert files() == before and before
    last = {at.stage: at for at in again}
    assert last["license"].counts == {"pass": 10, "refuse": 2}
    assert last["probe"].counts == {"pass": 5, "quarantine": 1, "error": 3}


def test_progress_ends_complete_and_counts_each_step(inputs: Path, tmp_path: Path) -> None:
    _, progress = run(inputs, tmp_path / "out")
    last = {at.stage: at for at in progress}
    assert list(last) == [
        *("ingest folder", "ingest fma", "license", "preference", "probe", "metadata"),
        *("review", "guard"),
    ]
    assert all(at.done == at.total for name, at in last.items() if name != "review")
    assert (last["review"].done, last["review"].total) == (0, 1)
    assert last["ingest fma"].counts == {"new": 4, "repeated": 0, "rejected": 1}


def test_what_people_decide_is_taken_in_by_the_next_run(inputs: Path, tmp_path: Path) -> None:
    settings, _ = run(inputs, tmp_path / "out")
    (case,) = cases(settings.folder)
    for person in ("ann", "bob"):
        decide(settings.folder, case.item.item_id, person, "keep", "rightsholder_is_uploader")
    assert results(settings)["fma:1"] == ("pending", "guard", "not_run")
    assert [at for at in curate(settings) if at.stage == "guard"][-1].total == 5
    assert results(settings) == EXPECTED | {"fma:1": ("accepted", None, None)}


def test_other_licenses_are_one_setting(inputs: Path, tmp_path: Path) -> None:
    settings, _ = run(inputs, tmp_path / "out", **{"license.licenses": '["cc0"]'})
    found = results(settings)
    assert found["fma:2"] == ("removed", "license", "license_not_selected")
    assert found["folder:drone.wav"] == ("accepted", None, None)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_a_kill_loses_nothing_that_was_finished(
    native: CurationSettings, inputs: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = recipe(inputs, tmp_path / "out", "killed")
    command = [sys.executable, "-m", "auralith", "curate", "run", str(path)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    store, deadline = Store(tmp_path / "out"), time.monotonic() + 60
    while len(store.slices("probe")) < 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == code and "Traceback" not in said
    finished = {path: path.stat().st_mtime_ns for path in store.slices("probe")}
    assert len(finished) >= 2 and not store.slices("guard"), "killed too late to show anything"
    settings, _ = run(inputs, tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert results(settings) == EXPECTED
    by_id = {name: sorted(map(str, rows)) for name, rows in tables(native.folder).items()}
    assert {name: sorted(map(str, rows)) for name, rows in tables(settings.folder).items()} == by_id


def test_a_ray_cluster_gives_the_same_tables_row_by_row(
    native: CurationSettings, inputs: Path, tmp_path: Path
) -> None:
    pytest.importorskip("ray")
    toy, here = tmp_path / "toy", tmp_path / "here"
    path = recipe(inputs, tmp_path / "ray", "ray")
    words = [str(toy), str(TOY_ROWS), str(tmp_path / "calls"), str(path)]
    process = subprocess.run(
        [sys.executable, "-m", "tests.curation.ray_job", *words],
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert process.returncode == 0, process.stderr.decode()[-2000:]
    assert tables(tmp_path / "ray") == tables(native.folder)
    run_toy(here, toy_recordings(TOY_ROWS), ToySettings(), tmp_path / "others")
    same = [Store(folder).read("toy").drop_columns("at") for folder in (toy, here)]
    assert same[0].equals(same[1]) and same[0].num_rows == TOY_ROWS


def test_the_recipe_states_what_the_card_says_and_no_default() -> None:
    path = ROOT / "recipes" / "curate.toml"
    settings = load_settings(CurationSettings, path)
    assert settings.stages == STAGES and not settings.dedupe
    assert [source.kind for source in settings.sources] == ["pack", "fma"]
    defaults = vars(CurationSettings())
    assert all(defaults[name] != vars(settings)[name] for name in read_toml(path))


def test_a_setting_that_does_not_exist_is_named_with_the_nearest(
    inputs: Path, tmp_path: Path
) -> None:
    path = recipe(inputs, tmp_path / "out", "misspelled")
    with pytest.raises(
        InvalidRequest, match=r"--set dedup is not a setting; did you mean 'dedupe'\?"
    ):
        load_settings(CurationSettings, path, ["dedup=true"])


def test_two_processes_do_not_write_evidence_at_once(tmp_path: Path) -> None:
    store, settings = Store(tmp_path), CurationSettings(tmp_path, stages=("license",))
    store.append("recordings", toy_recordings(30), "batch-0")
    (step,) = steps(settings)
    ids = store.recordings(["rec_id"])["rec_id"].combine_chunks()
    with (
        exclusive(store.folder),
        pytest.raises(InvalidRequest, match="another process works on"),
    ):
        next(run_step(store, settings, step, ids, {}))
    assert [at.done for at in run_step(store, settings, step, ids, {})] == [0, 30]


def test_no_sources_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="holds no recordings"):
        list(curate(CurationSettings(folder=tmp_path / "new", stages=("license",))))


def test_one_source_has_one_folder_of_sounds(inputs: Path, tmp_path: Path) -> None:
    path = recipe(inputs, tmp_path / "out", "twice")
    extra = f'[[sources]]\nkind="folder"\nname="fma"\npath="{inputs / "sounds"}"\n'
    path.write_text(path.read_text() + extra)
    with pytest.raises(InvalidRequest, match="'fma' lie in two folders"):
        list(curate(load_settings(CurationSettings, path)))


def test_a_step_without_what_it_needs_says_so_before_it_begins(
    inputs: Path, tmp_path: Path
) -> None:
    path = recipe(inputs, tmp_path / "out", "no_catalogue")
    path.write_text(path.read_text().replace("catalogue =", "#"))
    with pytest.raises(InvalidRequest, match="name one as catalogue, or leave 'metadata' out"):
        list(curate(load_settings(CurationSettings, path)))
    assert not (tmp_path / "out").exists()


def test_the_command_prints_a_line_for_each_step(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["run", str(recipe(inputs, tmp_path / "out", "command"))], standalone_mode=False)
    said = capsys.readouterr()
    assert "license 12/12" in said.err and "2 refuse" in said.err
    assert said.out.strip().endswith(str(tmp_path / "out"))
    lines = [line.split() for line in said.out.splitlines()]
    assert ["guard", "4", "1", "0", "0", "3"] in [line[:6] for line in lines]
    assert ["license", "12", "2", "0", "0", "10", "0.0", "0.0", "license_nc", "1"] in lines


def test_the_command_names_a_cluster_that_does_not_answer(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "")  # put back after the command has set it
    with pytest.raises(InvalidRequest, match="ray is 'nowhere', not the address"):
        app(
            ["--ray", "nowhere", "run", str(recipe(inputs, tmp_path / "out", "nowhere"))],
            standalone_mode=False,
        )
