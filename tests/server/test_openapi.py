"""The description of the interface: whole, valid, and true of what the server takes and answers."""

import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from fastapi.routing import APIRoute
from hypothesis import given, settings
from hypothesis import strategies as st
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from auralith.jobs import accepting
from auralith.jobs.previews import preview_path
from auralith.jobs.records import Limits
from auralith.jobs.tasks import ModelPlace
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.server.openapi.paths import operations
from auralith.server.openapi.schemas import ASSET_ID, ERRORS, JOB_ID, SOUND_ID
from auralith.server.service import Service, ServiceSettings
from auralith.sound.writing import write
from tests.jobs.stores import claimed, make_output
from tests.serving import Answer, Client

METHODS = ("get", "post", "put", "delete")
REFUSED = {
    "/v1/audio/generate": 503,
    "/v1/audio/{sound_id}/nearest": 404,
    "/v1/adapters/{name}": 404,
}
"""Answers of a server that makes nothing, and has neither training sounds nor adapters."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Makes nothing; has a job, a sound and an upload of the ids that examples have."""
    folder = tmp_path_factory.mktemp("described")
    limits = Limits(queue=10_000)
    service = Service(
        ServiceSettings(folder / "data", (ModelPlace("embedded"),), ("cpu",), limits=limits)
    )
    yield Client(service)
    service.store.close()


@pytest.fixture(scope="module")
def described(client: Client) -> dict[str, Any]:
    return client("GET", "/openapi.json").json()


