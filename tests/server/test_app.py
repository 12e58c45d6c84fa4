"""The HTTP interface, in this process, with the tiny model."""

import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auralith.cli.serve import announce
from auralith.jobs.names import FORMATS, NAMES
from auralith.jobs.orders import TASKS, setting_names
from auralith.jobs.records import Event, Limits
from auralith.request import MAX_STEPS, GenerationRequest
from auralith.samplers import SAMPLERS
from auralith.server import page
from auralith.server.guard import Rules, allowed_hosts, is_loopback
from auralith.server.keys import plain_key
from auralith.server.remaking import remaking
from auralith.server.service import Service
from auralith.sound.reading import read
from tests.serving import QUICK, RULES, Answer, Client, settings


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "adapters").mkdir()
    service = Service(settings(folder / "data", adapters=folder / "adapters"))
    service.start()
    yield Client(service)
    service.stop(0.0)


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Client]:
    """Makes nothing: jobs stay in its queue."""
    service = Service(settings(tmp_path / "data", limits=Limits(queue=2)))
    yield Client(service)
    service.store.close()


@pytest.fixture(scope="module")
def made(client: Client) -> dict[str, Any]:
    return client.make(seed="7", n=2).json()


def wav(seconds: float = 0.5, rate: int = 44_100) -> bytes:
    file = io.BytesIO()
    samples = np.sin(np.arange(int(seconds * rate)) / 20).astype(np.float32) / 2
    soundfile.write(file, np.stack([samples, samples], 1), rate, format="WAV")
    return file.getvalue()


def upload(client: Client, data: bytes, name: str = "rain.wav") -> Answer:
    return client("POST", "/v1/assets", files={"file": (name, data)})


def test_a_job_is_made(client: Client, made: dict[str, Any]) -> None:
    assert made["status"] == "succeeded" and made["error"] is None
    assert made["request"]["seed"] == 7 and made["request"]["sampler"]
    assert [one["seed"] for one in made["outputs"]] == [7, 8]
    one = client("GET", f"/v1/jobs/{made['id']}")
    assert one.status_code == 200 and one.json() == made
    listed = client("GET", "/v1/jobs?status=succeeded&limit=200").json()["jobs"]
    assert made in listed


