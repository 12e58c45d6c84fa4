"""Fades by position: any pieces of a sound fade as the whole does."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from auralith.sound.levels import CLICK_FADE_SECONDS, fade_gain, fade_seconds


@given(
    size=st.integers(1, 400),
    fade_in=st.integers(0, 500),
    fade_out=st.integers(0, 500),
    cut=st.integers(0, 400),
)
def test_pieces_fade_as_the_whole(size: int, fade_in: int, fade_out: int, cut: int) -> None:
    cut = min(cut, size)
    whole = fade_gain(0, size, size, fade_in, fade_out)
    parts = (
        fade_gain(0, cut, size, fade_in, fade_out),
        fade_gain(cut, size, size, fade_in, fade_out),
    )
    assert torch.equal(torch.cat(parts), whole)
    assert whole.min() >= 0 and whole.max() <= 1


def test_a_fade_rises_from_zero_to_one_and_leaves_the_rest() -> None:
    gain = fade_gain(0, 1_000, 1_000, 100, 0)
    assert gain[0] < 1e-3 and (gain.diff()[:99] > 0).all()
    assert torch.equal(gain[100:], torch.ones(900))
    assert torch.allclose(fade_gain(0, 1_000, 1_000, 0, 100), gain.flip(0))


@pytest.mark.parametrize(
    ("asked", "sample", "is_cut", "seconds"),
    [
        (None, 0.5, True, CLICK_FADE_SECONDS),
        (None, -0.5, True, CLICK_FADE_SECONDS),
        (None, 0.5, False, 0.0),
        (None, 0.0005, True, 0.0),
        (0.0, 0.5, True, 0.0),
        (2.0, 0.0, False, 2.0),
    ],
)
def test_only_a_cut_that_clicks_fades_by_itself(
    asked: float | None, sample: float, is_cut: bool, seconds: float
) -> None:
    assert fade_seconds(asked, torch.tensor([0.0, sample]), is_cut) == seconds
