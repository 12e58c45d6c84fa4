"""Protocols: what changes the hash, what may differ, and how a refusal names it."""

from dataclasses import replace
from typing import Any

import pytest

from auralith.errors import InvalidRequest
from auralith.metrics.protocol import (
    Protocol,
    comparable_sha256,
    differing_keys,
    require_comparable,
)

BASE = Protocol(
    metric="kl_passt",
    version=1,
    embedder={"front_end": "passt", "weights_sha256": "ab", "window_s": 10, "hop_s": 5.0},
    ids=("b", "a", "c"),
    model={"weights": "aa", "generation": {"steps": 100, "cfg": 7.0}},
    reference_sha256="cd",
    crop_seed=0,
    settings={"direction": "generated_to_reference"},
)
CHANGES: dict[str, dict[str, Any]] = {
    "metric": {"metric": "clap"},
    "version": {"version": 2},
    "embedder.window_s": {"embedder": dict(BASE.embedder, window_s=11)},
    "embedder.top": {"embedder": dict(BASE.embedder, top={"k": 1})},
    "ids": {"ids": ("a", "b")},
    "reference_sha256": {"reference_sha256": None},
    "crop_seed": {"crop_seed": 1},
    "draws": {"draws": 3},
    "settings.direction": {"settings": {"direction": "reference_to_generated"}},
}


@pytest.mark.parametrize("key", CHANGES)
def test_every_part_counts_and_is_named(key: str) -> None:
    other = replace(BASE, **CHANGES[key])
    assert other.sha256 != BASE.sha256
    assert other.comparable_sha256 != BASE.comparable_sha256
    found = differing_keys(BASE.as_json(), other.as_json())
    assert [name for name in found if name.startswith(key)] == found != []
    with pytest.raises(InvalidRequest, match=f"'ours' and 'theirs'.*{key}"):
        require_comparable({"ours": BASE.as_json(), "theirs": other.as_json()})


def test_the_model_may_differ() -> None:
    other = replace(BASE, model={"weights": "bb"})
    assert other.sha256 != BASE.sha256
    assert other.comparable_sha256 == BASE.comparable_sha256
    assert comparable_sha256(other.as_json()) == BASE.comparable_sha256
    require_comparable({"a": BASE.as_json(), "b": other.as_json(), "c": BASE.as_json()})


def test_order_makes_no_difference() -> None:
    other = replace(
        BASE, ids=("c", "b", "a"), embedder=dict(sorted(BASE.embedder.items(), reverse=True))
    )
    assert other.sha256 == BASE.sha256
    with pytest.raises(InvalidRequest, match="twice"):
        replace(BASE, ids=("a", "a"))
