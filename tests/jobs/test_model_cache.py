"""Models of a worker: which ones stay in memory, and what is too large for it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from auralith.adapter_effect import AdapterEffect
from auralith.checkpoints import AdapterConfig, AdapterMetadata, add_adapter, save_adapter
from auralith.errors import ResourceError
from auralith.jobs.model_cache import ModelCache, weights_size
from auralith.jobs.tasks import ModelPlace, WorkerSettings
from tests.conftest import GOLDEN, open_tiny

PLACES = tuple(ModelPlace(name, str(GOLDEN / "sao_tiny")) for name in ("a", "b", "c"))
SETTINGS = WorkerSettings(PLACES, "cpu", "float32")
Told = list[list[dict[str, Any]]]


def cache(limit: float | None = None) -> tuple[ModelCache, Told]:
    told: Told = []
    most = None if limit is None else int(limit)
    return ModelCache(replace(SETTINGS, memory_bytes=most), told.append), told


def names(told: Told) -> list[str]:
    return [one["id"] for one in told[-1]]


@pytest.fixture(scope="module")
def size() -> int:
    """Bytes of one of the models."""
    return weights_size([cache()[0].get("a")])


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("adapters") / "a.safetensors"
    config, base = AdapterConfig(rank=2), open_tiny("sao_tiny")
    add_adapter(base.dit, config, np.random.default_rng(0))
    save_adapter(path, base.dit, AdapterMetadata(config))
    return str(path)


def test_what_was_used_longest_ago_goes_first(size: int) -> None:
    models, told = cache(2.5 * size)
    first = models.get("a")
    models.get("b")
    assert models.get("a") is first and told[-1] == [
        {"id": "a", "adapters": 0, "bytes": size},
        {"id": "b", "adapters": 0, "bytes": size},
    ]
    models.get("c")
    assert names(told) == ["a", "c"] and models.get("a") is first


def test_without_a_limit_it_is_half_of_the_memory(size: int) -> None:
    models, told = cache()
    for place in PLACES:
        models.get(place.name)
    assert names(told) == ["a", "b", "c"]
    assert sum(one["bytes"] for one in told[-1]) == 3 * size


def test_a_model_that_is_too_large_is_refused_in_a_line(size: int) -> None:
    for limit in (size / 100, size - 1):  # before it is loaded; once its text encoder is there
        models, told = cache(limit)
        with pytest.raises(ResourceError, match=r"the weights of a take .* higher --memory"):
            models.get("a")
        assert not told or told[-1] == []


def test_a_merged_copy_counts_what_it_does_not_share(size: int, adapter: str) -> None:
    models, told = cache(3 * size)
    base = models.get("a")
    merged = models.get("a", ((adapter, AdapterEffect(0.5)),))
    assert [one.strength for one in merged.adapters] == [0.5]
    assert merged.autoencoder is base.autoencoder and models.get("a") is base
    shared, own = told[-1]
    assert shared["bytes"] == size and 0 < own["bytes"] < size and own["adapters"] == 1
    tight, told = cache(
        size + own["bytes"] / 2
    )  # the copy fits, but not beside what it was made of
    tight.get("a", ((adapter, AdapterEffect()),))
    assert [(one["adapters"], one["bytes"]) for one in told[-1]] == [(1, size)]
