"""The engine: one row for each recording, nothing repeated after a kill, and bad input as rows or one line."""

import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from auralith.curation.engine import EngineSettings, use_ray
from auralith.curation.store import Store
from auralith.errors import CheckpointError, InvalidRequest, ResourceError
from tests.curation.toy_pipeline import (
    ENVIRONMENT,
    ROOT,
    SLICE_ROWS,
    run_step,
    run_toy,
    toy_recordings,
    toy_step,
)
from tests.curation.toy_stages import NoWeights, ToySettings

NUM_ROWS = 210


def start(runner: str, folder: Path, calls: Path) -> subprocess.Popen[bytes]:
    module = ["-m", "tests.curation.toy_pipeline"]
    command = [sys.executable, *module, runner, str(folder), str(NUM_ROWS), str(calls)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)


def rows(store: Store) -> list[dict[str, object]]:
    """All evidence but when it was made."""
    return store.read("toy").drop_columns("at").to_pylist()


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("native")
    return run_toy(folder, toy_recordings(NUM_ROWS), ToySettings(pause_s=0.05), folder / "calls")


def test_each_recording_has_one_row_sorted_by_id_and_the_stages_columns(native: Store) -> None:
    table = native.read("toy")
    ids = table["rec_id"].to_pylist()
    assert ids == sorted(f"toy:{n}" for n in range(NUM_ROWS))
    by_id = {row["rec_id"]: row for row in table.to_pylist()}
    assert by_id["toy:10"]["verdict"] == "refuse" and by_id["toy:10"]["reason_code"] == "divisible"
    assert by_id["toy:10"]["words"] == ["a", "10"] and by_id["toy:9"]["words"] is None
    assert by_id["toy:9"]["top"] == [{"index": 2, "seconds": 9 / 8}]
    assert by_id["toy:9"]["score"] == 3.0 and by_id["toy:4"]["length"] == len("<å> " * 4)


@pytest.mark.parametrize("runner", ["native", "ray"])
def test_a_kill_loses_at_most_the_slices_in_flight_and_nothing_is_repeated(
    native: Store, tmp_path: Path, runner: str
) -> None:
    if runner == "ray":
        pytest.importorskip("ray")
    folder, calls = tmp_path / "killed", tmp_path / "calls"
    process = start(runner, folder, calls)
    deadline = time.monotonic() + 60
    while len(Store(folder).slices("toy")) < 3 and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = set(Store(folder).read("toy")["rec_id"].to_pylist())
    asked = set(calls.read_text().split())
    assert 3 * SLICE_ROWS <= len(finished) < NUM_ROWS, "the kill came too late to show anything"
    assert len(asked - finished) <= 4 * SLICE_ROWS

    calls.unlink()
    assert start(runner, folder, calls).wait(timeout=300) == 0
    again = Counter(calls.read_text().split())
    assert finished.isdisjoint(again)
    assert again.total() == NUM_ROWS - len(finished)
    assert sorted(map(str, rows(Store(folder)))) == sorted(map(str, rows(native)))


