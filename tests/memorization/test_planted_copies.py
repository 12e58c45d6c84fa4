"""Copies among generated sounds: planted ones are found, sounds of their own are not, and a stopped run goes on."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr
import torch
from torch import Tensor

from auralith.curation.review import cases, compared, sound_of, view_item
from auralith.data.recording import Recording
from auralith.data.recordings import open_recordings
from auralith.embedders import open_embedder
from auralith.memorization.attribution import attribute_sound
from auralith.memorization.measure import MeasuredSound, MeasureSettings, measure, measured
from auralith.memorization.report import make_report, summary, write_report
from auralith.memorization.training import TrainingSounds, open_training, prepare_training
from tests.memorization.sounds import RATE, Memory, melody

TRAINING, OWN, NULL = 12, 4, 30
SECONDS = 9.0
SETTINGS = MeasureSettings(max_seconds=SECONDS)


def as_mp3(waveform: Tensor) -> Tensor:
    import io

    content = io.BytesIO()
    soundfile.write(content, waveform[0].numpy(), RATE, format="MP3")
    content.seek(0)
    return torch.from_numpy(soundfile.read(content, dtype="float32")[0])[None]


def faster(waveform: Tensor) -> Tensor:
    return torch.from_numpy(soxr.resample(waveform[0].numpy(), 101, 100).astype(np.float32))[None]


def under_noise(waveform: Tensor) -> Tensor:
    noise = torch.randn(waveform.shape, generator=torch.Generator().manual_seed(0))
    return waveform + noise * waveform.square().mean().sqrt() * 10**0.5


def shifted(waveform: Tensor) -> Tensor:
    return torch.cat((0.01 * torch.randn(1, 3 * RATE), waveform[:, 2 * RATE :]), dim=1)


KINDS: dict[str, Callable[[Tensor], Tensor]] = {
    "exact": lambda waveform: waveform,
    "shifted": shifted,
    "-20 dB": lambda waveform: waveform * 0.1,
    "mp3": as_mp3,
    "+1 %": faster,
    "in noise": under_noise,
}


@dataclass(frozen=True)
class Case:
    training: TrainingSounds
    sounds: Memory
    found: list[MeasuredSound]
    null: list[MeasuredSound]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("memorization")
    torch.manual_seed(0)
    known = {f"t{i}": melody(SECONDS, i) for i in range(TRAINING)}
    known["t0 again"] = as_mp3(known["t0"])
    generated = {f"own {i}": melody(SECONDS, 1_000 + i) for i in range(OWN)}
    for number, (kind, change) in enumerate(KINDS.items()):
        for copy in range(2):
            generated[f"{kind} {copy}"] = change(known[f"t{2 * number + copy}"])
    generated["silent"] = torch.zeros(1, int(SECONDS * RATE))
    sounds = Memory(generated)
    embedder = open_embedder("mel")
    list(prepare_training(Memory(known), embedder, folder / "training"))
    training = open_training(Memory(known), folder / "training")
    list(measure(sounds, embedder, training, folder / "sounds", SETTINGS))
    held_out = Memory({f"n{i}": melody(SECONDS, 5_000 + i) for i in range(NULL)})
    list(measure(held_out, embedder, training, folder / "null", SETTINGS))
    return Case(
        training,
        sounds,
        measured(folder / "sounds", training, SETTINGS),
        measured(folder / "null", training, SETTINGS),
    )


def recall(case: Case, kind: str, test: str) -> float:
    """Return the share of copies of a kind whose statistic is beyond every one of the null."""
    copies = [one for one in case.found if one.id.startswith(kind)]
    most = max(value(one, test) for one in case.null)
    return float(np.mean([value(one, test) > most for one in copies]))


def value(one: MeasuredSound, test: str) -> float:
    found = one.statistics[test]
    return -np.inf if found is None else found


def test_planted_copies_are_found(case: Case) -> None:
    table = {
        kind: {t: recall(case, kind, t) for t in ("landmarks", "mel", "ratio")} for kind in KINDS
    }
    print(json.dumps(table, indent=1))
    for kind in ("exact", "shifted", "-20 dB", "mp3"):
        assert table[kind]["landmarks"] == table[kind]["mel"] == 1, kind
    assert table["exact"]["ratio"] == table["-20 dB"]["ratio"] == 1
    assert table["+1 %"]["landmarks"] == 1
    order = [
        np.mean([one.statistics["mel"] or 0 for one in case.found if one.id.startswith(k)])
        for k in ("exact", "mp3", "+1 %", "in noise")
    ]
    assert order == sorted(order, reverse=True)


def test_copies_are_found_where_they_are(case: Case) -> None:
    for number, kind in enumerate(("exact", "shifted", "-20 dB", "mp3")):
        for copy in range(2):
            [one] = [m for m in case.found if m.id == f"{kind} {copy}"]
            offset = -1.0 if kind == "shifted" else 0.0
            name = f"t{2 * number + copy}"
            assert one.landmarks is not None and one.mel is not None
            assert one.landmarks.id == name or (name, one.landmarks.id) == ("t0", "t0 again")
            lag = one.mel.match.reference_start_s - one.mel.match.query_start_s
            assert lag == pytest.approx(offset, abs=0.05)
            lag = one.landmarks.training_start_s - one.landmarks.query_start_s
            assert lag == pytest.approx(offset, abs=0.1)


def test_only_copies_are_flagged(case: Case) -> None:
    """At a rate of 25 %, as 30 held-out recordings can't show less for 16 sounds."""
    report = make_report(case.sounds, case.found, case.null, case.training, SETTINGS, fdr=0.25)
    assert report.has_verdicts
    assert not [id for id in report.flagged if id.startswith("own")]
    for kind in ("exact", "shifted", "-20 dB", "mp3"):
        assert {f"{kind} 0", f"{kind} 1"} <= set(report.flagged)
    assert report.failed.keys() == {"silent"}
    assert (report.sounds, report.null_sounds, report.training_sounds) == (17, NULL, TRAINING + 1)
    assert report.copied == 2
    assert report.candidates[0].is_flagged and report.candidates[0].p_value == 1 / (NULL + 1)
    assert report.set_p_value is not None and report.set_p_value < 0.001
    assert any("as a set, the sounds are nearer" in line for line in summary(report))


