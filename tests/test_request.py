"""Every field of a request is checked once, and nothing but `InvalidRequest` comes out."""

import math
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.errors import InvalidRequest
from auralith.request import GenerationRequest

anything = st.one_of(
    st.none(),
    st.integers(),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.booleans(),
    st.tuples(st.floats(), st.floats()),
)
FIELDS = tuple(asdict(GenerationRequest("x")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": "  "}, "prompt is empty"),
        ({"seconds_total": -1.0}, "above 0"),
        ({"seconds_total": math.nan}, "finite"),
        ({"seconds_start": -0.5}, "at least 0"),
        ({"seconds_start": 5.0, "seconds_total": 4.0}, "before seconds_total"),
        ({"steps": 0}, "steps is 0; it must be from 1"),
        ({"steps": 2.5}, "whole number"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed"),
        ({"cfg_scale": math.inf}, "finite"),
        ({"cfg_scale": 10**400}, "finite"),
        ({"conditions": {"bpm": -(10**400)}}, "finite"),
        ({"cfg_rescale": 1.5}, "at most 1"),
        ({"cfg_interval": (0.8, 0.2)}, "ascending"),
        ({"sigma_min": 3.0, "sigma_max": 2.0}, "below sigma_max"),
        ({"window": "half"}, "full, fit"),
        ({"noise": "mine"}, "item, reference"),
        ({"negative_prompt": 3}, "not text"),
    ],
)
def test_bad_values_name_the_limit(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as raised:
        GenerationRequest(**({"prompt": "x"} | change))  # pyright: ignore[reportArgumentType]
    assert "\n" not in str(raised.value)


@settings(max_examples=400)
@given(st.dictionaries(st.sampled_from(FIELDS), anything, max_size=5))
def test_a_request_is_valid_or_refused(values: dict[str, object]) -> None:
    try:
        made = GenerationRequest(**({"prompt": "x"} | values))  # pyright: ignore[reportArgumentType]
    except InvalidRequest:
        return
    for name, value in asdict(made).items():
        if isinstance(value, float):
            assert math.isfinite(value), name