def test_a_sound_has_all_its_forms(client: Client, made: dict[str, Any]) -> None:
    one = made["outputs"][0]
    whole = client("GET", one["url"])
    assert whole.headers["content-type"] == "audio/wav"
    assert hashlib.sha256(whole.content).hexdigest() == one["sha256"]
    assert whole.headers["etag"] == f'"{one["sha256"]}"'
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].endswith(f'"auralith-{one["id"]}.wav"')
    part = client("GET", one["url"], headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole.content[10:20]
    tag = {"If-None-Match": whole.headers["etag"]}
    assert client("GET", one["url"], headers=tag).status_code == 304
    waveform, _ = read(whole.content)
    peaks = client("GET", f"{one['url']}/peaks?n=8").json()
    assert peaks["max"][0] >= peaks["min"][0] and len(peaks["max"]) == 8
    assert max(peaks["max"]) == pytest.approx(float(waveform.max()), abs=1e-5)
    assert client("GET", f"{one['url']}/spectrogram.png").content.startswith(b"\x89PNG")
    tags = client("GET", f"{one['url']}/provenance").json()
    assert tags["settings"]["seed"] == one["seed"] and tags["settings"]["prompt"] == "a drum"


def test_a_sound_is_given_in_every_format(client: Client, made: dict[str, Any]) -> None:
    url = made["outputs"][0]["url"]
    tags = client("GET", f"{url}/provenance").json()
    original, rate = soundfile.read(io.BytesIO(client("GET", url).content))
    for name, (suffix, subtype) in FORMATS.items():
        answer = client("GET", f"{url}?format={name}")
        assert answer.headers["content-disposition"].endswith(f'.{suffix}"')
        with soundfile.SoundFile(io.BytesIO(answer.content)) as file:
            samples = file.read()
        assert (file.samplerate, samples.shape[1]) == (rate, original.shape[1]), name
        if suffix in ("wav", "flac"):
            assert file.subtype == {"pcm24": "PCM_24", "float": "FLOAT"}.get(
                subtype or "", "PCM_16"
            )
            assert np.array_equal(samples, original), name
        sent = upload(client, answer.content).json()
        assert sent["request"]["seed"] == tags["settings"]["seed"], name
    assert client("GET", f"{url}?format=exe").json()["errors"][0]["field"] == "format"
    asset = upload(client, wav()).json()
    assert client("GET", f"/v1/audio/{asset['id']}").content == wav()
    assert client("GET", f"/v1/audio/{asset['id']}?format=flac").status_code == 404


def test_events_are_replayed(client: Client, made: dict[str, Any]) -> None:
    path = f"/v1/jobs/{made['id']}/events"
    events = [block.split("\n") for block in client("GET", path).text.strip().split("\n\n")]
    kinds = [event[1] for event in events]
    assert [kind.removeprefix("event: ") for kind in kinds] == [
        "state",
        "state",
        "output",
        "output",
        "end",
    ]
    third = events[2][0].removeprefix("id: ")
    rest = client("GET", path, headers={"Last-Event-ID": third}).text.strip().split("\n\n")
    assert [block.split("\n") for block in rest] == events[3:]


def test_what_was_made_is_measured(client: Client, made: dict[str, Any]) -> None:
    work = made["outputs"][0]["work"]
    assert work["device"] == "cpu" and made["outputs"][0]["model_hash"]
    ready = client("GET", "/readyz").json()
    (loaded,) = ready["models"]
    assert ready["status"] == "ready" and loaded["id"] == "tiny" and loaded["device"] == "cpu"
    text = client("GET", "/metrics").text
    found = re.search(r'auralith_model_loaded{device="cpu",model="tiny"} (\S+)', text)
    assert found is not None and float(found[1]) == loaded["bytes"]
    for stage in ("loading", "text", "denoising", "decoding", "writing"):
        assert f'auralith_generation_seconds_count{{stage="{stage}"}}' in text
    assert "auralith_real_time_factor_count" in text and "drum" not in text
    assert 'auralith_worker_peak_memory_bytes{device="cpu"}' in text


def test_a_preview_is_there_while_its_job_runs(idle: Client) -> None:
    job = idle("POST", "/v1/audio/generations", json=QUICK).json()["id"]
    url = f"/v1/jobs/{job}/preview"
    assert idle("GET", f"{url}/1").status_code == 404
    (idle.service.previews.path / f"{job}-1.wav").write_bytes(wav())
    heard = idle("GET", f"{url}/1")
    assert heard.content == wav() and heard.headers["content-type"] == "audio/wav"
    assert heard.headers["cache-control"] == "no-store"
    assert idle("GET", f"/v1/jobs/{'0' * 32}/preview/1").status_code == 404
    for number in ("0", "-1", "x", "1.5", "..%2f1", "9" * 30):
        assert idle("GET", f"{url}/{number}").status_code in (404, 422)


def test_edits_start_from_uploads_and_from_sounds(client: Client, made: dict[str, Any]) -> None:
    asset = upload(client, wav(), "../../etc/passwd").json()
    assert asset["seconds"] == 0.5
    assert asset["name"] == "passwd" and "etc" not in json.dumps(asset)  # no part of a path
    edit = {"prompt": "a drum", "steps": 1}
    wait = {"Prefer": "wait=60"}
    for body in (
        {"task": "vary", "source": asset["id"], "strength": 0.3},
        {"task": "vary", "source": made["outputs"][0]["id"]},
        {"task": "inpaint", "source": asset["id"], "mask_start": 0.1, "mask_end": 0.2, "passes": 1},
        {"task": "extend", "source": asset["id"], "seconds": 0.7, "passes": 1},
        {"task": "loop", "seconds": 0.6, "format": "flac"},
    ):
        job = client("POST", "/v1/audio/generations", json=edit | body, headers=wait).json()
        assert job["status"] == "succeeded", job
        assert job["outputs"][0]["num_samples"] > 0


def test_one_call_gives_the_bytes(client: Client) -> None:
    body = {"input": "a drum", "audio_length": 0.3, "num_inference_steps": 2, "guidance_scale": 2}
    body |= {"seed": 3, "response_format": "flac", "window": "fit"}
    answer = client("POST", "/v1/audio/generate", json=body)
    assert answer.status_code == 200 and answer.headers["content-type"] == "audio/flac"
    assert answer.content.startswith(b"fLaC") and answer.headers["x-seed"] == "3"
    wrong = client("POST", "/v1/audio/generate", json=body | {"n": 2})
    assert wrong.status_code == 422


def test_a_call_that_would_wait_too_long_is_told_so(idle: Client) -> None:
    hasty = Client(idle.service, sync=0.2)
    answer = hasty("POST", "/v1/audio/generate", json=QUICK)
    assert answer.status_code == 503 and int(answer.headers["retry-after"]) >= 1
    assert answer.json()["error"]["message"] == answer.json()["detail"]
    assert [job.status for job in idle.service.store.jobs()] == ["cancelled"]


def test_keys_give_their_job(idle: Client) -> None:
    def post(body: dict[str, Any], key: str) -> Answer:
        headers = {"Idempotency-Key": key}
        return idle("POST", "/v1/audio/generations", json=body, headers=headers)

    first = post(QUICK, "k")
    assert (
        first.status_code == 202 and first.headers["location"] == f"/v1/jobs/{first.json()['id']}"
    )
    assert int(first.headers["retry-after"]) >= 1
    assert post(QUICK, "k").json()["id"] == first.json()["id"]
    other = post(QUICK | {"steps": 3}, "k")
    assert other.status_code == 422 and other.json()["type"].endswith("key-reused")
    assert post(QUICK, "x" * 300).status_code == 422
    idle.service.store._free = lambda _: 0
    assert post(QUICK, "k").status_code == 202 and post(QUICK, "new").status_code == 507


def test_a_full_queue_says_when_to_come_again(idle: Client) -> None:
    for _ in range(2):
        assert idle("POST", "/v1/audio/generations", json=QUICK).status_code == 202
    refused = idle("POST", "/v1/audio/generations", json=QUICK)
    assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
    text = idle("GET", "/metrics").text
    assert 'auralith_rejected_total{reason="queue-full"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert "auralith_queued 2.0" in text and "drum" not in text


def test_cancelling_and_deleting(idle: Client) -> None:
    job = idle("POST", "/v1/audio/generations", json=QUICK).json()
    cancelled = idle("DELETE", f"/v1/jobs/{job['id']}")
    assert cancelled.status_code == 202 and cancelled.json()["status"] == "cancelled"
    assert idle("DELETE", f"/v1/jobs/{job['id']}").status_code == 204
    assert idle("GET", f"/v1/jobs/{job['id']}").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"{", 400, None),
        (b'{"prompt": "a", "seconds": NaN}', 422, "seconds"),
        (b'{"prompt": "a", "steps": "x"}', 422, "steps"),
        (b'{"prompt": "a", "stpes": 3}', 422, "stpes"),
        (b'{"prompt": "a", "cfg_scale": 1, "guidance": 2}', 422, "guidance"),
        (b'{"prompt": "a", "prompt": "b"}', 400, None),
        (b"[]", 422, None),
        (b'{"prompt": "a", "model": "/etc/passwd"}', 422, "model"),
        (b'{"prompt": "a", "adapters": [{"id": "../x"}]}', 422, "adapters"),
        (b'{"prompt": "a", "task": "vary", "source": "../../x"}', 404, None),
        (b'{"prompt": "' + b"a" * 100_001 + b'"}', 413, None),
        (b'{"prompt": "a", "seconds": 1e400}', 422, "seconds"),
    ],
)
def test_a_bad_body_is_a_problem(idle: Client, body: bytes, status: int, field: str | None) -> None:
    for path in ("/v1/audio/generations", "/v1/audio/generate"):
        answer = idle("POST", path, content=body)
        found = answer.json()
        assert (answer.status_code, found["status"]) == (status, status), found
        assert answer.headers["content-type"] == "application/problem+json"
        assert {"type", "title", "detail"} <= found.keys()
        if field is not None:
            assert found["errors"][0]["field"] == field and found["errors"][0]["remedy"]
    assert not idle.service.store.jobs()