def test_sounds_of_their_own_are_no_set_of_copies(case: Case) -> None:
    own = [one for one in case.found if one.id.startswith("own")]
    report = make_report(case.sounds, own, case.null, case.training, SETTINGS)
    assert not report.flagged
    assert report.set_p_value is not None and report.set_p_value > 0.05
    assert any("are not significantly nearer" in line for line in summary(report))


def test_one_sound_of_each_prompt_counts_in_the_set(case: Case) -> None:
    class Prompted(Memory):
        def __getitem__(self, i: int) -> Recording:
            one = super().__getitem__(i)
            return replace(one, metadata={"Caption": one.id.split()[0]})

    prompted = Prompted(case.sounds.sounds)
    report = make_report(prompted, case.found, case.null, case.training, SETTINGS)
    assert report.prompts_known
    assert {test.sounds for test in report.set_tests.values()} == {7}  # own and six kinds
    assert any("7 sounds, one for each prompt" in line for line in summary(report))
    plain = make_report(case.sounds, case.found, case.null, case.training, SETTINGS)
    assert {test.sounds for test in plain.set_tests.values()} == {16} and not plain.prompts_known


def test_held_out_recordings_that_were_trained_on_are_left_out(case: Case) -> None:
    """By their samples, as a copy of the file has them; and none counts twice."""
    copies = [one for one in case.found if one.id.startswith("exact")]
    again = [replace(case.null[0], id="again")]
    null = copies + case.null + again
    report = make_report(case.sounds, case.found, null, case.training, SETTINGS)
    assert (report.null_trained, report.null_repeated) == (("exact 0", "exact 1"), ("again",))
    assert report.null_sounds == NULL
    told = [line for line in summary(report) if "left out of the null" in line]
    assert told[0].startswith("2 held-out recordings have the samples of a training sound")
    assert told[0].endswith("exact 0, exact 1") and "1 held-out" in told[1]
    nothing = make_report(case.sounds, case.found, copies, case.training, SETTINGS)
    assert not nothing.has_verdicts


