"""Properties of every embedder with every sound: shapes, level, order, batches, and that inputs stay as they are."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from auralith.embedders import Embedder, openl3, passt
from auralith.embedders.mel import MelStatistics
from auralith.embedders.openl3 import OpenL3, OpenL3Network
from auralith.embedders.passt import PaSST, PaSSTNetwork
from scripts.embedder_peers import fill, sound

NAMES = ("openl3-env", "passt", "mel")
RATES = st.sampled_from([16_000, 22_050, 32_000, 44_100, 48_000, 96_000])


@cache
def embedder(name: str) -> Embedder:
    if name == "mel":
        return MelStatistics()
    small = OpenL3Network((4, 4, 4, 4, 4, 4, 4), 6) if name == "openl3-env" else None
    network = small or PaSSTNetwork(width=12, depth=2, heads=2)
    fill(network.requires_grad_(False))
    return OpenL3(name, network) if isinstance(network, OpenL3Network) else PaSST(network)


@st.composite
def sounds(draw: st.DrawFn) -> tuple[Tensor, int]:
    """Draw mono or stereo sounds of 0.2 to 3 s."""
    rate, seconds = draw(RATES), draw(st.floats(0.2, 3.0))
    waveform = sound(seconds, rate)
    channels = [waveform, draw(st.sampled_from([0.0, -0.5, 1.0])) * waveform.flip(0)]
    return torch.stack(channels[: draw(st.integers(1, 2))]), rate


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(drawn=sounds(), halvings=st.integers(-3, 6))
def test_any_sound_has_finite_rows_that_its_level_does_not_change(
    name: str, drawn: tuple[Tensor, int], halvings: int
) -> None:
    waveform, rate = drawn
    made, before = embedder(name), waveform.clone()
    found = made.embed(waveform, rate)
    assert torch.equal(waveform, before)
    assert found.dtype == torch.float32 and found.shape[1] == made.dim
    assert torch.isfinite(found).all()
    # powers of two are exact in floating point, so every digit is the same
    assert torch.equal(found, made.embed(waveform * 0.5**halvings, rate))
    assert torch.equal(found, made.embed(waveform.double(), rate, seed=7))


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_sounds_changes_nothing(name: str) -> None:
    made = embedder(name)
    clips = [sound(seconds, 32_000)[None] for seconds in (0.7, 2.0, 1.6, 11.0)]
    found = [made.embed(clip, 32_000) for clip in clips]
    again = [made.embed(clip, 32_000) for clip in clips[::-1]][::-1]
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


@pytest.mark.parametrize(("name", "module"), [("openl3-env", openl3), ("passt", passt)])
def test_the_size_of_batches_changes_rounding_only(
    monkeypatch: pytest.MonkeyPatch, name: str, module: object
) -> None:
    waveform = sound(27, 32_000)[None, : 26 * 32_000]
    found = {}
    for size in (1, 3, 64):
        monkeypatch.setattr(module, "_BATCH", size)
        found[size] = embedder(name).embed(waveform, 32_000)
    for size in (3, 64):
        assert found[size].shape == found[1].shape
        assert torch.allclose(found[size], found[1], rtol=1e-4, atol=1e-4)
