"""Sets on several devices: the same bytes as on one, whatever dies in between."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralith.errors import InvalidRequest
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import ModelPlace
from auralith.pipeline import Auralith, load
from auralith.sets import Devices, Made, Problem, SetSettings, make_set, read_rows
from auralith.sets.jobs import FOLDER
from auralith.sound.writing import write
from tests.conftest import GOLDEN

pytestmark = pytest.mark.slow

MODEL = str(GOLDEN / "sao_tiny")
QUICK = {"steps": 2, "seconds_total": 0.3, "window": "fit"}
TWO = Devices(("cpu", "cpu"), ModelPlace("tiny", MODEL), "float32")


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


def rows(folder: Path) -> Path:
    """A table with a variation, a row that no model can make, and plain ones."""
    time = np.arange(13_000) / 44_100
    write(folder / "tone.wav", np.sin(2 * np.pi * 440 * time).astype(np.float32), 44_100)
    write(folder / "long.wav", np.zeros(44_100 * 60, np.float32), 44_100)
    table = folder / "prompts.csv"
    table.write_text("prompt,init_audio\nrain,\nwind,tone.wav\nhail,long.wav\nsnow,\nfog,\n")
    return table


def run(model: Auralith, table: Path, folder: Path, **settings: Any) -> list[Made | Problem]:
    chosen = SetSettings(defaults=QUICK, **settings)
    return list(make_set(model, read_rows(table), folder, chosen))


def sounds(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.wav")}


def test_devices_share_a_set_and_make_the_same_bytes(model: Auralith, tmp_path: Path) -> None:
    table, one, two = rows(tmp_path), tmp_path / "one", tmp_path / "two"
    alone = run(model, table, one)
    steps: list[tuple[int, int | None, int, int]] = []
    settings = SetSettings(defaults=QUICK, devices=TWO)
    shared = list(
        make_set(model, read_rows(table), two, settings, lambda *step: steps.append(step))
    )
    assert sounds(one) == sounds(two)
    assert len(sounds(two)) == 4
    problems = [[e for e in events if isinstance(e, Problem)] for events in (alone, shared)]
    assert [str(e).replace(f"{tmp_path}/", "") for e in problems[0]] == [
        str(e) for e in problems[1]
    ]
    entries = [
        sorted((e.entry for e in events if isinstance(e, Made)), key=lambda entry: entry.row)
        for events in (alone, shared)
    ]
    assert entries[0] == entries[1]
    assert (1, 2) in {(step, of) for step, of, _, _ in steps}
    assert not (two / FOLDER).exists()


def test_what_was_made_before_an_interruption_is_not_made_again(
    model: Auralith, tmp_path: Path
) -> None:
    table, folder = rows(tmp_path), tmp_path / "set"
    events = make_set(model, read_rows(table), folder, SetSettings(defaults=QUICK, devices=TWO))
    first = next(event for event in events if isinstance(event, Made))
    kill_a_worker()  # its job is made by another
    second = next(event for event in events if isinstance(event, Made))
    events.close()
    there = {
        one.entry.file: (folder / one.entry.file).stat().st_mtime_ns for one in (first, second)
    }
    store = JobStore(folder / FOLDER)
    waiting = len(store.jobs())
    store.close()
    assert 1 <= waiting <= 4
    rest = run(model, table, folder, devices=TWO)
    assert sum(isinstance(e, Made) and e.was_there for e in rest) == 2
    assert {name: (folder / name).stat().st_mtime_ns for name in there} == there
    assert sounds(folder) == {
        name: data for name, data in sounds(folder).items() if data[:4] == b"RIFF"
    }
    assert len(sounds(folder)) == 4


def kill_a_worker() -> None:
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")[2].split()
        if fields[1] == str(os.getpid()):
            command = (path.parent / "cmdline").read_bytes()
            if b"auralith.jobs.worker" in command:
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError("there is no worker")


def test_a_form_of_file_that_jobs_do_not_write_is_refused_first(
    model: Auralith, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="is not written on several devices"):
        run(model, rows(tmp_path), tmp_path / "set", devices=TWO, format="ogg", subtype="vorbis")