def test_without_a_null_there_is_no_verdict(case: Case, tmp_path: Path) -> None:
    report = make_report(case.sounds, case.found, None, case.training, SETTINGS)
    assert not report.has_verdicts and not report.flagged
    assert not report.tests and not report.set_tests and report.set_p_value is None
    assert not any(one.p_values or one.p_value or one.is_flagged for one in report.candidates)
    assert report.candidates[0].id.split()[0] in {"exact", "shifted", "-20", "mp3"}
    write_report(report, case.found, [], tmp_path)
    assert "no verdict" in (tmp_path / "memorization.md").read_text()
    assert "no verdict" in (tmp_path / "index.html").read_text()


def test_the_null_is_held_to_its_rate(case: Case) -> None:
    """Half of the held-out recordings against the other half."""
    half = NULL // 2
    report = make_report(case.sounds, case.null[:half], case.null[half:], case.training, SETTINGS)
    assert not report.flagged
    assert report.verdicts is not None
    for test in (report.verdicts, *report.tests.values()):
        assert np.mean(np.array(test.p_values) <= 0.2) <= 0.2 + 3 * np.sqrt(0.2 * 0.8 / half)


def test_a_null_that_is_like_copies_says_so(case: Case) -> None:
    """Held-out recordings a twentieth of which are as near to training sounds as copies hide copies."""
    copies = [one for one in case.found if one.id.startswith("-20 dB")]
    doubt = "copies may not be flagged"
    for null, is_doubtful in ((case.null, False), (case.null + copies, True)):
        report = make_report(case.sounds, case.found, null, case.training, SETTINGS)
        assert any(doubt in line for line in summary(report)) == is_doubtful


def test_the_report_has_all_of_it(case: Case, tmp_path: Path) -> None:
    report = make_report(case.sounds, case.found, case.null, case.training, SETTINGS)
    write_report(report, case.found, case.null, tmp_path)
    made = json.loads((tmp_path / "memorization.json").read_text())
    assert made["protocol_sha256"] == report.protocol_sha256
    assert len(made["measured"]) == 17
    lines = (tmp_path / "candidates.jsonl").read_text().splitlines()
    assert [json.loads(line)["rank"] for line in lines] == list(range(1, 17))
    page = (tmp_path / "index.html").read_text()
    assert page.count("<audio") == 32 and "author of t" in page
    assert (tmp_path / "statistics.png").read_bytes().startswith(b"\x89PNG")
    assert "author of t" in (tmp_path / "memorization.md").read_text()


def test_a_stopped_comparison_goes_on(case: Case, tmp_path: Path) -> None:
    sounds = Memory({id: case.sounds.sounds[id] for id in case.sounds.ids[6:12]})
    embedder = open_embedder("mel")
    for at in measure(sounds, embedder, case.training, tmp_path, SETTINGS):
        if at.stage.endswith("comparing") and at.done == 3:
            break
    [path] = tmp_path.glob("measured-*.jsonl")
    whole = path.read_bytes()
    assert whole.count(b"\n") == 3
    path.write_bytes(whole + b'{"id": "half of a li')
    list(measure(sounds, embedder, case.training, tmp_path, SETTINGS))
    found = measured(tmp_path, case.training, SETTINGS)
    assert found == [one for one in case.found if one.id in sounds.ids]


