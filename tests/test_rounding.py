"""The measure of rounding itself, and the tolerances that are multiples of it."""

from dataclasses import replace

import pytest
import torch
from rounding import (
    DECODED,
    MARGIN,
    RUN,
    UNIT,
    assert_rounding_only,
    in_float64,
    rounding_errors,
)
from torch import Tensor

from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from tests.conftest import GOLDEN


def values(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) + 0.5


def relative_rounding(result: Tensor, error: float) -> float:
    return error / float(result.abs().max())


@pytest.mark.parametrize("offset", [0.0, 1e2, 1e4])
def test_cancellation_counts(offset: float) -> None:
    def compute() -> Tensor:
        return (values(1_000) + offset) - offset

    exact = in_float64(compute)
    assert exact["0"].dtype is torch.float64
    rounding = rounding_errors(compute, exact)["0"]
    assert 1 <= rounding / (UNIT * (1 + offset)) < 10
    assert_rounding_only(compute(), compute)
    with pytest.raises(AssertionError, match="from the exact result"):
        assert_rounding_only(compute() + 2 * MARGIN * rounding, compute)


def test_what_names_float32_is_computed_in_float64() -> None:
    start = values(64)

    def compute() -> Tensor:
        return start.to(torch.float32).float().cumsum(0, dtype=torch.float32).exp()

    assert torch.equal(in_float64(compute)["0"], start.double().cumsum(0).exp())


@pytest.fixture(scope="module")
def model() -> Auralith:
    model = load(GOLDEN / "sao_tiny", device="cpu", dtype="float32")
    model.config = replace(model.config, window_samples=2_048 * 16)
    return model


def test_the_tolerance_of_decoded_sound(model: Auralith) -> None:
    latents = torch.randn(1, 16, 2, generator=torch.Generator().manual_seed(0))

    def compute() -> Tensor:
        with torch.inference_mode():  # or autograd compares the formats before they are widened
            return model.decode(latents)

    exact = in_float64(compute)
    assert_rounding_only(compute(), compute)
    found = relative_rounding(exact["0"], rounding_errors(compute, exact)["0"])
    assert MARGIN / 2 < DECODED / found < 4 * MARGIN


def test_the_tolerance_of_a_run(model: Auralith) -> None:
    request = GenerationRequest(
        "a bell", "noise", seconds_total=0.4, steps=4, seed=77, window="fit"
    )

    def compute() -> Tensor:
        return model.denoise([request])

    exact = in_float64(compute)
    assert_rounding_only(compute(), compute)
    found = relative_rounding(exact["0"], rounding_errors(compute, exact)["0"])
    assert MARGIN / 2 < RUN / found < 4 * MARGIN
