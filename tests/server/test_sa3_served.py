"""A server whose model is Stable Audio 3: jobs, edits, adapters with their effect, and a sound made again from its file."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auralith.adapter_effect import AdapterEffect
from auralith.jobs.tasks import ModelPlace
from auralith.pipeline import load
from auralith.provenance import provenance_of
from auralith.request import GenerationRequest
from auralith.server.service import Service, ServiceSettings
from tests.conftest import GOLDEN
from tests.sa3 import write_sa3
from tests.serving import Client

RATE = 6_400
ADAPTER = GOLDEN / "sa3" / "adapters" / "lora.safetensors"
WAIT = {"Prefer": "wait=60"}
BODY: dict[str, Any] = {"prompt": "rain", "seconds": 0.4, "steps": 2, "seed": "4"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sa3("medium", tmp_path_factory.mktemp("sa3") / "medium", sample_rate=RATE)


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    place = tmp_path_factory.mktemp("served")
    (place / "adapters").mkdir()
    shutil.copy(ADAPTER, place / "adapters" / "warm.safetensors")
    service = Service(
        ServiceSettings(
            place / "data",
            (ModelPlace("sa3", str(folder)),),
            ("cpu",),
            "float32",
            adapters=place / "adapters",
        )
    )
    service.start()
    yield Client(service)
    service.stop(0.0)


def job(client: Client, **body: Any) -> dict[str, Any]:
    whole = {name: value for name, value in (BODY | body).items() if value is not None}
    made = client("POST", "/v1/audio/generations", json=whole, headers=WAIT).json()
    assert made["status"] == "succeeded", made
    return made["outputs"][0]


def sound(client: Client, output: dict[str, Any]) -> tuple[np.ndarray, bytes]:
    data = client("GET", f"/v1/audio/{output['id']}").content
    return soundfile.read(io.BytesIO(data), dtype="float32")[0], data


def test_jobs_edits_and_adapters(client: Client, folder: Path) -> None:
    facts = client("GET", "/v1/models").json()["models"][0]
    assert facts["id"] == "sa3"
    assert facts["seconds_max"] == pytest.approx(4.0)
    plain = job(client)
    found, _ = sound(client, plain)
    model = load(folder, device="cpu", dtype="float32")
    request = GenerationRequest("rain", seconds_total=0.4, steps=2, seed=4)
    expected = model.generate(request).waveform.clamp(-1, 1)
    assert np.abs(found.T - expected.numpy()).max() < 2e-3
    # an adapter at the last of the two steps alone
    chosen = {"id": "warm", "strength": 0.5, "levels": [0.0, 0.9], "skip": "layers.0"}
    adapted, data = sound(client, job(client, adapters=[chosen]))
    effect = AdapterEffect(0.5, (0.0, 0.9), "layers.0")
    (used,) = provenance_of(data, "wav").adapters
    assert used.effect == effect
    expected = model.with_adapters([(ADAPTER, effect)]).generate(request).waveform.clamp(-1, 1)
    assert np.abs(adapted.T - expected.numpy()).max() < 2e-3
    assert np.abs(adapted - found).max() > 1e-2
    bad = client(
        "POST", "/v1/audio/generations", json=BODY | {"adapters": [chosen | {"levels": [1, 0]}]}
    )
    assert (bad.status_code, "levels" in bad.text) == (422, True)
    # what is kept of a sound that was made stays
    edit = {"task": "inpaint", "source": plain["id"], "mask_start": 0.1, "mask_end": 0.2}
    edited, _ = sound(client, job(client, **edit, seconds=None))
    changed = torch.from_numpy(edited != found).any(1).nonzero().flatten() / RATE
    assert len(changed) > 100
    assert float(changed.min()) > 0.05
    assert float(changed.max()) < 0.25