def test_a_sound_is_attributed(case: Case, tmp_path: Path) -> None:
    waveform = case.sounds.sounds["mp3 1"]
    assert waveform is not None
    soundfile.write(tmp_path / "made.wav", waveform[0].numpy(), RATE)
    found = attribute_sound(tmp_path / "made.wav", open_embedder("mel"), case.training, 4)
    assert len(found) == 4
    assert found[0]["id"] == "t7" and found[0]["author"] == "author of t7"
    assert found[0]["license"] == "CC0-1.0"
    assert found[0]["landmark_p"] < 1e-9 and found[0]["mel_correlation"] > 0.9
    assert "p_value" not in found[0]
    beside = attribute_sound(
        tmp_path / "made.wav", open_embedder("mel"), case.training, 4, null=case.null
    )
    assert beside[0].pop("p_value") == 1 / (NULL + 1)
    assert all(one.pop("p_value") > 0.1 for one in beside[1:]) and beside == found


def test_strokes_that_die_away_alike_are_no_copies(tmp_path: Path) -> None:
    """Two strokes that die away alike are no copies; a recording and its MP3 are."""
    t = torch.arange(2 * RATE) / RATE
    generator = torch.Generator().manual_seed(0)
    strokes = {
        f"stroke {i}": torch.randn(1, 2 * RATE, generator=generator) * torch.exp(-3 * t)
        for i in range(2)
    }
    rain = torch.randn(1, 8 * RATE, generator=generator) * 0.1
    known = Memory(strokes | {"rain": rain, "rain again": as_mp3(rain), "song": melody(8, 1)})
    list(prepare_training(known, open_embedder("mel"), tmp_path, min_cosine=0.0))
    found = open_training(known, tmp_path).duplicates
    assert found.copies == {"rain": ["rain", "rain again"]}


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[dict[str, Path]]:
    made = {}
    for name, seeds in (("training", range(4)), ("audio", (2, 90)), ("null", range(50, 53))):
        made[name] = tmp_path / name
        made[name].mkdir()
        for seed in seeds:
            path = made[name] / f"{seed}.wav"
            soundfile.write(path, melody(6, seed)[0].numpy(), RATE)
            path.with_suffix(".json").write_text(json.dumps({"artist": f"artist {seed}"}))
    yield made | {"out": tmp_path / "out", "review": tmp_path / "review"}
    shutil.rmtree(tmp_path)


def test_the_commands(folders: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from auralith.cli.main import run

    options = [f"--{name}={folders[name]}" for name in ("audio", "training", "null", "review")]
    assert run(["memorization", "-o", str(folders["out"]), *options]) == 0
    shown = capsys.readouterr()
    assert "2 sounds, 0 of them could not be compared" in shown.out
    assert shown.out.splitlines()[-1] == str(folders["out"])
    assert "2 new items" in shown.err
    assert {case.item.rec_id for case in cases(folders["review"])} == {"2.wav", "90.wav"}
    for case in cases(folders["review"]):
        found = compared(view_item(folders["review"], case.item.item_id).payload)
        assert sound_of(folders["review"], found.suspect) == folders["audio"] / case.item.rec_id
        (match,) = found.matches
        assert sound_of(folders["review"], match.side) == folders["training"] / match.side.id
        assert match.side.author == f"artist {Path(match.side.id).stem}"
        if case.item.rec_id == "2.wav":
            assert match.query_start_s == match.ref_start_s
    report = json.loads((folders["out"] / "memorization.json").read_text())
    assert report["candidates"][0]["training_id"] == "2.wav"
    assert report["candidates"][0]["facts"] == {"author": "artist 2"}
    before = asdict(
        open_training(
            open_recordings(folders["training"], prompt_column=None), folders["out"] / "training"
        ).duplicates
    )
    assert before["copies"] == {}
    file = str(folders["audio"] / "2.wav")
    line = ["attribute", file, options[1], "--work", str(folders["out"]), "--json"]
    assert run(line) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["id"], first["author"]) == ("2.wav", "artist 2")
    assert run([*line, "--null", str(folders["null"])]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (first["id"], first["p_value"]) == ("2.wav", 0.25)
    assert run([*line[:-1], "--null", str(folders["training"])]) == 2
    assert "no held-out recording is left" in capsys.readouterr().err
    assert run(["attribute", str(folders["out"] / "none.wav"), *line[2:]]) == 2
    assert run(["memorization", "-o", str(folders["out"]), *options, "--embedder", "none"]) == 2
