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


@pytest.fixture(scope="module")
def embedded() -> Auralith:
    return load(device="cpu", dtype="float32")


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


@pytest.mark.parametrize("chunk", [3, 16, 60])
def test_the_embedded_model_streams_in_pieces(embedded: Auralith, chunk: int) -> None:
    item = replace(request(3.0), steps=4)
    pieces = list(embedded.stream(item, chunk_frames=chunk))
    assert len(pieces) == -(-3 * 44_100 // (chunk * FRAME))
    assert relative_error(torch.cat(pieces, dim=-1), embedded.generate(item).waveform) <= 1e-4


@pytest.mark.parametrize(
    ("fade_in", "fade_out"), [(None, None), (0.0, 0.0), (0.5, 0.7), (9.0, 0.1)]
)
@pytest.mark.parametrize("seconds", [1.0, 2_048 * 20 / 44_100 + 0.002])
def test_pieces_fade_as_the_whole_does(
    embedded: Auralith, seconds: float, fade_in: float | None, fade_out: float | None
) -> None:
    item = replace(request(seconds), steps=4, fade_in=fade_in, fade_out=fade_out)
    pieces = torch.cat(list(embedded.stream(item, chunk_frames=5)), dim=-1)
    whole = embedded.generate(item).waveform
    assert relative_error(pieces, whole) <= 1e-4
    if fade_in != 0.0:
        assert whole[:, 0].abs().max() < 1e-3 and whole[:, -1].abs().max() < 1e-3
