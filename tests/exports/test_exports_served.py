"""A server whose model is an export: the sound is that of the export, and what it can't do is refused before a job is taken."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch

from auralith.cli.main import run
from auralith.exporting import export
from auralith.exports import read_manifest
from auralith.jobs.model_cache import needed_bytes, weights_size
from auralith.jobs.tasks import ModelPlace
from auralith.pipeline import load
from auralith.request import GenerationRequest
from auralith.server.service import Service, ServiceSettings
from tests.conftest import GOLDEN
from tests.serving import Client

TINY = GOLDEN / "sao_tiny"
WAIT = {"Prefer": "wait=60"}
BODY: dict[str, Any] = {"prompt": "rain", "seconds": 0.4, "steps": 3, "seed": "4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("exports") / "rain"
    export(TINY, place, "openvino")
    return place


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    place = tmp_path_factory.mktemp("served")
    settings = ServiceSettings(
        place / "data", (ModelPlace("rain", str(folder)),), ("cpu",), adapters=GOLDEN / "adapters"
    )
    service = Service(settings)
    service.start()
    yield Client(service)
    service.stop(0.0)


def test_a_sound_is_that_of_the_export(client: Client, folder: Path) -> None:
    made = client("POST", "/v1/audio/generations", json=BODY, headers=WAIT).json()
    assert made["status"] == "succeeded", made
    content = client("GET", f"/v1/audio/{made['outputs'][0]['id']}").content
    model = load(folder)
    expected = model.generate(GenerationRequest("rain", seconds_total=0.4, steps=3, seed=4))
    found, rate = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)
    assert rate == expected.sample_rate
    # 16 bit, and the noise of dithering
    error = torch.from_numpy(found.T) - expected.leveled()
    assert error.abs().max() < 3 / 32_768
    facts = client("GET", "/v1/models/rain/config").json()
    assert facts["model_hash"] == model.checkpoint.model_hash


def test_settings_of_an_export_lack_what_it_refuses(client: Client) -> None:
    (model,) = client("GET", "/v1/models").json()["models"]
    assert not {"fast", "cache_threshold"} & model["settings"].keys()
    assert "steps" in model["settings"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fast": 2}, "cache_threshold"),
        ({"cache_threshold": 0.1}, "cache_threshold"),
        ({"adapters": [{"id": "sa3_lora"}]}, "adapters"),
    ],
)
def test_what_an_export_can_not_do_is_refused(
    client: Client, change: dict[str, Any], field: str
) -> None:
    response = client("POST", "/v1/audio/generations", json=BODY | change)
    assert response.status_code == 422, response.text
    assert "export" in response.text and field in response.text
    assert not any(job["status"] == "failed" for job in client("GET", "/v1/jobs").json()["jobs"])


def test_bytes_are_those_of_the_graphs(folder: Path) -> None:
    needed = needed_bytes(ModelPlace("rain", str(folder)), "cpu", "auto")
    assert needed == read_manifest(folder).num_bytes
    # graphs alone: the tokenizer, too, is among the files
    assert 0.8 * needed < weights_size([load(folder)]) <= needed


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--dtype", "bfloat16"), "computes in float32"),
        (("--compile", "auto"), "compiled already"),
        (("--text-encoder", "somewhere"), "is an export"),
        (("--memory", "0.001"), "the weights of rain take"),
    ],
)
def test_a_server_does_not_start_with_what_an_export_can_not_do(
    folder: Path, tmp_path: Path, options: tuple[str, ...], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    arguments = ["serve", "--model", str(folder), "--data", str(tmp_path / "data"), *options]
    assert run(arguments) == 2
    shown = capsys.readouterr().err
    assert message in " ".join(shown.split()) and "Traceback" not in shown