@pytest.mark.parametrize(
    "path", ["..%2f..%2fjobs.sqlite", "x" * 5_000, "%00", "a'--", "jobs.sqlite"]
)
def test_an_id_is_no_path(idle: Client, path: str) -> None:
    for route in ("/v1/audio/{}", "/v1/audio/{}/peaks", "/v1/jobs/{}", "/v1/jobs/{}/events"):
        assert idle("GET", route.format(path)).status_code == 404
    assert idle("DELETE", f"/v1/assets/{path}").status_code in (404, 405)


def test_uploads_are_sounds_of_a_limited_length(idle: Client) -> None:
    bomb = io.BytesIO()
    with soundfile.SoundFile(bomb, "w", 8_000, 1, format="FLAC", subtype="PCM_16") as file:
        for _ in range(70):
            file.write(np.zeros(80_000, np.int16))
    wrong = wav()
    lying = wrong[:4] + b"\xff\xff\xff\x7f" + wrong[8:40] + b"\xff\xff\xff\x7f" + wrong[44:2_000]
    for data, status in (
        (b"<html>", 415),
        (b"", 422),
        (bomb.getvalue(), 422),
        (wav(0.5)[:30], 415),
        (bytes(3_000_001), 413),
    ):
        assert upload(idle, data).status_code == status, (data[:20], upload(idle, data).text)
    assert upload(idle, lying).status_code in (201, 422)  # what decodes counts
    assert idle("POST", "/v1/assets", content=b"no form").status_code in (400, 422)
    kept = [path.name for path in idle.service.store.uploads.iterdir()]
    assert len(kept) <= 1
    right = upload(idle, wav(), "<script>.exe").json()
    assert right["codec"] == "pcm_16" and right["sample_rate"] == 44_100


