"""The three metrics of the paper from weights in files to the report, with small random networks in place of the published."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from auralith.cli.main import run
from auralith.embedders.openl3 import OpenL3Network
from auralith.embedders.passt import PaSSTNetwork
from auralith.evaluation.comparison import Evaluation
from auralith.evaluation.measures import MetricValue
from auralith.evaluation.prompts import Prompt, PromptList
from auralith.evaluation.report import EvaluationReport, remarks, sections
from auralith.metrics.protocol import Protocol
from auralith.weights import WeightsOrigin, find_weights
from auralith.weights.places import OTHER_WEIGHTS
from scripts.random_weights import small_clap, write_all
from tests.conftest import GOLDEN
from tests.evaluation.sounds import tones

pytest.importorskip("h5py")
MODEL = str(GOLDEN / "sao_tiny")
IDS = ["p1", "p2", "p3"]
METRICS = ("fd-openl3-music", "kl-passt", "clap-fused")
OPENL3 = {"widths": (2, 2, 4, 4, 4, 4, 8), "dim": 8}
PASST = {"width": 12, "depth": 1, "heads": 2}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    networks = partial(OpenL3Network, **OPENL3), partial(PaSSTNetwork, **PASST)
    write_all(tmp_path / "random", networks[0](), networks[1](), small_clap())
    monkeypatch.setattr("auralith.embedders.openl3_weights.OpenL3Network", networks[0])
    monkeypatch.setattr("auralith.embedders.passt.PaSSTNetwork", networks[1])
    return tmp_path / "random"


def test_other_weights_are_measured_with_and_named_everywhere(
    tmp_path: Path,
    weights: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("list.csv").write_text("id,prompt\n" + "".join(f"{id},sound {id}\n" for id in IDS))
    tones(tmp_path / "reference", IDS)
    command = ["evaluate", "--prompts", "list.csv", "--model", MODEL, "--steps", "2"]
    command += ["--seconds", "0.3", "--window", "fit", "--reference", "reference", "-o", "report"]
    for metric in METRICS:
        command += ["--metric", metric]
    assert run([*command, "--embedder-weights", str(weights)]) == 0

    report = json.loads(Path("report/report.json").read_text())
    values = {one["metric"]: one for one in report["measurements"]}
    assert list(values) == list(METRICS)
    for one in values.values():
        assert (one["expected"], one["used"], one["failed"]) == (3, 3, {})
        assert one["origin"] == {"status": "other", "note": "random numbers, seed 2407"}
    # 0.3 s of stereo has a window around 0 s alone, a second of the reference two
    fd = values["fd-openl3-music"]
    assert (fd["frames"], fd["reference_frames"], fd["value"] > 0) == (3, 6, True)
    assert values["kl-passt"]["value"] > 0 and "mean" in values["kl-passt"]["baselines"]
    assert abs(values["clap-fused"]["value"]) <= 1
    out, err = capsys.readouterr()
    texts = [out, *(Path(f"report/report.{s}").read_text() for s in ("md", "html"))]
    assert all(f"{metric} " in text for metric in METRICS for text in texts)
    for text in texts:
        assert text.count("[other weights]") == 3
    remark = "made with weights other than the published ones"
    assert all(remark in text for text in (err, *texts[1:]))
    assert not (tmp_path / "cache" / "auralith" / "weights_sha256.json").exists()


def test_without_its_declaration_a_folder_has_to_hold_the_published_weights(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights / OTHER_WEIGHTS).unlink()
    assert find_weights("openl3-env", weights).origin == WeightsOrigin("unverified")
    tones(tmp_path / "s", IDS)
    command = ["evaluate", "--audio", str(tmp_path / "s"), "--reference", str(tmp_path / "s")]
    command += ["--metric", "kl-passt", "-o", str(tmp_path / "report")]
    assert run([*command, "--embedder-weights", str(weights)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "has the SHA-256" in line and "fetch it again" in line


def test_missing_weights_are_told_before_anything_is_generated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("rain\n")
    command = ["evaluate", "--prompts", str(tmp_path / "prompts.txt"), "--model", MODEL]
    command += ["--metric", "clap", "--embedder-weights", str(tmp_path), "-o", str(tmp_path / "r")]
    assert run(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "clap-htsat-fused/config.json is not in" in line
    assert line.endswith("AURALITH_WEIGHTS or --embedder-weights")
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(
    ("status", "printed", "remarked"), [("published", 5, 0), ("unverified", 5, 1), ("other", 0, 1)]
)
def test_values_of_other_weights_do_not_stand_beside_printed_ones(
    status: str, printed: int, remarked: int
) -> None:
    number = 586
    prompts = tuple(Prompt(str(i), "a song") for i in range(number))
    protocol = Protocol("clap", 1, {}, tuple(p.id for p in prompts))
    origin = WeightsOrigin("published")
    value = MetricValue("clap-fused", "ours", 0.4, number, number, {}, protocol, origin)
    value = replace(value, origin=WeightsOrigin(status))  # pyright: ignore[reportArgumentType]
    listed = PromptList("songdescriber:no-singing", prompts)
    report = EvaluationReport(listed, Evaluation((), (value,)), {})
    rows = {title: rows for title, _, rows in sections(report)}.get("Values", [])
    assert sum("as the paper prints" in row[0] for row in rows) == printed
    assert len(remarks(report)) == remarked