def test_a_finished_stage_is_not_asked_again(native: Store, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    run_toy(native.folder, toy_recordings(NUM_ROWS), ToySettings(pause_s=0.05), calls)
    assert not calls.exists()


def test_the_same_inputs_give_the_same_rows_in_the_same_files(
    native: Store, tmp_path: Path
) -> None:
    settings, recordings = ToySettings(pause_s=0.05), toy_recordings(NUM_ROWS)
    backwards = recordings.take(list(reversed(range(NUM_ROWS))))
    store = run_toy(tmp_path / "again", backwards, settings, tmp_path / "calls")
    assert rows(store) == rows(native)
    assert [path.name for path in store.slices("toy")] == [p.name for p in native.slices("toy")]


def test_other_settings_make_rows_of_their_own(tmp_path: Path) -> None:
    recordings = toy_recordings(30)
    run_toy(tmp_path, recordings, ToySettings(), tmp_path / "calls")
    store = run_toy(tmp_path, recordings, ToySettings(refuse_every=2), tmp_path / "calls")
    table = store.read("toy")
    assert table.num_rows == 60 and len(set(table["params_hash"].to_pylist())) == 2
    assert Counter(table["verdict"].to_pylist()) == {"refuse": 6 + 15, "pass": 24 + 15}


def test_new_recordings_are_added_to_what_is_finished(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    run_toy(tmp_path, toy_recordings(30), ToySettings(), calls)
    run_toy(tmp_path, toy_recordings(50), ToySettings(), calls)
    assert Counter(calls.read_text().split()) == {f"toy:{n}": 1 for n in range(50)}


def test_progress_counts_what_is_done_by_outcome(tmp_path: Path) -> None:
    step = toy_step(ToySettings(fail_on="toy:1"))
    first = run_step(Store(tmp_path), step, toy_recordings(30), EngineSettings(20))
    told = [(one.done, one.total, one.counts) for one in first]
    assert told[0] == (0, 30, {}) and [done for done, *_ in told] == [0, 20, 30]
    assert told[-1][2] == {"pass": 23, "refuse": 6, "error": 1}
    (again,) = run_step(Store(tmp_path), step, toy_recordings(30))
    assert (again.done, again.total, again.counts) == (30, 30, told[-1][2])


def test_a_recording_that_makes_a_stage_raise_is_a_row_with_its_reason(tmp_path: Path) -> None:
    store = run_toy(tmp_path, toy_recordings(30), ToySettings(fail_on="toy:7"), tmp_path / "calls")
    by_id = {row["rec_id"]: row for row in store.read("toy").to_pylist()}
    bad = by_id.pop("toy:7")
    assert (bad["status"], bad["verdict"]) == ("error", "quarantine")
    assert bad["reason_code"] == "stage_failed:ValueError" and bad["words"] is None
    assert len(by_id) == 29 and all(row["status"] == "ok" for row in by_id.values())


def test_errors_are_tried_again_only_if_asked_for(tmp_path: Path) -> None:
    recordings, store = toy_recordings(30), Store(tmp_path)
    step = toy_step(ToySettings(fail_on="toy:7"), str(tmp_path / "calls"))
    for retry in (False, False, True):
        for _ in run_step(store, step, recordings, EngineSettings(retry_errors=retry)):
            pass
    ids = Counter(store.read("toy")["rec_id"].to_pylist())
    assert ids.pop("toy:7") == 2 and set(ids.values()) == {1}


def test_a_stage_that_cannot_work_at_all_says_so_and_writes_nothing(tmp_path: Path) -> None:
    step = toy_step(ToySettings(), stage=NoWeights)
    with pytest.raises(CheckpointError, match=r"^toy\.pth is not there; download it$"):
        list(run_step(Store(tmp_path), step, toy_recordings(30)))
    assert Store(tmp_path).slices("toy") == []


def test_processes_of_their_own_give_the_same_rows(native: Store, tmp_path: Path) -> None:
    step = toy_step(ToySettings(pause_s=0.05), heavy=True)
    settings = EngineSettings(heavy_slice_rows=SLICE_ROWS, workers=2)
    store = Store(tmp_path)
    for _ in run_step(store, step, toy_recordings(NUM_ROWS), settings):
        pass
    assert rows(store) == rows(native)


def test_no_recordings_are_no_work(tmp_path: Path) -> None:
    store = run_toy(tmp_path, toy_recordings(0), ToySettings(), tmp_path / "calls")
    assert store.slices("toy") == [] and isinstance(store.read("toy"), pa.Table)


def test_slices_without_rows_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="slice_rows"):
        EngineSettings(slice_rows=0)


def test_a_cluster_address_that_does_not_answer_is_one_line_within_a_bounded_time() -> None:
    pytest.importorskip("ray")
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()
        port, started = deaf.getsockname()[1], time.monotonic()
        with pytest.raises(ResourceError, match=f"answers at 127.0.0.1:{port} within 1 s") as said:
            use_ray(f"127.0.0.1:{port}", timeout_s=1.0)
    assert time.monotonic() - started < 10 and "\n" not in str(said.value)


def test_an_address_where_nobody_listens_is_one_line_at_once() -> None:
    pytest.importorskip("ray")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address, started = f"127.0.0.1:{unused.getsockname()[1]}", time.monotonic()
        with pytest.raises(ResourceError, match=f"answers at {address} .*refused"):
            use_ray(address)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("address", ["cluster", "host:many", "http://host:80", "a b", ":6379"])
def test_what_is_no_address_is_refused_at_once(address: str) -> None:
    pytest.importorskip("ray")
    with pytest.raises(InvalidRequest, match="HOST:PORT"):
        use_ray(address)
