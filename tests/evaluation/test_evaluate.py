"""The whole way from prompts to a report, with embedders that need no weights."""

import json
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.cli.main import run
from auralith.embedders import open_embedder
from auralith.embedders.embedder import ProtocolValue, checked
from auralith.errors import InvalidRequest
from auralith.evaluation.comparison import compare_systems
from auralith.evaluation.measures import Generated, Metric, MetricSettings, parse_metric
from auralith.evaluation.prompts import Prompt, PromptList, texts_of
from auralith.evaluation.reference import ReferenceSet, open_reference
from auralith.evaluation.report import EvaluationReport, write_report
from auralith.evaluation.sounds import Sounds, folder_sounds
from auralith.metrics.divergence import kl_divergence
from auralith.weights import WeightsOrigin
from tests.conftest import GOLDEN
from tests.evaluation.sounds import RATE, tones

MODEL = str(GOLDEN / "sao_tiny")
QUICK = ("--steps", "2", "--seconds", "0.3", "--window", "fit")


class Toy:
    """A classifier and a text embedder of random projections: five bands of a sound's spectrum, by a fixed matrix."""

    name, dim = "toy", 4
    classes = ("a", "b", "c", "d", "e")
    origin = WeightsOrigin("none")

    def __init__(self, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._seed, self.calls = seed, 0
        self._matrix = torch.randn(5, 4, generator=generator)

    def protocol(self) -> dict[str, ProtocolValue]:
        return {"embedder": self.name, "weights_sha256": str(self._seed)}

    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        return self.logits(waveform, sample_rate) @ self._matrix + seed / 2**32

    def logits(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int
    ) -> Float[Tensor, "window class"]:
        self.calls += 1
        spectrum = torch.fft.rfft(checked(waveform, sample_rate).mean(0)).abs()
        return torch.stack([part.mean().log() for part in spectrum.chunk(5)])[None]

    def embed_text(self, texts: list[str]) -> Float[Tensor, "text dim"]:
        return torch.stack([torch.tensor([float(len(t)), 1, 2, 3]) for t in texts])


def prompt_list(ids: list[str]) -> PromptList:
    return PromptList("any", tuple(Prompt(id, f"sound {id}") for id in ids))


def generated(folder: Path, prompts: PromptList, name: str | None = None) -> Generated:
    return Generated(folder_sounds(folder, name), texts_of(prompts.prompts))


IDS = ["p1", "p2", "p3", "p4"]


@pytest.fixture
def lists(tmp_path: Path) -> tuple[Path, Path]:
    return tones(tmp_path / "ours", IDS, 3.7), tones(tmp_path / "theirs", IDS)


def measured(tmp_path: Path, lists: tuple[Path, Path], metric: str, toy: Toy | None = None):
    prompts = prompt_list(IDS)
    kind, _, embedder = metric.rpartition("-")
    found = compare_systems(
        [generated(lists[0], prompts)],
        [Metric(kind, embedder)],  # pyright: ignore[reportArgumentType]
        open_reference([lists[1]], prompts),
        tmp_path / "report",
        lambda name: toy or Toy(),
        MetricSettings(draws=3),
    )
    return found.measurements[0]


def test_a_divergence_is_the_mean_over_pairs(tmp_path: Path, lists: tuple[Path, Path]) -> None:
    toy, found = Toy(), measured(tmp_path, lists, "kl-toy")
    pairs = []
    for id in IDS:
        rows = [soundfile.read(folder / f"{id}.wav", dtype="float32")[0] for folder in lists]
        p, q = (toy.logits(torch.from_numpy(x)[None], RATE)[0].double().softmax(0) for x in rows)
        pairs.append(kl_divergence(p.numpy(), q.numpy()))
    assert found.value == pytest.approx(np.mean(pairs), rel=1e-9)
    assert found.by_id == pytest.approx(dict(zip(IDS, pairs, strict=True)))
    assert set(found.baselines) >= {"mean", "uniform", "reference"}
    assert found.interval is not None and found.interval.low <= found.value <= found.interval.high


def test_a_clap_score_averages_the_draws_of_each_id(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    toy = Toy()
    found = measured(tmp_path, lists, "clap-toy", toy)
    assert toy.calls == 3 * len(IDS) and found.details["draws"] == 3
    again = measured(tmp_path / "other", lists, "clap-toy")
    assert again.by_id == found.by_id  # the seeds are the ids'


def one_byte_less(content: bytes) -> bytes:
    """As a full disk may leave it."""
    return content[:-1]


def another_number(content: bytes) -> bytes:
    """A plausible number in place of another."""
    return content[:-36] + np.float32(0.5).tobytes() + content[-32:]


@pytest.mark.parametrize("damage", [one_byte_less, another_number, lambda content: b""])
@pytest.mark.parametrize("metric", ["fd-toy", "kad-toy", "kl-toy", "clap-toy"])
def test_nothing_is_embedded_twice(
    tmp_path: Path, lists: tuple[Path, Path], metric: str, damage: Callable[[bytes], bytes]
) -> None:
    first, second = Toy(), Toy()
    before = measured(tmp_path, lists, metric, first)
    kept = sorted((tmp_path / "report").rglob("*.npy"))
    kept[0].write_bytes(damage(kept[0].read_bytes()))
    assert measured(tmp_path, lists, metric, second).as_json() == before.as_json()
    assert (first.calls, second.calls) == (len(kept), 1)


def test_other_weights_are_another_protocol(tmp_path: Path, lists: tuple[Path, Path]) -> None:
    first, second = Toy(), Toy(1)
    one, other = (measured(tmp_path, lists, "fd-toy", toy) for toy in (first, second))
    assert second.calls == first.calls  # nothing of the other's was taken
    assert one.protocol.comparable_sha256 != other.protocol.comparable_sha256


def test_a_distance_has_its_value_inside_its_interval(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    for metric in ("fd-mel", "kad-mel"):
        prompts = prompt_list(IDS)
        found = compare_systems(
            [generated(lists[0], prompts)],
            [parse_metric(metric, None)],
            open_reference([lists[1]], prompts),
            tmp_path / "report",
            open_embedder,
        ).measurements[0]
        assert found.interval is not None and found.frames == found.reference_frames == 4
        assert found.interval.low < found.value < found.interval.high


def test_sounds_that_cannot_be_measured_are_counted_with_their_reason(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    soundfile.write(lists[0] / "p1.wav", np.zeros(RATE), RATE)
    (lists[0] / "p2.wav").write_bytes(b"RIFF nothing")
    found = measured(tmp_path, lists, "kl-toy")
    assert (found.expected, found.used) == (4, 2)
    assert found.failed["p1"].startswith("silent: ") and found.failed.keys() == {"p1", "p2"}


def test_a_damaged_reference_is_refused(tmp_path: Path, lists: tuple[Path, Path]) -> None:
    soundfile.write(lists[1] / "p1.wav", np.zeros(RATE), RATE)
    with pytest.raises(InvalidRequest, match=r"1 recordings of the reference .*'p1' \(silent"):
        measured(tmp_path, lists, "fd-toy")


def test_systems_of_other_ids_do_not_stand_in_one_table(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    few = tones(tmp_path / "few", IDS[:3])
    prompts = prompt_list(IDS)
    systems = [generated(lists[0], prompts), generated(few, prompts)]
    with pytest.raises(InvalidRequest, match=r"different protocols \(ids\)"):
        compare_systems(
            systems,
            [Metric("fd", "mel")],
            open_reference([lists[1]], prompts),
            tmp_path / "report",
            open_embedder,
        )


def test_two_systems_are_compared_over_the_same_ids(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    prompts = prompt_list(IDS)
    systems = [generated(lists[0], prompts), generated(lists[1], prompts)]
    found = compare_systems(
        systems,
        [Metric("kl", "toy")],
        open_reference([lists[1]], prompts),
        tmp_path / "report",
        lambda name: Toy(),
    )
    (one,) = found.comparisons
    values = [measurement.value for measurement in found.measurements]
    assert one.difference == pytest.approx(values[0] - values[1])
    assert (one.first, one.second, one.used) == ("ours", "theirs", 4)


def test_published_statistics_and_probabilities(tmp_path: Path, lists: tuple[Path, Path]) -> None:
    toy, prompts = Toy(), prompt_list(IDS)
    rows = {
        id: toy.logits(torch.from_numpy(soundfile.read(path, dtype="float32")[0])[None], RATE)[0]
        for id, path in folder_sounds(lists[1]).paths.items()
    }
    frames = np.stack([(row @ toy._matrix).numpy() for row in rows.values()]).astype(np.float64)
    statistics, probabilities = tmp_path / "s.npz", tmp_path / "p.pkl"
    np.savez(statistics, mu_ref=frames.mean(0), sigma_ref=np.cov(frames, rowvar=False))
    with probabilities.open("wb") as file:
        pickle.dump({id: row.softmax(0) for id, row in rows.items()}, file)
    published = open_reference([statistics, probabilities], prompts)
    ours = generated(lists[0], prompts)
    for metric in (Metric("fd", "toy"), Metric("kl", "toy")):
        values = [
            compare_systems([ours], [metric], reference, tmp_path / str(i), lambda name: Toy())
            for i, reference in enumerate((published, open_reference([lists[1]], prompts)))
        ]
        found = [value.measurements[0] for value in values]
        assert found[0].value == pytest.approx(found[1].value, rel=1e-4)
        hashes = {one.protocol.comparable_sha256 for one in found}
        assert len(hashes) == 2  # a published file is another reference


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, lists: tuple[Path, Path]) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return (OrderedDict, ()) if False else (open, (str(tmp_path / "ran"), "w"))

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"p1": Runs()}))
    prompts = prompt_list(IDS)
    with pytest.raises(Exception, match="is not a pickle of probabilities alone"):
        compare_systems(
            [generated(lists[0], prompts)],
            [Metric("kl", "toy")],
            open_reference([path], prompts),
            tmp_path / "report",
            lambda name: Toy(),
        )
    assert not (tmp_path / "ran").exists()


def test_recordings_of_other_names_keep_a_distance_but_no_divergence(
    tmp_path: Path, lists: tuple[Path, Path]
) -> None:
    other = tones(tmp_path / "other", ["x", "y", "z"])
    assert measured(tmp_path, (lists[0], other), "fd-toy").reference_frames == 3
    with pytest.raises(InvalidRequest, match="no recording of any id"):
        measured(tmp_path, (lists[0], other), "kl-toy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fad-openl3", " is unknown; use fd-inf, fd, kad, kl, clap"),
        ("fd-openl3", "write fd-openl3-music, or fd-openl3-env"),
        ("fd-resnet", "known are"),
        ("fd", "known are"),
    ],
)
def test_an_unknown_metric_is_one_line(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        parse_metric(text, None)
    assert "\n" not in str(caught.value)


def test_hostile_texts_stand_in_the_report_as_they_are(tmp_path: Path) -> None:
    hostile = '"><script>alert(1)</script>[x](javascript:y)|`'
    prompts = PromptList("any", tuple(Prompt(id, hostile) for id in IDS))
    folder = tones(tmp_path / "a'b&lt;", IDS)
    paths = {id: folder / f"{id}.wav" for id in IDS}
    ours = Generated(Sounds(hostile, paths), texts_of(prompts.prompts))
    found = compare_systems(
        [ours], [Metric("clap", "toy")], ReferenceSet(), tmp_path / "report", lambda name: Toy()
    )
    _, markdown, page = write_report(EvaluationReport(prompts, found, {}), tmp_path / "report")
    html = page.read_text()
    assert "<script" not in html and "&lt;script&gt;" in html and "a%27b%26lt%3B" in html
    text = markdown.read_text()
    assert "alert" in text and not re.search(r"(?<!\\)[<`]|(?<!\\)\]\(", text)


def test_from_prompts_to_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("id,prompt\n" + "".join(f"{id},sound {id}\n" for id in IDS))
    tones(tmp_path / "reference", ["x", "y", "z"])
    command = ("evaluate", "--prompts", "list.csv", "--model", MODEL, *QUICK, "-o", "report")
    command += ("--reference", "reference", "--metric", "fd-mel", "--metric", "kad-mel")
    assert run(command) == 0
    report = json.loads(Path("report/report.json").read_text())
    assert [one["metric"] for one in report["measurements"]] == ["fd-mel", "kad-mel"]
    for one in report["measurements"]:
        assert (one["expected"], one["used"], one["failed"]) == (4, 4, {})
        assert one["protocol"]["model"]["settings"]["steps"] == 2
    shown = capsys.readouterr().out
    assert "fd-mel" in shown and "report/report.html" in shown
    times = {path: path.stat().st_mtime_ns for path in Path("report").rglob("*.[wn]*")}
    assert run(command) == 0
    assert times and times == {path: path.stat().st_mtime_ns for path in times}


def test_whether_sounds_do_what_their_prompts_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    t = np.arange(2 * RATE) / RATE
    fade = np.minimum(1, np.minimum(t, 2 - t) / 0.02)
    tone = 0.5 * np.sin(2 * np.pi * 440 * t) * fade
    Path("s").mkdir()
    soundfile.write("s/a.wav", np.stack([tone, tone * 0.1], 1), RATE)
    soundfile.write("s/b.wav", np.stack([tone, tone], 1), RATE)
    (Path("s") / "c.wav").write_bytes(b"RIFF")
    Path("list.csv").write_text(
        "id,prompt\na,a tone of 440 Hz on the left\nb,a tone of 300 Hz\nc,x\n"
    )
    assert run(("evaluate", "--prompts", "list.csv", "--audio", "s", "--controls", "-o", "r")) == 0
    controls = json.loads(Path("r/report.json").read_text())["controls"]["s"]
    rates = {name: (one["asked"], one["met"]) for name, one in controls["rates"].items()}
    assert rates["pitch"] == (2, 1) and rates["left"] == (1, 1) and rates["start"] == (2, 2)
    assert list(controls["failed"]) == ["c"]
    assert "pitch" in capsys.readouterr().out


def test_the_codec_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tones(tmp_path / "recordings", IDS)
    soundfile.write(tmp_path / "recordings/silent.wav", np.zeros(RATE), RATE)
    command = ("evaluate", "--autoencoder", MODEL, "--audio", "recordings", "-o", "report")
    assert run(command) == 0
    codec = json.loads(Path("report/report.json").read_text())["codec"]
    assert set(codec["metrics"]) == {"stft", "mel", "si_sdr", "multi_resolution_stft"}
    for values in codec["metrics"].values():
        assert (values["used"], list(values["failed"])) == (4, ["silent"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "there is nothing to measure"),
        (("--model", MODEL), "there is no metric"),
        (("--model", MODEL, "--metric", "fd-mel"), "a model needs prompts"),
        (("--audio", "nowhere", "--metric", "fd-mel"), "give the folder of the sounds"),
        (("--audio", ".", "--metric", "fd-mel", "--prompts", "no.csv"), "no.csv"),
        (("--autoencoder", MODEL), "give one folder by --audio"),
        (("--audio", "s", "--metric", "fd-mel"), "needs reference recordings"),
        (("--audio", "s", "--metric", "clap-mel"), "mel embeds no texts"),
        (("--audio", "s", "--metric", "kl-mel", "--reference", "s"), "mel names no classes"),
        (("--audio", "s", "--metric", "fd-mel", "--reference", "x.zip"), "is not a reference"),
        (
            ("--audio", "s", "--metric", "fd-mel", "--draws", "0"),
            "--draws is 0; it must be at least 1",
        ),
    ],
)
def test_bad_input_is_one_line(
    options: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    tones(tmp_path / "s", IDS)
    assert run(("evaluate", *options, "-o", "report")) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("auralith: error")]
    assert message in line
    assert not Path("report/report.json").exists()