def test_a_full_disk_is_507(idle: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idle.service.store, "_free", lambda _: 0)
    assert idle("POST", "/v1/audio/generations", json=QUICK).status_code == 507
    assert upload(idle, wav()).status_code == 507
    assert idle("GET", "/readyz").status_code == 507
    assert idle("GET", "/healthz").status_code == 200
    assert not idle.service.store.jobs() and not list(idle.service.store.uploads.iterdir())


def test_keys_hosts_and_origins(tmp_path: Path) -> None:
    service = Service(settings(tmp_path))
    keys = (plain_key("secret"), plain_key("other"))
    client = Client(service, Rules(allowed_hosts("10.0.0.1", ["studio.lan"]), True, keys))
    bearer = {"Authorization": "Bearer secret"}
    refused = client("GET", "/v1/jobs")
    assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
    for headers, status in (
        (bearer, 200),
        ({"X-API-Key": "other"}, 200),
        ({"Authorization": "Bearer secret2"}, 401),
        ({"Authorization": "Basic secret"}, 401),
        (bearer | {"Host": "evil.example"}, 403),
        (bearer | {"Host": "STUDIO.lan:8000"}, 200),
        (bearer | {"Host": "192.168.1.5:8000"}, 200),
        (bearer | {"Host": "[::1]:8000"}, 200),
        (bearer | {"Origin": "https://evil.example"}, 403),
        (bearer | {"Origin": "null"}, 403),
        (bearer | {"Origin": "http://127.0.0.1"}, 200),
    ):
        assert client("GET", "/v1/jobs", headers=headers).status_code == status, headers
    for path in ("/healthz", "/readyz"):
        assert client("GET", path, headers={"Host": "pod"}).status_code == 200
    service.store.close()


