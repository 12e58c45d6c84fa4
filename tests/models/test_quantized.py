"""Layers in int8: codes near their values, sums of whole numbers exact on any CPU, every layer's format stated."""

import logging
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from auralith.checkpoints import Checkpoint, inspect_checkpoint
from auralith.families.registry import without_memory
from auralith.models import quantized
from auralith.models.quantized import (
    FLOAT_LAYERS,
    INT8_LAYERS,
    LEVELS,
    ONEDNN,
    PAIR_LIMIT,
    ZERO,
    Kernel,
    QuantizedLinear,
    dequantize,
    int8_layers,
    kernel,
    quantize,
    quantize_rows,
)
from auralith.pipeline import EMBEDDED
from tests.rounding import UNIT
from tests.sa3 import SIZES

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 90), st.integers(0, 2**31))


def drawn(rows: int, columns: int, seed: int) -> Tensor:
    """Values of magnitudes that differ from row to row, with outliers and a row of zeros."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(rows, columns, generator=generator)
    values *= 10.0 ** torch.randint(-6, 6, (rows, 1), generator=generator)
    values[torch.rand(rows, columns, generator=generator) < 0.02] *= 30
    values[rows // 2] = 0
    return values


@given(SHAPES)
@settings(max_examples=40, deadline=None)
def test_codes_are_the_nearest_and_no_pair_is_too_large(shape: tuple[int, int, int]) -> None:
    weight = drawn(*shape)
    found = quantize(weight)
    assert found.codes.abs().amax() <= LEVELS and (found.scale > 0).all()
    error = (dequantize(found).double() - weight.double()).abs()
    assert (error <= found.scale[:, None].double() * (0.5 + 4 * LEVELS * UNIT)).all()
    wide = F.pad(found.codes.long(), (0, shape[1] % 2)).unflatten(1, (-1, 2))
    assert wide.clamp(min=0).sum(-1).amax() <= PAIR_LIMIT
    assert wide.clamp(max=0).sum(-1).amin() >= -PAIR_LIMIT


@given(SHAPES)
@settings(max_examples=40, deadline=None)
def test_activations_are_near_their_codes(shape: tuple[int, int, int]) -> None:
    x = drawn(*shape)
    found = quantize_rows(x)
    assert found.codes.amin() >= 1
    error = ((found.codes.double() - ZERO) * found.scale.double() - x.double()).abs()
    assert (error <= found.scale.double() * (0.5 + 4 * LEVELS * UNIT)).all()


@given(SHAPES)
@settings(max_examples=40, deadline=None)
def test_sums_are_those_of_whole_numbers_however_large(shape: tuple[int, int, int]) -> None:
    rows, columns, seed = shape
    codes = quantize(drawn(rows, columns, seed)).codes
    # the activations that make the sums of a channel largest, of either sign
    worst = torch.cat((torch.where(codes > 0, 255, 1), torch.where(codes < 0, 255, 1)))
    worst = worst.to(torch.uint8)
    expected = (worst.long() - ZERO) @ codes.long().T
    for candidate in {kernel(), quantized.FLOAT}:
        found = candidate.product(worst, candidate.pack(codes), torch.ones(rows))
        assert torch.equal(found.long(), expected), candidate.name


@pytest.mark.parametrize("rows", [1, 5, 70])
@pytest.mark.parametrize("width", [1_536, 6_144])
def test_so_are_those_of_wide_layers_beyond_what_floats_count(rows: int, width: int) -> None:
    generator = torch.Generator().manual_seed(rows)
    codes = quantize(torch.randn(48, width, generator=generator).sign()).codes
    x = torch.where(codes[torch.arange(rows) % 48] > 0, 255, 1).to(torch.uint8)
    expected = (x.long() - ZERO) @ codes.long().T
    assert expected.amax() == LEVELS * (PAIR_LIMIT // 2) * width
    found = kernel().product(x, kernel().pack(codes), torch.ones(48))
    torch.testing.assert_close(found.double(), expected.double(), rtol=4 * UNIT, atol=0)


@pytest.mark.parametrize("bias", [False, True])
def test_the_error_of_a_layer_is_that_of_its_codes(bias: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    linear = nn.Linear(96, 40, bias=bias).requires_grad_(False)
    x = torch.randn(2, 7, 96, generator=generator)
    codes, rows = quantize(linear.weight), quantize_rows(x.flatten(0, 1))
    found = QuantizedLinear(codes, linear.bias)(x)
    step_x = rows.scale.double().view(2, 7, 1) / 2
    step_w = codes.scale.double() / 2
    bound = (
        step_x * linear.weight.double().abs().sum(1)
        + x.double().abs().sum(-1, keepdim=True) * step_w
        + 96 * step_x * step_w
    )
    assert ((found - linear(x)).abs() <= bound * 1.001).all()
    assert found.shape == (2, 7, 40)


def test_an_item_is_the_same_alone_and_in_a_batch() -> None:
    x = torch.randn(5, 9, 64, generator=torch.Generator().manual_seed(0))
    layer = QuantizedLinear(quantize(drawn(32, 64, 1)), torch.ones(32))
    assert torch.equal(layer(x)[3:4], layer(x[3:4]))


def test_what_is_not_a_number_stays_so_in_its_row() -> None:
    x = torch.ones(3, 16)
    x[1, 4], x[2, 4] = torch.nan, torch.inf
    found = QuantizedLinear(quantize(drawn(8, 16, 1) + 1))(x)
    assert found[0].isfinite().all() and not found[1:].isfinite().any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_so_does_the_scale_of_a_row_of_weights(value: float) -> None:
    weight = torch.ones(3, 16)
    weight[1, 4] = value
    assert quantize(weight).scale.isfinite().tolist() == [True, False, True]


def test_every_layer_is_in_int8_or_has_a_reason_not_to_be(checkpoint: Checkpoint) -> None:
    _require_reasons(checkpoint.dit)


def test_so_has_every_layer_of_the_embedded_model() -> None:
    _require_reasons(without_memory(inspect_checkpoint(EMBEDDED).spec).dit)


@pytest.mark.parametrize("size", SIZES)
def test_so_has_every_layer_of_stable_audio_3(sa3_folders: dict[str, Path], size: str) -> None:
    _require_reasons(without_memory(inspect_checkpoint(sa3_folders[size]).spec).dit)


def _require_reasons(dit: nn.Module) -> None:
    chosen = set(int8_layers(dit))
    blocks = {name.split(".")[1] for name in chosen}
    assert chosen and len(chosen) == 6 * len(blocks)
    for name, _ in dit.named_parameters():
        module = name.rpartition(".")[0] or name
        reasons = [p for p in FLOAT_LAYERS if re.fullmatch(p, module) or re.fullmatch(p, name)]
        assert len(reasons) + (module in chosen) == 1, name
        assert bool(INT8_LAYERS.fullmatch(module)) == (module in chosen)


def test_a_product_that_saturates_or_is_missing_is_not_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def saturating(rows: Tensor, packed: Tensor, scale: Tensor) -> Tensor:
        return quantized.FLOAT.product(rows, packed, scale).clamp(max=2.0**15 - 1)

    def missing(codes: Tensor) -> Tensor:
        return torch.ops.onednn.no_such_product(codes)

    monkeypatch.setattr(quantized, "ONEDNN", Kernel("saturating", quantized.FLOAT.pack, saturating))
    assert kernel.__wrapped__().name == "float"
    monkeypatch.setattr(quantized, "ONEDNN", Kernel("missing", missing, ONEDNN.product))
    assert kernel.__wrapped__().name == "float"


@pytest.mark.parametrize(("gain", "lines"), [(0.9, 1), (2.5, 0)])
def test_a_machine_where_int_products_are_slow_is_told(
    gain: float, lines: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(quantized, "_gain", lambda: gain)
    with caplog.at_level(logging.WARNING):
        quantized.warn_of_slow_int8.__wrapped__()
    assert len(caplog.messages) == lines
    assert all("int8 is used all the same" in text and "\n" not in text for text in caplog.messages)
