"""API keys: who is who, what each may do, and that nobody sees what is another's."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from auralith.errors import InvalidRequest
from auralith.jobs.records import Limits
from auralith.server.guard import Rules
from auralith.server.keys import ApiKey, Bucket, KeyRing, plain_key, read_keys
from auralith.server.run import Address, rules_of
from auralith.server.service import Service
from tests.jobs.stores import claimed, make_output
from tests.serving import QUICK, RULES, Client, settings


def key(name: str, **limits: Any) -> ApiKey:
    return ApiKey(name, hashlib.sha256(name.encode()).hexdigest(), **limits)


KEYS = (
    key("ann", queue=1, n=2),
    key("bob"),
    key("eve", expires="2020-01-01"),
    key("tim", per_minute=2),
)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """Makes nothing."""
    service = Service(settings(tmp_path / "data", limits=Limits(queue=3)))
    yield service
    service.store.close()


@pytest.fixture
def people(service: Service) -> dict[str, Client]:
    app = Client(service, Rules(RULES.hosts, keys=KEYS))
    found = {}
    for one in KEYS:
        found[one.name] = person = Client(service, RULES, Authorization=f"Bearer {one.name}")
        person.app = app.app  # whose counters are one
    return found


def test_what_is_anothers_is_not_there(people: dict[str, Client], service: Service) -> None:
    ann, bob = people["ann"], people["bob"]
    job = ann("POST", "/v1/audio/generations", json=QUICK).json()
    running = claimed(service.store)
    sound = make_output(service.store, running, b"RIFF")
    service.store.finish(running, "succeeded")
    (service.store.uploads / "asset").write_bytes(b"RIFF")
    facts = {"seconds": 0.5, "num_samples": 22_050, "sample_rate": 44_100, "channels": 2}
    service.store.add_asset("asset", facts, "ann")
    for method, path in (
        ("GET", f"/v1/jobs/{job['id']}"),
        ("GET", f"/v1/jobs/{job['id']}/events"),
        ("DELETE", f"/v1/jobs/{job['id']}"),
        ("GET", f"/v1/audio/{sound}"),
        ("GET", f"/v1/audio/{sound}/peaks"),
        ("GET", f"/v1/audio/{sound}/spectrogram.png"),
        ("GET", f"/v1/audio/{sound}/provenance"),
        ("PUT", f"/v1/audio/{sound}/star"),
        ("DELETE", f"/v1/audio/{sound}/star"),
        ("DELETE", "/v1/assets/asset"),
    ):
        answer = bob(method, path)
        assert answer.status_code == 404, (method, path)
        missing = path.replace(job["id"], "0" * 32).replace("/asset", "/0")
        if "assets" not in path:
            assert bob(method, missing).json() == answer.json()
    for source in (sound, "asset"):
        body = QUICK | {"task": "vary", "source": source}
        del body["seconds"]
        refused = bob("POST", "/v1/audio/generations", json=body)
        assert refused.status_code == 404
        assert bob("POST", "/v1/estimates", json=body).status_code == 404
    assert ann("POST", "/v1/estimates", json=body).status_code == 200
    assert bob("GET", "/v1/jobs").json()["jobs"] == []
    assert [one["id"] for one in ann("GET", "/v1/jobs").json()["jobs"]] == [job["id"]]
    starred = ann("PUT", f"/v1/audio/{sound}/star").json()
    assert starred["is_starred"] and starred["id"] == sound
    assert len(ann("GET", "/v1/jobs?starred=true").json()["jobs"]) == 1
    assert not ann("DELETE", f"/v1/audio/{sound}/star").json()["is_starred"]
    assert ann("GET", "/v1/jobs?starred=true").json()["jobs"] == []
    assert ann("DELETE", "/v1/assets/asset").status_code == 204
    everybody = Client(service)  # where no keys are needed
    assert len(everybody("GET", "/v1/jobs").json()["jobs"]) == 1


def test_a_key_has_its_share_of_the_queue(people: dict[str, Client]) -> None:
    ann, bob = people["ann"], people["bob"]
    submit = ("POST", "/v1/audio/generations")
    many = ann(*submit, json=QUICK | {"n": 3})
    assert many.status_code == 422 and many.json()["errors"][0] == {
        "field": "n",
        "value": 3,
        "limit": {"minimum": 1, "maximum": 2},
        "remedy": "this API key makes at most 2 at a time",
    }
    assert ann(*submit, json=QUICK | {"n": 2}).status_code == 202
    full = ann(*submit, json=QUICK)
    assert full.status_code == 429 and "of this API key" in full.json()["detail"]
    assert int(full.headers["retry-after"]) >= 1
    assert bob(*submit, json=QUICK).status_code == 202


def test_an_expired_key_is_told_so(people: dict[str, Client]) -> None:
    refused = people["eve"]("GET", "/v1/jobs")
    assert refused.status_code == 401 and "expired on 2020-01-01" in refused.json()["detail"]
    assert "invalid_token" in refused.headers["www-authenticate"]
    later = key("x", expires="2027-01-31T12:00:00+02:00")
    assert not later.has_expired(datetime(2027, 1, 31, 9, 59, tzinfo=UTC))
    assert later.has_expired(datetime(2027, 1, 31, 10, 0, tzinfo=UTC))


def test_who_asks_too_often_is_told_when_to_ask(people: dict[str, Client]) -> None:
    tim = people["tim"]
    assert [tim("GET", "/v1/limits").status_code for _ in range(2)] == [200, 200]
    refused = tim("GET", "/v1/limits")
    assert refused.status_code == 429 and 1 <= int(refused.headers["retry-after"]) <= 30
    assert people["bob"]("GET", "/v1/limits").status_code == 200
    assert tim("GET", "/healthz").status_code == 200


def test_a_bucket_fills_again() -> None:
    now = [0.0]
    bucket = Bucket(60, lambda: now[0])
    assert [bucket.take() for _ in range(61)] == [0] * 60 + [1]
    now[0] = 1.5
    assert [bucket.take(), bucket.take()] == [0, 1]
    now[0] = 1e6
    assert [bucket.take() for _ in range(61)] == [0] * 60 + [1]
    assert [Bucket(1).take(), Bucket(None).take()] == [0, 0]


def test_a_ring_knows_its_keys_alone() -> None:
    ring = KeyRing([plain_key("secret"), key("ann")])
    found = ring.find("ann")
    assert found is not None and found[0].name == "ann" and ring
    assert ring.find("ann ") is None and ring.find("") is None and not KeyRing([])


def test_a_file_of_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.toml"
    digest = hashlib.sha256(b"secret").hexdigest()
    path.write_text(
        f'[[keys]]\nname = "Ann"\nsha256 = "{digest}"\nqueue = 4\nn = 2\nexpires = 2999-01-31\n'
    )
    assert read_keys(path) == (ApiKey("Ann", digest, 4, None, 2, "2999-01-31"),)
    monkeypatch.setenv("AURALITH_API_KEY", " first ,, second")
    names = [one.name for one in rules_of(Address(keys=path, host="0.0.0.0")).keys]
    assert len(names) == 3 and names[2] == "Ann"
    monkeypatch.delenv("AURALITH_API_KEY")
    assert len(rules_of(Address(keys=path, host="0.0.0.0")).keys) == 1
    with pytest.raises(InvalidRequest, match="--insecure"):
        rules_of(Address(host="0.0.0.0"))


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "keys in FILE is missing"),
        ("[[keys]]\nname = 'a'", "sha256 in FILE is missing"),
        ("[[keys]]\nname = 'a'\nsha256 = 'secret'", "sha256 in FILE is not a SHA-256"),
        ("[[keys]]\nname = ''\nsha256 = 'HASH'", "name in FILE is ''"),
        ("[[keys]]\nname = 'a'\nsha256 = 'HASH'\nn = 0", "n in FILE is 0; it must be at least 1"),
        ("[[keys]]\nname = 'a'\nsha256 = 'HASH'\nper_minute = -1", "per_minute in FILE is -1"),
        ("[[keys]]\nname = 'a'\nsha256 = 'HASH'\nexpires = 'soon'", "expires in FILE is 'soon'"),
        ("[[keys]]\nname = 'a'\nsha256 = 'HASH'\nlimit = 1", "limit in FILE is not a setting"),
        ("[[keys]]\nname = 'a'\nsha256 = 'HASH'\n" * 2, "two keys in FILE have the same name"),
        ("keys = 1", "keys in FILE must be"),
        ("[[keys]", "FILE is not TOML"),
    ],
)
def test_a_file_that_holds_no_keys_is_refused(tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "keys.toml"
    path.write_text(text.replace("HASH", hashlib.sha256(b"x").hexdigest()))
    with pytest.raises(InvalidRequest) as found:
        read_keys(path)
    assert line.replace("FILE", str(path)) in str(found.value)
    assert "secret" not in str(found.value)