def test_the_page_needs_no_key_and_shows_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "page"
    shutil.copytree(page.FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    for name in (*page.MODULES, "node_modules/preact/secret.js"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    monkeypatch.setattr(page, "FOLDER", folder)
    service = Service(settings(tmp_path / "data"))
    client = Client(service, Rules(RULES.hosts, keys=(plain_key("secret"),)))
    first, second = client("GET", "/"), client("GET", "/")
    policy = first.headers["content-security-policy"]
    nonce = policy.partition("'nonce-")[2].partition("'")[0]
    assert f'content="{nonce}"' in first.text and nonce not in second.text and len(nonce) > 20
    assert "unsafe" not in policy and policy.startswith("default-src 'none'; script-src 'self';")
    for name in ("app.js", "style.css", "icon.svg", *page.MODULES):
        answer = client("GET", f"/studio/{name}")
        assert answer.status_code == 200 and "text/plain" not in answer.headers["content-type"]
    for name in (
        "index.html",
        "package.json",
        "%2e%2e/page.py",
        "%2e%2e%2fpage.py",
        "/etc/passwd",
        "",
    ):
        assert client("GET", f"/studio/{name}").status_code == 404, name
    assert client("GET", "/studio/node_modules/preact/secret.js").status_code == 404
    assert client("GET", "/", headers={"Host": "evil.example"}).status_code == 403
    for path in ("/v1/jobs", "/studio", "/metrics"):
        assert client("GET", path).status_code == 401
    service.store.close()


def test_without_its_modules_there_is_no_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path)
    service = Service(settings(tmp_path / "data"))
    assert Client(service)("GET", "/").status_code == 404
    announce("http://127.0.0.1:1")
    assert capsys.readouterr().err == f"{page.HOW_TO_BUILD}\nserving on http://127.0.0.1:1\n"
    service.store.close()


@pytest.mark.parametrize("form", ["wav", "wav24", "wav32f", "flac", "ogg"])
def test_an_upload_says_what_makes_it_again(client: Client, form: str) -> None:
    job = client.make(prompt="a <b>bell</b>", seed=str(2**60 + 1), format=form, n=2).json()
    second = job["outputs"][1]
    found = upload(client, client("GET", second["url"]).content).json()
    assert found["request"]["seed"] == 2**60 + 2 and "model" not in found["request"]
    named = remaking(client.service.store.sound(found["id"]).path, found["codec"], ["sao_tiny"])
    assert named is not None and named["model"] == "sao_tiny"
    again = client.make(**found["request"]).json()
    assert again["request"]["seed"] == 2**60 + 2
    assert again["outputs"][0]["sha256"] == second["sha256"] == found["sha256"]


def test_what_no_request_makes_says_none(client: Client, made: dict[str, Any]) -> None:
    assert upload(client, wav()).json()["request"] is None
    varied = client.make(task="vary", source=made["outputs"][0]["id"], seconds=None).json()
    content = client("GET", varied["outputs"][0]["url"]).content
    assert upload(client, content).json()["request"] is None


def test_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.8.8", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "studio.lan")))


def test_each_setting_of_a_model_states_its_default_and_limits(idle: Client) -> None:
    model = idle("GET", "/v1/models").json()["models"][0]
    settings, vary = model["settings"], model["edits"]["vary"]
    asked = {NAMES.get(one.name, one.name) for one in fields(GenerationRequest)}
    assert settings.keys() == asked - {"seconds_start"} or settings.keys() == asked
    assert vary["strength"] | {"default": 0.5, "minimum": 0.0, "maximum": 1.0} == vary["strength"]
    limited = {k: one for k, one in settings.items() if "maximum" in one and k != "seed"}
    assert limited.keys() >= {"steps", "guidance", "cfg_rescale", "apg_momentum", "sigma_max"}
    for name, one in limited.items():
        assert one["maximum"] >= one.get("default", one["maximum"]) >= one.get("minimum", 0.0)
        refused = idle("POST", "/v1/audio/generations", json=QUICK | {name: one["maximum"] * 2})
        assert refused.status_code == 422 and refused.json()["errors"][0]["field"] == name
    for name in ("sampler", "window", "noise"):
        assert settings[name]["default"] in settings[name]["enum"]
        refused = idle("POST", "/v1/audio/generations", json=QUICK | {name: "none such"})
        assert refused.status_code == 422
    own = SAMPLERS[settings["sampler"]["default"]].schedules
    assert set(own) <= set(settings["schedule"]["enum"])


def test_what_there_is_is_listed(idle: Client) -> None:
    model = idle("GET", "/v1/models").json()["models"][0]
    assert model["id"] == "tiny" and model["seconds_max"] > 0
    assert idle("GET", "/v1/limits").json()["queue"] == 2
    assert idle("GET", "/v1/adapters").json() == {"adapters": []}
    schemas = idle("GET", "/openapi.json").json()["components"]["schemas"]
    properties = schemas["Request"]["properties"]
    for task in TASKS:
        assert properties.keys() >= set(setting_names(task))
    steps = properties["steps"]
    assert (steps["type"], steps["minimum"], steps["maximum"]) == ("integer", 1, MAX_STEPS)
    assert properties["format"]["enum"] == list(FORMATS)
    for query in ("status=lost", "limit=0", "limit=x", "cursor=-1"):
        assert idle("GET", f"/v1/jobs?{query}").status_code == 422
    ids = [idle("POST", "/v1/audio/generations", json=QUICK).json()["id"] for _ in range(2)]
    first = idle("GET", "/v1/jobs?limit=1").json()
    second = idle("GET", f"/v1/jobs?limit=1&cursor={first['cursor']}").json()
    assert [first["jobs"][0]["id"], second["jobs"][0]["id"]] == ids[::-1]


def test_an_end_between_two_looks_is_told(idle: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    store = idle.service.store
    job = idle("POST", "/v1/audio/generations", json=QUICK).json()["id"]
    looks: list[int] = []
    look = store.events

    def events(job_id: str, after: int = 0) -> list[Event]:
        found = look(job_id, after)
        looks.append(len(found))
        if len(looks) == 1:
            idle.service.bell.ring()
        elif len(looks) == 2:
            store.cancel(job)
        return found

    monkeypatch.setattr(store, "events", events)
    text = idle("GET", f"/v1/jobs/{job}/events").text
    assert looks[1] == 0 and text.count("event: end") == 1
