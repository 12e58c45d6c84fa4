"""Muon: torch's own in bfloat16, and as near to orthogonal in float32, which any CPU multiplies fast."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auralith.training import muon
from auralith.training.muon import Muon, orthogonalized


def random_matrix(rows: int, columns: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 70), columns=st.integers(1, 70), scale=st.floats(1e-6, 1e6))
def test_singular_values_come_near_one_and_vectors_stay(
    rows: int, columns: int, scale: float
) -> None:
    matrix = random_matrix(rows, columns)
    found = orthogonalized(matrix * scale, torch.float32)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    weights = left.T @ found @ right.T
    assert torch.allclose(weights, weights.diag().diag(), atol=1e-3)
    kept = values > 0.01 * matrix.norm()
    assert weights.diag()[kept].min() > 0.6 and weights.diag().max() < 1.3
    assert weights.diag().min() >= -1e-3


def test_a_matrix_of_zeros_stays() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 5), torch.float32), torch.zeros(3, 5))


def test_in_bfloat16_it_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "native_dtype", lambda device: torch.bfloat16)
    own, other = (
        [nn.Parameter(random_matrix(*shape)) for shape in ((12, 12), (12, 40), (40, 12))]
        for _ in range(2)
    )
    optimizers = (
        Muon(own, 0.02, 1e-3),
        torch.optim.Muon(other, lr=0.02, weight_decay=1e-3, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(5):
        for matrices in (own, other):
            for number, matrix in enumerate(matrices):
                matrix.grad = random_matrix(*matrix.shape, seed=100 * step + number)
        for optimizer in optimizers:
            optimizer.step()
    for mine, theirs in zip(own, other, strict=True):
        assert torch.equal(mine, theirs)
    states = [optimizer.state_dict() for optimizer in optimizers]
    assert states[0]["param_groups"] == states[1]["param_groups"]


def test_in_float32_it_is_torchs_to_the_rounding_of_bfloat16() -> None:
    matrix = random_matrix(48, 96)
    exact = orthogonalized(matrix, torch.float32)
    rounded = orthogonalized(matrix, torch.bfloat16).float()
    # five iterations of products that round to 2⁻⁸
    assert (rounded - exact).norm() / exact.norm() < 5 * 2**-8 * 3


def test_what_has_no_gradient_stays() -> None:
    still, moved = (nn.Parameter(random_matrix(4, 4)) for _ in range(2))
    moved.grad = random_matrix(4, 4, seed=1)
    Muon([still, moved], 0.02, 0.0).step()
    assert torch.equal(still, random_matrix(4, 4))
    change = (moved - random_matrix(4, 4)).detach()
    # the update of a square matrix of n rows has a root mean square of 0.2 times the rate if it is orthogonal
    assert change.square().mean().sqrt() == pytest.approx(0.02 * 0.2, rel=0.3)
