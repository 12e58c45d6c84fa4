"""Streaming: pieces as they are decoded, together equal to the whole."""

from dataclasses import replace

import pytest
import torch
from conftest import GOLDEN, relative_error
from rounding import DECODED
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.samplers import Step

FRAME = 2_048


@pytest.fixture(scope="module")
def model() -> Auralith:
    model = load(GOLDEN / "sao_tiny", device="cpu", dtype="float32")
    model.config = replace(model.config, window_samples=FRAME * 64)
    return model


def request(seconds: float, window: str = "fit") -> GenerationRequest:
    settings = {"seconds_total": seconds, "steps": 2, "seed": 5, "window": window}
    return GenerationRequest("rain", **settings)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("window", ["fit", "full"])
@pytest.mark.parametrize("chunk", [1, 7, 16, 64, 500])
def test_the_pieces_are_the_whole(model: Auralith, chunk: int, window: str) -> None:
    item = request(1.03, window)
    pieces = list(model.stream(item, chunk_frames=chunk))
    whole = model.generate(item).waveform
    assert sum(piece.shape[-1] for piece in pieces) == whole.shape[-1]
    assert all(piece.shape[-1] == chunk * FRAME for piece in pieces[:-1])
    assert relative_error(torch.cat(pieces, dim=-1), whole) <= DECODED


def test_a_piece_is_there_before_the_next_is_decoded(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []
    original = model.autoencoder.decode

    def counted(latents: Tensor) -> Tensor:
        decoded.append(latents.shape[-1])
        return original(latents)

    monkeypatch.setattr(model.autoencoder, "decode", counted)
    seen: list[Step] = []
    pieces = model.stream(request(2.5), seen.append, chunk_frames=8)
    assert not decoded and not seen
    next(pieces)
    assert len(decoded) == 1 and len(seen) == 2
    next(pieces)
    assert len(decoded) == 2


def test_a_bad_request_is_refused_at_once(model: Auralith) -> None:
    with pytest.raises(InvalidRequest, match=r"at most 2\.97 s"):
        model.stream(request(30.0))


def test_an_autoencoder_that_needs_the_whole_gives_it_in_one_piece() -> None:
    model = load(device="cpu", dtype="float32")
    item = replace(request(1.0), steps=4)
    (piece,) = model.stream(item)
    assert torch.equal(piece, model.generate(item).waveform)
