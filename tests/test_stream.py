"""Streaming: pieces as they are decoded, together equal to the whole."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from rounding import DECODED
from torch import Tensor

from auralith.editing import Clip, Variation, vary
from auralith.editing.timeline import OnStep
from auralith.errors import InvalidRequest
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.samplers import Step
from tests.conftest import GOLDEN, relative_error

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


class Cancelled(Exception):
    """What a program raises to leave a generation."""


def cancel_at(index: int) -> Callable[[Step], None]:
    def on_step(step: Step) -> None:
        if step.index == index:
            raise Cancelled

    return on_step


def edit(model: Auralith, item: GenerationRequest, on_step: OnStep = None) -> Tensor:
    clip = Clip(torch.linspace(-1, 1, 10 * FRAME), 44_100)
    item = replace(item, seconds_total=None, window=None)
    return vary(model, item, clip, Variation(0.5), on_step).waveform


RUNS: dict[str, Callable[[Auralith, GenerationRequest, OnStep], object]] = {
    "generate": lambda model, item, on_step: model.generate(item, on_step),
    "batch": lambda model, item, on_step: model.generate_batch([item, item], on_step),
    "stream": lambda model, item, on_step: list(model.stream(item, on_step, 8)),
    "edit": edit,
}


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("index", [0, 1])
def test_an_exception_of_the_callback_reaches_the_caller_and_leaves_nothing(
    model: Auralith, run: str, index: int
) -> None:
    item = request(0.5)
    whole = model.generate(item).waveform
    with pytest.raises(Cancelled) as caught:
        RUNS[run](model, item, cancel_at(index))
    assert caught.value.__context__ is None and caught.value.__cause__ is None
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(model.generate(item).waveform, whole)


@pytest.mark.parametrize("run", RUNS)
def test_an_interrupt_within_a_step_leaves_nothing(
    model: Auralith, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    item, calls = request(0.5), count()
    whole, original = model.generate(item).waveform, model.dit.step

    def interrupted(*arguments: Any) -> Tensor:
        if next(calls) == 1:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(model.dit, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        RUNS[run](model, item, None)
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    assert torch.equal(model.generate(item).waveform, whole)


def test_a_callback_may_use_the_model(model: Auralith) -> None:
    item, previews = request(0.5), []

    def on_step(step: Step) -> None:
        previews.append(model.decode(step.denoised))
        model.generate(replace(item, seed=6))

    assert torch.equal(model.generate(item, on_step).waveform, model.generate(item).waveform)
    assert len(previews) == 2


@pytest.mark.parametrize("name", ["model", "embedded"])
def test_streams_left_interleaved_and_after_an_edit_are_the_same(
    name: str, model: Auralith, embedded: Auralith
) -> None:
    model = embedded if name == "embedded" else model
    item, other = request(1.0), replace(request(1.0), seed=6)
    whole = list(model.stream(item, chunk_frames=8))
    begun = model.stream(item, chunk_frames=8)
    pieces = [next(begun)]
    edit(model, item)
    for piece, _ in zip(begun, model.stream(other, chunk_frames=8), strict=False):
        pieces.append(piece)
    assert len(pieces) == len(whole) > 2
    assert all(map(torch.equal, pieces, whole))


@pytest.mark.parametrize("frames", [0, -3, 1.5, True])
def test_pieces_have_a_whole_number_of_frames(model: Auralith, frames: Any) -> None:
    unchecked: Callable[..., object] = inspect.unwrap(Auralith.stream)
    with pytest.raises(InvalidRequest, match=r"chunk_frames is .*; give a whole number"):
        unchecked(model, request(1.0), None, frames)


def test_latents_may_be_changed(model: Auralith) -> None:
    latents = model.denoise([request(0.5)])
    latents[..., :2] = 0
    assert not model.decode(latents).isnan().any()


def test_a_bad_request_is_refused_at_once(model: Auralith) -> None:
    with pytest.raises(InvalidRequest, match=r"at most 2\.97 s"):
        model.stream(request(30.0))


@pytest.mark.parametrize("chunk", [3, 16, 60])
@pytest.mark.parametrize("prompt", ["rain", "a drum loop at 120 bpm", "wide stereo pad, note A3"])
def test_the_embedded_model_streams_in_pieces(embedded: Auralith, prompt: str, chunk: int) -> None:
    item = replace(request(3.0), prompt=prompt, steps=4)
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