@pytest.fixture
def things(client: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The job, the sound and the upload, as they are at first."""
    store = client.service.store
    while waiting := store.jobs("queued", 200):
        for job in waiting:
            store.cancel(job.id)
    for path in (f"/v1/jobs/{JOB_ID}", f"/v1/assets/{ASSET_ID}"):
        client("DELETE", path)
    with monkeypatch.context() as patch:
        patch.setattr(accepting.secrets, "token_hex", lambda _: JOB_ID)
        store.accept({"task": "text", "prompt": "rain", "model": "embedded"}, 1.0)
    running = claimed(store)
    path = store.sounds / f"{JOB_ID}-0.wav"
    tags = Provenance(
        *("auralith", "embedded", "0" * 64, "cpu", "float32", 0, 1),
        GenerationRequest("rain"),
    ).to_tags()
    write(path, np.full((2, 22_050), 0.1, np.float32), 44_100, tags=tags)
    data = path.read_bytes()
    assert make_output(store, running, data) == SOUND_ID
    facts = {"seconds": 0.5, "num_samples": 22_050, "sample_rate": 44_100, "channels": 2}
    made = {"sha256": "0" * 64, "seed": 1, "peak_dbfs": -20.0, "warnings": []}
    store.add_output(running, path.name, facts | made)
    store.finish(running, "succeeded")
    (store.uploads / ASSET_ID).write_bytes(data)
    store.add_asset(ASSET_ID, facts | {"sha256": "0" * 64})
    client.service.previews.path.mkdir(exist_ok=True)
    preview_path(client.service.previews.path, JOB_ID, 1).write_bytes(data)


def validator(described: dict[str, Any], schema: Any) -> jsonschema.Draft202012Validator:
    """What checks a value by a schema of the description."""
    resource = Resource(contents=described, specification=DRAFT202012)
    registry = Registry().with_resource("urn:described", resource)
    text = _absolute(schema)
    return jsonschema.Draft202012Validator(text, registry=registry)


def _absolute(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {
            name: f"urn:described{value}" if name == "$ref" else _absolute(value)
            for name, value in schema.items()
        }
    return [_absolute(one) for one in schema] if isinstance(schema, list) else schema


def every(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in described["paths"].items():
        for method in METHODS:
            if method in methods:
                yield method, path, methods[method]


def test_every_route_is_described(client: Client, described: dict[str, Any]) -> None:
    routes = {
        (method.lower(), route.path.replace(":path}", "}"))
        for route in client.app._app.routes  # type: ignore[attr-defined] (within the guard)
        if isinstance(route, APIRoute) and route.include_in_schema
        for method in route.methods or ()
    }
    assert routes == operations().keys() == {(m, p) for m, p, _ in every(described)}
    names = [one["operationId"] for _, _, one in every(described)]
    assert len(set(names)) == len(names)
    for method, path, one in every(described):
        assert one["summary"], path
        given = {p["name"] for p in one.get("parameters", ()) if p["in"] == "path"}
        assert given == set(re.findall(r"{(\w+)}", path)), path
        assert any(status.startswith("2") for status in one["responses"]), (method, path)


def test_the_description_is_valid(described: dict[str, Any]) -> None:
    assert described["openapi"] == "3.1.0" and described["info"]["title"] == "Auralith"
    assert described["info"]["version"] and described["paths"] and described["components"]
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
        for example in schema.get("examples", ()):
            validator(described, schema).validate(example)
    for reference in re.findall(r"'\$ref': '#/([^']+)'", str(described)):
        target: Any = described
        for part in reference.split("/"):
            target = target[part]
    for _, _, one in every(described):
        for parameter in one.get("parameters", ()):
            assert parameter["in"] in ("path", "query", "header") and parameter["description"]
            example = parameter["example"]
            validator(described, parameter["schema"]).validate(example)
        contents = [one.get("requestBody", {}), *one["responses"].values()]
        for media in (media for each in contents for media in each.get("content", {}).values()):
            jsonschema.Draft202012Validator.check_schema(media["schema"])
            examples = [one["value"] for one in media.get("examples", {}).values()]
            for example in [*examples, *([media["example"]] if "example" in media else [])]:
                validator(described, media["schema"]).validate(example)


def test_every_error_has_an_example(described: dict[str, Any]) -> None:
    problem = validator(described, {"$ref": "#/components/schemas/Problem"})
    for status in ERRORS:
        found = described["components"]["responses"][f"Error{status}"]
        examples = found["content"]["application/problem+json"]["examples"]
        assert examples
        for example in examples.values():
            problem.validate(example["value"])
            assert example["value"]["status"] == status


@pytest.mark.parametrize(("method", "path"), operations())
def test_every_example_is_taken(
    client: Client, described: dict[str, Any], things: None, method: str, path: str
) -> None:
    one = described["paths"][path][method]
    parameters = one.get("parameters", ())
    where = path
    query, headers = {}, {}
    for parameter in parameters:
        value = parameter["example"]
        text = str(value).lower() if isinstance(value, bool) else str(value)
        if parameter["in"] == "path":
            where = where.replace("{" + parameter["name"] + "}", text)
        elif parameter["in"] == "query":
            query[parameter["name"]] = text
        else:
            headers[parameter["name"]] = text
    content = one.get("requestBody", {}).get("content", {})
    bodies: list[dict[str, Any]] = [{}]
    if "application/json" in content:
        examples = content["application/json"]["examples"].values()
        bodies = [{"json": example["value"]} for example in examples]
    elif "multipart/form-data" in content:
        file = (client.service.store.uploads / ASSET_ID).read_bytes()
        bodies = [{"files": {"file": ("x", file)}}]
    hasty = Client(client.service, sync=0.05)  # nobody makes anything here
    for number, body in enumerate(bodies):
        if "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = f"{one['operationId']}-{number}"
        answer = hasty(method, where, params=query, headers=headers, **body)
        assert answer.is_success or answer.status_code == REFUSED.get(path)
        if answer.is_success:
            check(described, one, answer)


def check(described: dict[str, Any], operation: dict[str, Any], answer: Answer) -> None:
    """Check an answer by what the description says of it."""
    stated = operation["responses"][str(answer.status_code)]
    if "$ref" in stated:
        stated = described["components"]["responses"][stated["$ref"].rpartition("/")[2]]
    content = stated.get("content", {})
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert bool(content) == bool(kind), (answer.status_code, kind)
    if kind:
        assert kind in content, (kind, content)
    if kind.endswith("json"):
        validator(described, content[kind]["schema"]).validate(answer.json())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a member: of its kind, at its bounds, and anything else."""
    bounds = [schema[k] for k in ("minimum", "maximum", "exclusiveMinimum") if k in schema]
    kinds = {
        "integer": st.integers(-2, 20),
        "number": st.floats(),
        "boolean": st.booleans(),
        "string": st.text(max_size=20) | st.sampled_from([ASSET_ID, SOUND_ID, "../x", "\0"]),
        "array": st.lists(st.floats() | st.lists(st.floats() | st.text(max_size=3), max_size=3)),
        "object": st.dictionaries(st.text(max_size=5), st.floats()),
    }
    own = kinds.get(str(schema.get("type")), st.nothing())
    chosen = [*bounds, *schema.get("enum", ())]
    return own | (st.sampled_from(chosen) if chosen else st.nothing()) | JSON


def test_nothing_that_a_stranger_sends_is_a_defect(
    client: Client, described: dict[str, Any], things: None
) -> None:
    schema = described["components"]["schemas"]["Request"]["properties"]
    members = st.fixed_dictionaries(
        {"prompt": st.just("rain") | st.text(max_size=9)},
        optional={name: values(one) for name, one in schema.items() if name != "prompt"},
    )
    routes = st.sampled_from(list(every(described)))
    texts = st.text(max_size=30) | st.sampled_from([JOB_ID, SOUND_ID, ASSET_ID, "1", "true", "-1"])
    heads = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=20)

    @settings(max_examples=250, deadline=None)
    @given(route=routes, body=members | JSON, data=st.data())
    def send(route: tuple[str, str, dict[str, Any]], body: Any, data: st.DataObject) -> None:
        method, path, one = route
        query, headers, where = {}, {}, path
        for parameter in one.get("parameters", ()):
            name = parameter["name"]
            if parameter["in"] == "path":
                text = urllib.parse.quote(data.draw(texts), safe="")
                where = where.replace("{" + name + "}", text or "x")
            elif parameter["in"] == "query":
                query[name] = data.draw(texts)
            elif name != "Prefer":
                headers[name] = data.draw(heads).encode("latin-1")
        has_body = "requestBody" in one
        options = {"content": _text(body)} if has_body else {}
        answer = hasty(method, where, params=query, headers=headers, **options)
        assert answer.status_code < 500 or answer.status_code in (503, 507), answer.text
        if answer.status_code not in (404, 405):  # of another path, for ids with a slash
            check(described, one, answer)

    hasty = Client(client.service, sync=0.001)
    send()


def _text(body: Any) -> bytes:
    return json.dumps(body).encode()


def test_other_methods_are_refused(client: Client, described: dict[str, Any], things: None) -> None:
    for path, methods in described["paths"].items():
        where = path.replace("{job_id}", JOB_ID).replace("{sound_id}", SOUND_ID)
        where = where.replace("{asset_id}", ASSET_ID)
        for method in ("PATCH", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "PUT", "POST"):
            if method.lower() in methods:
                continue
            answer = client(method, where)
            assert answer.status_code in (404, 405), (method, path)
            if method != "HEAD":
                assert answer.json()["status"] == answer.status_code
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_of_it_asks_nobody(client: Client) -> None:
    answer = client("GET", "/docs")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'nonce-") and "unsafe" not in policy
    assert "<script" not in answer.text and "//" not in re.sub(r"<!doctype.*?>", "", answer.text)
    for method, path in operations():
        assert f"{method.upper()} {path}" in answer.text
