"""Bodies of requests: valid is what the classes of requests and edits say, under one name each."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.edits import Extension, Inpainting, Loop, Variation
from auralith.errors import InvalidRequest
from auralith.jobs.names import ALIASES
from auralith.jobs.orders import (
    Malformed,
    Order,
    cost,
    parse_body,
    read_order,
    resolved,
)
from auralith.noise import MAX_SEED
from auralith.resolution import Resolver
from auralith.sound.extent import SoundInfo
from tests.conftest import GOLDEN

SOUND = SoundInfo(44_100, 44_100, 2)
BODIES: list[dict[str, Any]] = [
    {"prompt": "rain"},
    {"prompt": "rain", "seconds": 1, "steps": 3, "seed": "9007199254740993", "n": 16},
    {"prompt": "rain", "sigmas": [80, 20, 5, 0], "mix": [[0.3, "hail"]], "guidance": 3},
    {"prompt": "rain", "adapters": [{"id": "a"}, {"id": "b", "strength": 0.5}], "format": "flac"},
    {"prompt": "rain", "task": "vary", "source": "x", "strength": 0.2, "negative_prompt": ""},
    {"prompt": "rain", "task": "vary", "source": "x", "init_noise_level": 2},
    {"prompt": "rain", "task": "inpaint", "source": "x", "regions": [[0.5, 0.7], [0.1, 0.2]]},
    {"prompt": "rain", "task": "extend", "source": "x", "seconds": 2, "prompts": [[1, "hail"]]},
    {"prompt": "rain", "task": "loop", "bpm": 240, "bars": 1, "beats_per_bar": 4},
]


@pytest.fixture(scope="module")
def model() -> Resolver:
    from auralith.checkpoints.opening import locate

    return Resolver(locate(GOLDEN / "sao_tiny").model)


@pytest.mark.parametrize("body", BODIES)
def test_a_resolved_order_is_read_again_as_it_is(body: dict[str, Any], model: Resolver) -> None:
    order = resolved(read_order(body), model, SOUND)
    text = json.dumps(order.to_json(), allow_nan=False)
    assert read_order(parse_body(text.encode())) == order
    assert resolved(order, model, SOUND) == order
    assert cost(order, model, SOUND) > 0
    assert order.settings.seed is not None
    if "seed" in body:
        assert order.settings.seed == int(body["seed"])


def test_tasks_give_edits() -> None:
    kinds = {body.get("task"): type(read_order(body).edit) for body in BODIES}
    assert kinds == {
        None: type(None),
        "vary": Variation,
        "inpaint": Inpainting,
        "extend": Extension,
        "loop": Loop,
    }


@pytest.mark.parametrize("alias", sorted(ALIASES))
def test_a_name_of_another_program_means_ours(alias: str) -> None:
    name = ALIASES[alias]
    value: Any = {"prompt": "hail", "format": "flac", "regions": [[0.1, 0.2]]}.get(name, 1)
    task = {"task": "inpaint", "source": "x"} if name == "regions" else {}
    rest = {"prompt": "rain", **task}
    if name == "prompt":
        del rest["prompt"]
    assert read_order(rest | {alias: value}) == read_order(rest | {name: value})
    with pytest.raises(InvalidRequest, match="say the same; give one"):
        read_order(rest | {alias: value, name: value})


def test_a_mask_is_a_region() -> None:
    base = {"prompt": "rain", "task": "inpaint", "source": "x"}
    wanted = read_order(base | {"regions": [[0.1, 0.2]]})
    assert read_order(base | {"mask_start": 0.1, "mask_end": 0.2}) == wanted
    for wrong in (
        {"mask_start": 0.1},
        {"mask_start": 0.1, "mask_end": 0.2, "regions": [[0.1, 0.2]]},
    ):
        with pytest.raises(InvalidRequest, match="mask_"):
            read_order(base | wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stpes": 3}, "stpes is not a setting; did you mean steps?"),
        ({"strength": 0.5}, "strength is not a setting of the task text, but of vary"),
        ({"steps": 0}, "steps is 0; it must be from 1 to 10000"),
        ({"steps": "3"}, "steps must be a whole number, not '3'"),
        ({"steps": True}, "steps must be a whole number, not True"),
        ({"steps": 10**400}, "steps is a number of about 401 digits"),
        ({"seconds": math.nan}, "seconds is nan; give a finite number"),
        ({"seconds": math.inf}, "seconds is inf; give a finite number"),
        ({"seconds": -1}, "seconds is -1 s; it must be above 0"),
        ({"guidance": 101}, "guidance is 101; it must be at most 100"),
        ({"prompt": None}, "prompt"),
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": {"text": "a", "embedding": "b"}}, "prompt must be text"),
        ({"seed": "-1"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"n": 17}, "n is 17; it must be from 1 to 16"),
        ({"n": 0}, "n is 0"),
        ({"task": "sing"}, "task must be 'text' or 'vary'"),
        ({"format": "exe"}, "format must be 'wav' or"),
        ({"adapters": [{"id": "a"}, {"id": "a"}]}, "each once"),
        ({"adapters": [{"id": "a", "path": "/etc"}]}, r"adapters\[0\].path is not a setting"),
        ({"source": "x"}, "source is set; text starts from no sound"),
        ({"task": "vary"}, "source is missing"),
        ({"task": "extend", "source": "x"}, "seconds is missing"),
        ({"task": "loop"}, "a loop needs its seconds, or its bpm and bars"),
        ({"task": "inpaint", "source": "x", "regions": [[2, 1]]}, "regions"),
        (
            {"task": "vary", "source": "x", "strength": 0.1, "init_noise_level": 1.0},
            "strength and init_noise_level say the same",
        ),
    ],
)
def test_a_bad_value_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        read_order({"prompt": "rain"} | change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 900}, "shorten seconds"),
        ({"seed": MAX_SEED, "n": 2}, "seed"),
        ({"task": "vary", "source": "x", "seconds": 1}, "seconds is set; vary has its own"),
        ({"task": "extend", "source": "x", "seconds": 0.5}, "seconds is 0.5 s; it must be above"),
        ({"task": "extend", "source": "x", "seconds": 601}, "at most 600 s"),
        ({"task": "loop", "seconds": 0.001}, "choose other seconds"),
    ],
)
def test_what_the_model_can_not_do_is_named(
    change: dict[str, Any], message: str, model: Resolver
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        resolved(read_order({"prompt": "rain"} | change), model, SOUND)


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a": 1', b'{"a": 1, "a": 2}', b"\xff", b"[" * 100_000, b"nul"]
)
def test_a_body_that_is_not_json_is_refused(text: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_body(text)
    assert "\n" not in str(caught.value)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.sampled_from(sorted({key for body in BODIES for key in body} | ALIASES.keys())) | st.text(
    max_size=6
)


@given(body=VALUES | st.dictionaries(KEYS, VALUES, max_size=4), base=st.sampled_from([{}, *BODIES]))
def test_anything_is_an_order_or_a_line(body: Any, base: dict[str, Any]) -> None:
    if isinstance(body, dict):
        body = base | body
    try:
        order = read_order(body)
    except InvalidRequest as error:
        assert str(error) and "\n" not in str(error)
    else:
        assert isinstance(order, Order)
        assert read_order(json.loads(json.dumps(order.to_json()))) == order
