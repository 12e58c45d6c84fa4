"""The routes of a review: lists, items, sounds that align, decisions, and what a stranger can't get out of them."""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auralith.curation.outcomes import outcomes
from auralith.curation.review import CODES, cases, open_items
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.server.review import OPERATIONS
from auralith.server.service import Service
from auralith.sound.excerpt import SAMPLE_RATE
from tests.curation.suspects import KNOWN_FROM, MARKUP, SUSPECT_FROM, curate_suspects
from tests.curation.test_review import suspect
from tests.server.test_openapi import check, every
from tests.serving import Answer, Client, settings


class Reviewing:
    """Calls the routes of a review whose service makes nothing."""

    def __init__(self, client: Client, folder: Path) -> None:
        self.client, self.folder = client, folder

    def get(self, path: str, **query: Any) -> Answer:
        return self.client("GET", f"/v1/review{path}", params=query or None)

    def items(self, who: str, view: str = "open", **query: Any) -> list[str]:
        found = self.get("/items", reviewer=who, view=view, **query)
        return [one["id"] for one in found.json()["items"]]

    def id_of(self, rec_id: str) -> str:
        (found,) = [one.item.item_id for one in cases(self.folder) if one.item.rec_id == rec_id]
        return found

    def item(self, rec_id: str, who: str = "") -> dict[str, Any]:
        return self.get(f"/items/{self.id_of(rec_id)}", reviewer=who).json()

    def decide(self, item: str, who: str, decision: str, *more: Any, **others: Any) -> Answer:
        """Decide for the first reason."""
        codes = CODES.get(decision, ())  # type: ignore[call-overload]
        body = {"reviewer": who, "decision": decision, "reason": codes[0] if codes else None}
        return self.client("POST", f"/v1/review/items/{item}/decisions", json=body | others)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> CurationSettings:
    return curate_suspects(tmp_path_factory.mktemp("reviewed"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(settings(tmp_path_factory.mktemp("jobs") / "data"))
    yield service
    service.store.close()


@pytest.fixture
def reviewing(made: CurationSettings, service: Service, tmp_path: Path) -> Reviewing:
    """A review of real sounds without a decision."""
    folder = shutil.copytree(made.folder.parent, tmp_path / "made") / "curation"
    return Reviewing(Client(service, review=folder), folder)


def test_every_route_is_described_by_examples_that_it_takes(reviewing: Reviewing) -> None:
    described = reviewing.client("GET", "/openapi.json").json()
    routes = {(m, path) for m, path, _ in every(described) if path.startswith("/v1/review")}
    assert routes == OPERATIONS.keys()
    item = reviewing.items("ann")[0]
    reviewing.decide(item, "bob", "keep")
    for method, path in OPERATIONS:
        one = described["paths"][path][method]
        given = {p["name"]: (p["in"], str(p["example"])) for p in one.get("parameters", ())}
        where = path.replace("{item_id}", item).replace("{side}", given.get("side", ("", ""))[1])
        content = one.get("requestBody", {}).get("content", {"": {}})
        examples = [
            one["value"] for one in next(iter(content.values())).get("examples", {}).values()
        ]
        for body in examples or [None]:
            answer = reviewing.client(
                method,
                where,
                params={name: text for name, (place, text) in given.items() if place == "query"},
                headers={name: text for name, (place, text) in given.items() if place == "header"},
                json=body,
            )
            assert answer.is_success, answer.text
            check(described, one, answer)


@pytest.fixture
def plain(service: Service, tmp_path: Path) -> Reviewing:
    """A review of items without sounds."""
    open_items(tmp_path, [suspect(1), suspect(2, "match", stage="identify"), suspect(3, "B")])
    return Reviewing(Client(service, review=tmp_path), tmp_path)


def samples(answer: Answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    found, rate = soundfile.read(io.BytesIO(answer.content), always_2d=True)
    assert (rate, found.shape[1]) == (SAMPLE_RATE, 2)
    return found[:, 0]


def test_both_sides_come_aligned_at_one_playhead(reviewing: Reviewing) -> None:
    """Excerpts that start as far before the common stretch are the same sound there, sample for sample but for rounding."""
    item = reviewing.item("folder:copy.wav", "ann")
    match = item["matches"][0]
    assert match["ref_start_s"] - match["query_start_s"] == pytest.approx(
        KNOWN_FROM - SUSPECT_FROM, abs=0.05
    )
    get = reviewing.client
    starts = {"suspect": SUSPECT_FROM - 3.0, "1": KNOWN_FROM - 3.0}
    url = f"/v1/review/items/{item['id']}/sounds/"
    one, other = (
        samples(get("GET", f"{url}{side}/excerpt.wav?start={start}&seconds=9"))
        for side, start in starts.items()
    )
    assert len(one) == len(other) == 9 * SAMPLE_RATE
    common = slice(round(3.2 * SAMPLE_RATE), round(8.8 * SAMPLE_RATE))
    assert np.abs(one[common]).max() > 0.1
    assert np.abs(one[common] - other[common]).max() < 1e-3
    assert not one[: SAMPLE_RATE // 2].any()  # before the suspect's beginning


def test_the_file_itself_comes_in_ranges(reviewing: Reviewing) -> None:
    item = reviewing.item("folder:copy.wav")
    data = (reviewing.folder.parent / "sounds" / "copy.wav").read_bytes()
    whole = reviewing.client("GET", item["suspect"]["sound"])
    assert whole.content == data and whole.headers["accept-ranges"] == "bytes"
    assert whole.headers["content-type"] == "audio/wav"
    part = reviewing.client("GET", item["suspect"]["sound"], headers={"Range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == data[100:200]
    peaks = reviewing.client("GET", f"{item['matches'][0]['sound']}/peaks?n=64").json()
    assert len(peaks["max"]) == 64 and max(peaks["max"]) > 0.1
    assert peaks["num_samples"] == 16 * peaks["sample_rate"]


def test_items_have_what_is_known_of_both_sides_and_no_path(reviewing: Reviewing) -> None:
    for rec_id in ("folder:copy.wav", "folder:markup.wav", "folder:short.wav", "fma:1"):
        text = json.dumps(reviewing.item(rec_id, "ann"))
        assert str(reviewing.folder.parent) not in text and "known/" not in text
    by_title = reviewing.item("fma:1")
    assert by_title["matches"][0]["sound"] is None and by_title["matches"][0]["album"] == MARKUP
    assert by_title["matches"][0]["facts"]["title_score"] == 100.0
    short = reviewing.item("folder:short.wav")
    assert (short["tier"], short["matches"]) == ("indeterminate", [])
    assert short["evidence"]["reason_code"] == "too_short" and short["suspect"]["sound"]
    assert reviewing.item("folder:markup.wav")["suspect"]["title"] == MARKUP


def test_two_decide_and_the_next_run_heeds_it(reviewing: Reviewing, made: CurationSettings) -> None:
    """What the page writes is what `curate` reads."""
    item = reviewing.id_of("folder:copy.wav")
    assert reviewing.decide(item, "ann", "keep").json()["state"] == "open"
    answer = reviewing.decide(item, "bob", "keep", note="ours")
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["role"]) == ("kept", "second")
    fields = {name: value for name, value in vars(made).items() if name != "folder"}
    settings = CurationSettings(folder=reviewing.folder, **fields)
    list(curate(settings))
    table = outcomes(Store(settings.folder), settings).to_pylist()
    found = {row["rec_id"]: row["outcome"] for row in table}
    assert (found["folder:copy.wav"], found["folder:markup.wav"]) == ("accepted", "pending")


def test_lists_and_progress_are_each_reviewers_own(plain: Reviewing) -> None:
    one, two, three = order = plain.items("ann")
    assert order == plain.items("bob") and plain.items("ann", stage="identify") == [one]
    plain.decide(one, "ann", "keep")
    plain.decide(one, "bob", "remove")
    plain.decide(two, "ann", "unsure")
    assert plain.items("ann") == [three] and plain.items("ann", "decided") == [two, one]
    assert plain.items("bob") == [two, three] and plain.items("cy") == [one, two, three]
    assert plain.items("cy", "conflicts") == [one]
    assert plain.items("ann", "conflicts") == plain.items("bob", "conflicts") == []
    stages = plain.get("/progress", reviewer="bob").json()["stages"]
    assert stages["identify"] == {
        "total": 1,
        "settled": 0,
        "conflicts": 1,
        "decisions": 2,
        "left": 0,
    }
    assert stages["metadata"]["left"] == 2
    assert plain.get("/reviewers").json()["reviewers"] == [
        {"name": "ann", "decisions": 2},
        {"name": "bob", "decisions": 1},
    ]
    found = {one["stage"]: one for one in plain.get("/agreement").json()["stages"]}
    assert found["identify"]["kappa"] == 0.0 and found["identify"]["counts"] == {"keep/remove": 1}
    assert found["metadata"]["kappa"] is None
    assert plain.get("").json()["decisions"] == {name: list(codes) for name, codes in CODES.items()}
    assert plain.get("/items", reviewer="cy", limit="1").json()["total"] == 3


def test_a_decision_is_blind_until_the_item_is_settled(plain: Reviewing) -> None:
    item = plain.items("ann")[0]
    plain.decide(item, "ann", "remove", note="a telling note")
    seen = plain.get(f"/items/{item}", reviewer="bob")
    assert "telling" not in seen.text and "ann" not in seen.text.lower().replace("channels", "")
    assert seen.json()["may_decide"] and not seen.json()["may_replace"]
    assert plain.get(f"/items/{item}", reviewer="Ann").json()["own"]["note"] == "a telling note"
    plain.decide(item, "bob", "remove")
    assert len(plain.get(f"/items/{item}", reviewer="cy").json()["decisions"]) == 2


def test_a_decision_is_compared_and_set(plain: Reviewing) -> None:
    item = plain.items("ann")[0]
    plain.decide(item, "ann", "keep")
    for others in ({}, {"replaces": 1}):
        answer = plain.decide(item, "ann", "remove", **others)
        assert answer.status_code == 409 and answer.json()["type"].endswith(":outdated")
    assert plain.decide(item, "ann", "remove", replaces=0).json()["revision"] == 1
    own = plain.get(f"/items/{item}", reviewer="ann").json()["own"]
    assert (own["decision"], own["revision"]) == ("remove", 1)
    plain.decide(item, "bob", "remove")
    assert plain.decide(item, "cy", "keep").status_code == 409  # settled


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ('{"reviewer": "ann"', 400, "JSON"),
        ("[]", 422, "object"),
        ('{"reviewer": "ann"}', 422, "decision"),
        ('{"reviewer": "ann", "decision": "keep"}', 422, "reason is missing"),
        ('{"reviewer": "", "decision": "unsure"}', 422, "reviewer is missing"),
        ('{"reviewer": "ann", "decision": "delete"}', 422, "keep, remove, unsure"),
        ('{"reviewer": "ann", "decision": "unsure", "reason": "other"}', 422, "reason"),
        ('{"reviewer": "ann", "decision": "unsure", "reasn": "other"}', 422, "did you mean"),
        ('{"reviewer": "ann", "decision": "unsure", "replaces": "0"}', 422, "replaces"),
        ('{"reviewer": 3, "decision": "unsure"}', 422, "reviewer"),
        ('{"reviewer": "ann", "decision": "unsure", "note": "' + "x" * 5_000 + '"}', 422, "note"),
    ],
)
def test_what_is_no_decision_is_refused_in_a_line(
    plain: Reviewing, body: str, status: int, says: str
) -> None:
    item = plain.items("ann")[0]
    answer = plain.client("POST", f"/v1/review/items/{item}/decisions", content=body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert all(not case.decisions for case in cases(plain.folder))


@pytest.mark.parametrize("item", ["r0", "%2e%2e%2fx", "r" + "0" * 16, "ü", "'; DROP TABLE items"])
@pytest.mark.parametrize("rest", ["", "/sounds/suspect", "/sounds/1/peaks"])
def test_an_unknown_item_is_404(plain: Reviewing, item: str, rest: str) -> None:
    assert plain.get(f"/items/{item}{rest}").status_code == 404
    assert plain.decide(item, "ann", "unsure").status_code == 404


@pytest.mark.parametrize("side", ["0", "2", "-1", "x", "..%2f..%2fsecret.wav", "suspect%00", "1e0"])
def test_only_sounds_of_the_item_are_served(reviewing: Reviewing, side: str) -> None:
    item = reviewing.id_of("folder:copy.wav")
    assert reviewing.get(f"/items/{item}/sounds/{side}").status_code == 404


@pytest.mark.parametrize(
    "query",
    ["start=x", "start=nan", "start=-1e9", "seconds=0", "seconds=1e9", "seconds=inf", "n=0"],
)
def test_impossible_stretches_are_refused(reviewing: Reviewing, query: str) -> None:
    url = f"/items/{reviewing.id_of('folder:copy.wav')}/sounds/suspect/"
    answer = reviewing.get(url + ("peaks?" if "n=" in query else "excerpt.wav?") + query)
    assert answer.status_code == 422 and query.split("=")[0] in answer.json()["detail"]


def test_a_sound_that_is_damaged_or_gone_says_so_without_its_path(reviewing: Reviewing) -> None:
    url = f"/items/{reviewing.id_of('folder:copy.wav')}/sounds/suspect"
    path = reviewing.folder.parent / "sounds" / "copy.wav"
    path.write_bytes(b"no sound at all" * 99)
    for rest in ("/excerpt.wav", "/peaks"):
        answer = reviewing.get(url + rest)
        assert answer.status_code == 415 and str(path.parent) not in answer.text
    path.unlink()
    os.symlink("/etc/hostname", path)
    assert reviewing.get(url).status_code == 404
    assert reviewing.item("folder:copy.wav")["suspect"]["sound"] is None


def test_a_folder_without_a_review_is_refused_before_anything_is_served(
    service: Service, tmp_path: Path
) -> None:
    with pytest.raises(InvalidRequest, match="curate review open"):
        Client(service, review=tmp_path)
    assert Client(service)("GET", "/v1/review").status_code == 404
