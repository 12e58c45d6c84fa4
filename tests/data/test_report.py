"""The scan before training: every bad recording is named and counted, and a hopeless dataset stops in one line."""

import json
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, tone, write_sound

from auralith.data.crops import AudioOptions
from auralith.data.prompts import PromptOptions
from auralith.data.recording import StoredRecordings
from auralith.data.recordings import open_recordings
from auralith.data.report import DatasetReport, scan, scan_steps
from auralith.errors import InvalidRequest

OPTIONS = AudioOptions(RATE, 2)


def dataset(folder: Path, prompts: list[str]) -> Path:
    rows = [f'{i:03}.wav,"{prompt}"\n' for i, prompt in enumerate(prompts)]
    for i in range(len(prompts)):
        write_sound(folder / f"{i:03}.wav", tone(0.25))
    (folder / "t.csv").write_text("path,prompt\n" + "".join(rows))
    return folder / "t.csv"


def spoiled(folder: Path) -> StoredRecordings:
    """Ten recordings of which four can't be used, each in its own way."""
    table = dataset(folder, [f"tone {i}" for i in range(8)] + ["", "tone 9"])
    (folder / "001.wav").unlink()
    (folder / "003.wav").write_text("not sound")
    write_sound(folder / "005.wav", tone(rate=16_000), 16_000)
    return open_recordings(table)


def test_bad_recordings_are_named_with_their_reasons(tmp_path: Path):
    report = scan(spoiled(tmp_path), OPTIONS, PromptOptions())
    assert report.usable == (0, 2, 4, 6, 7, 9)
    assert [Path(path).name for path, _ in report.bad] == [
        "001.wav",
        "003.wav",
        "005.wav",
        "008.wav",
    ]
    for (path, reason), says in zip(
        report.bad, ["doesn't exist", "not a readable", "16000 Hz", "empty prompt"], strict=True
    ):
        assert path in reason and says in reason
    assert report.seconds == 6 * 0.25
    assert (report.sample_rates, report.channels) == ({RATE: 6}, {1: 6})
    assert report.distinct_prompts == 6
    with pytest.raises(
        InvalidRequest, match=r"^4 of 10 recordings can't be used, 5% at most.*001\.wav"
    ) as caught:
        report.check(2)
    assert "\n" not in str(caught.value)


def test_the_report_is_json(tmp_path: Path):
    report = scan(spoiled(tmp_path), OPTIONS, None)
    report.write(tmp_path / "report.json")
    found = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (found["recordings"], found["usable"], found["distinct_prompts"]) == (10, 7, None)
    assert found["bad"][0] == {"path": report.bad[0][0], "reason": report.bad[0][1]}
    assert found["sample_rates"] == {str(RATE): 7}


@pytest.mark.parametrize("threads", [1, 5])
def test_progress_counts_up_and_ends_with_the_report(threads: int, tmp_path: Path):
    recordings = open_recordings(dataset(tmp_path, [f"tone {i}" for i in range(70)]))
    steps = list(scan_steps(recordings, OPTIONS, PromptOptions(), threads=threads))
    assert [step.done for step in steps] == list(range(1, 71))
    assert [step.report is None for step in steps] == [True] * 69 + [False]
    assert steps[-1].report == scan(recordings, OPTIONS, PromptOptions())


def test_a_scan_can_be_given_up(tmp_path: Path):
    steps = scan_steps(open_recordings(dataset(tmp_path, ["a", "b", "c"])), OPTIONS, None)
    assert next(steps).done == 1
    steps.close()


def test_decoding_finds_what_headers_hide(tmp_path: Path):
    table = dataset(tmp_path, ["a", "b", "c", "d"])
    samples = tone(0.25)
    samples[99] = np.nan
    write_sound(tmp_path / "000.wav", samples)
    write_sound(tmp_path / "001.wav", 1e-4 * tone(0.25))
    mp3 = write_sound(tmp_path / "long.mp3", tone(4.0))
    (tmp_path / "002.wav").write_bytes(mp3.read_bytes()[: mp3.stat().st_size // 2])
    recordings = open_recordings(table)
    assert scan(recordings, OPTIONS, None).usable == (0, 1, 2, 3)
    report = scan(recordings, OPTIONS, None, decode=True)
    assert report.usable == (3,)
    for (_, reason), says in zip(
        report.bad, ["NaN or infinity at sample 99", "is silent", "is cut short"], strict=True
    ):
        assert says in reason


def made(usable: int, bad: int = 0, distinct: int | None = 9) -> DatasetReport:
    files = tuple((f"{i}.wav", f"{i}.wav doesn't exist") for i in range(bad))
    return DatasetReport(usable + bad, tuple(range(usable)), files, 1.0, {}, {}, distinct)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (made(0), "none of the 0 recordings"),
        (made(0, 3), r"none of the 3 recordings can be used, the first: 0\.wav doesn't exist"),
        (made(94, 6), "6 of 100 recordings can't be used"),
        (made(7), "7 usable recordings are fewer than a batch of 8"),
        (made(20, distinct=1), "all 20 prompts are equal"),
    ],
)
def test_a_dataset_that_cant_teach_stops_in_one_line(report: DatasetReport, message: str):
    with pytest.raises(InvalidRequest, match=message) as caught:
        report.check(8)
    assert "\n" not in str(caught.value)


def test_a_dataset_that_can_teach_passes():
    made(95, 5).check(8)
    made(8).check(8)
    made(20, distinct=None).check(8)
    made(20, distinct=1).check(8, equal_prompts=True)
    made(1, distinct=1).check(1)


def test_equal_metadata_counts_as_equal_prompts(tmp_path: Path):
    for i in range(3):
        write_sound(tmp_path / f"{i}.wav", tone(0.25))
        (tmp_path / f"{i}.json").write_text(json.dumps({"title": "tone", "license": str(i)}))
    report = scan(open_recordings(tmp_path), OPTIONS, PromptOptions())
    assert report.distinct_prompts == 1


@pytest.mark.parametrize("count", [0, 2])
def test_nothing_usable_is_reported_too(count: int, tmp_path: Path):
    recordings = open_recordings(dataset(tmp_path, [f"tone {i}" for i in range(2)]))
    nothing = scan(recordings if count else StoredRecordings([]), AudioOptions(44_100), None)
    assert (nothing.total, nothing.usable, nothing.seconds) == (count, (), 0.0)
    with pytest.raises(InvalidRequest, match=f"none of the {count} recordings"):
        nothing.check(1)
