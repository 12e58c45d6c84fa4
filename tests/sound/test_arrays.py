"""Waveforms and latents of any library, memory layout and number format are one sound; what is not says so in one line."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from auralith.editing import Clip, Variation, vary
from auralith.errors import AudioError, AuralithError, InvalidRequest
from auralith.pipeline import UNSTEERED, Auralith, Steering, load
from auralith.request import GenerationRequest
from auralith.result import Audio
from auralith.sound.arrays import check_axes, latents_of, waveform_of, waveforms_of
from auralith.sound.writing import write
from tests.conftest import GOLDEN

FRAME = 2_048
LAYOUTS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": lambda x: x,
    "torch": lambda x: torch.from_numpy(x.copy()),
    "fortran": np.asfortranarray,
    "steps": lambda x: np.repeat(x, 3, axis=-1)[..., ::3],
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "read-only": lambda x: locked(x.copy()),
    "transposed": lambda x: np.ascontiguousarray(x.T).T,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "unaligned": lambda x: unaligned(x),
    "subclass": lambda x: x.view(np.recarray),
    "torch steps": lambda x: torch.from_numpy(np.repeat(x, 3, axis=-1))[..., ::3],
    "parameter": lambda x: torch.nn.Parameter(torch.from_numpy(x.copy()), x.dtype.kind == "f"),
    "negated view": lambda x: (
        torch.complex(torch.zeros(x.shape), -torch.from_numpy(x.astype(np.float32))).conj().imag
        if x.dtype == np.float32
        else x
    ),
}
FORMATS = {
    "float32": lambda x: x,
    "float64": lambda x: x.astype(np.float64),
    "float16": lambda x: x.astype(np.float16),
    "longdouble": lambda x: x.astype(np.longdouble),
    "int16": lambda x: (x * 2**15).astype(np.int16),
    "int32": lambda x: (x.astype(np.float64) * 2**31).astype(np.int32),
    "uint8": lambda x: (x * 2**7 + 128).astype(np.uint8),
}


def locked(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


def unaligned(array: np.ndarray) -> np.ndarray:
    memory = np.zeros(array.nbytes + 1, np.uint8)
    view = memory[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


@pytest.fixture(scope="module")
def model() -> Auralith:
    model = load(GOLDEN / "sao_tiny", device="cpu", dtype="float32")
    model.config = replace(model.config, window_samples=FRAME * 16)
    return model


def samples(seed: int, *shape: int) -> np.ndarray:
    """Values on the grid of eight bits, which every format holds exactly."""
    rng = np.random.default_rng(seed)
    return (rng.integers(-100, 100, shape) / 128).astype(np.float32)


shapes = st.one_of(
    st.tuples(st.integers(1, 300)),
    st.tuples(st.integers(1, 8), st.integers(1, 300)),
    st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(1, 300)),
)


@given(shapes, st.sampled_from(list(LAYOUTS)), st.sampled_from(list(FORMATS)), st.integers(0, 9))
@pytest.mark.filterwarnings("error")
def test_every_layout_and_format_holds_the_same_sound(
    shape: tuple[int, ...], layout: str, number_format: str, seed: int
) -> None:
    expected = samples(seed, *shape)
    given = FORMATS[number_format](expected)
    if number_format == "longdouble" and layout in ("torch", "torch steps", "parameter"):
        given = FORMATS["float32"](expected)  # torch has no longdouble
    given = LAYOUTS[layout](given)
    batch = (1,) * (3 - len(shape)) + shape
    found = waveforms_of(given)
    assert found.dtype is torch.float32 and tuple(found.shape) == batch
    assert torch.equal(found, torch.from_numpy(expected).reshape(batch))
    assert not found.requires_grad and found.is_contiguous()
    if len(shape) < 3:
        assert torch.equal(waveform_of(given), found[0])
    if number_format.startswith("float") and len(shape) > 1:
        assert torch.equal(latents_of(given, shape[-2]), found)


@pytest.mark.parametrize("number_format", FORMATS)
@pytest.mark.parametrize("layout", ["numpy", "torch", "reversed", "fortran", "read-only"])
def test_encode_decode_edits_and_files_take_them_all(
    model: Auralith, tmp_path: Path, layout: str, number_format: str
) -> None:
    plain = samples(1, 2, 3 * FRAME)
    given = FORMATS[number_format](plain)
    if (number_format, layout) != ("longdouble", "torch"):
        given = LAYOUTS[layout](given)
    expected = model.encode(torch.from_numpy(plain)[None])
    assert torch.equal(model.encode(given), expected[0])
    assert torch.equal(Clip(given, 44_100).waveform, torch.from_numpy(plain))
    write(tmp_path / "a.wav", given, 44_100)
    found, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    assert np.array_equal(found.T, plain)
    latents = LAYOUTS[layout](expected.numpy().copy())
    assert torch.equal(model.decode(latents), model.decode(expected))


def test_results_have_the_axes_that_were_given(model: Auralith) -> None:
    stereo = samples(2, 2, 2 * FRAME)
    latents = model.encode(stereo)
    assert latents.shape == (16, 2) and model.encode(stereo[None]).shape == (1, 16, 2)
    assert model.decode(latents).shape == (2, 2 * FRAME)
    assert model.decode_circular(latents[None]).shape == (1, 2, 2 * FRAME)
    mono, both = stereo[0], np.stack((stereo[0], stereo[0]))
    assert torch.equal(model.encode(mono), model.encode(both))
    assert torch.equal(model.encode(mono[None, None]), model.encode(both[None]))
    noise = samples(3, 16, 2)
    assert torch.equal(model.encode(stereo, noise), model.encode(stereo[None], noise[None])[0])


def test_results_can_be_changed_and_trained_on(model: Auralith) -> None:
    latents = model.encode(samples(2, 2, 2 * FRAME))
    latents[:, 1] = 0
    (latents.requires_grad_() * 2).sum().backward()
    assert latents.grad is not None
    model.decode(latents).mul_(0.5)


def test_a_changed_waveform_is_saved(model: Auralith, tmp_path: Path) -> None:
    sound = model.generate(GenerationRequest("rain", seconds_total=0.2, steps=2, seed=1))
    turned = replace(sound)
    changed = sound.waveform.numpy()[:, ::-1].astype(np.float64)
    inspect.unwrap(Audio.__init__)(turned, changed, sound.sample_rate, sound.provenance)
    assert torch.equal(turned.waveform, sound.waveform.flip(-1))
    turned.save(tmp_path / "turned.wav")
    assert soundfile.info(tmp_path / "turned.wav").frames == sound.waveform.shape[-1]


def test_an_edit_of_an_array_is_the_edit_of_the_tensor(model: Auralith) -> None:
    waveform = samples(4, 2, 4 * FRAME)
    request = GenerationRequest("rain", steps=2, seed=1)
    found, expected = (
        vary(model, request, Clip(given, 44_100), Variation(0.5)).waveform
        for given in (waveform.astype(np.float64)[:, ::-1][:, ::-1], torch.from_numpy(waveform))
    )
    assert torch.equal(found, expected)


def test_a_clip_keeps_its_value_when_it_is_replaced() -> None:
    clip = Clip(samples(5, 2, 100), 44_100, None, "pcm16")
    slower = replace(clip, sample_rate=22_050)
    assert torch.equal(slower.waveform, clip.waveform)
    assert (slower.sample_rate, slower.subtype) == (22_050, "pcm16")


def test_init_latents_start_a_generation(model: Auralith) -> None:
    latents = model.encode(samples(6, 2, 4 * FRAME))
    request = GenerationRequest("rain", seconds_total=4 * FRAME / 44_100, steps=2, seed=1)
    request = replace(request, window="fit")
    found = model.denoise([request], Steering(latents))
    assert torch.equal(found, model.denoise([request], Steering(latents[None].numpy())))
    assert not torch.equal(found, model.denoise([request], UNSTEERED)[..., :4])
    for wrong in (latents[:, :3], latents[None].expand(2, -1, -1)):
        with pytest.raises(InvalidRequest, match=r"must be \(1, 16, 4\) here"):
            model.denoise([request], Steering(wrong))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((44_100, 2)), r"44,100 channels of 2 samples; give \(channel, sample\)"),
        (np.zeros((1, 44_100, 2)), r"44,100 channels of 2 samples; give \(channel, sample\)"),
        (torch.zeros(44_100, 1), r"44,100 channels of 1 samples; give \(channel, sample\)"),
        (np.zeros((40, 2)), r"40 channels; this model takes 2 or 1, as \(channel, sample\)"),
        (np.zeros((6, 44_100)), r"6 channels; this model takes 2 or 1"),
        (np.zeros((1, 1, 2, 9)), r"shape \(1, 1, 2, 9\); give samples as \(channel, sample\) or"),
        (np.zeros((2, 0)), r"shape \(2, 0\); give samples as"),
        (np.zeros(()), r"shape \(\); give samples as"),
        (np.zeros((2, 9), np.int64), "int64; give floats with full scale ±1, or PCM as int16"),
        (torch.zeros(2, 9, dtype=torch.int8), "int8; give floats"),
        (np.zeros((2, 9), bool), "bool; give an array of floats"),
        (torch.zeros(2, 9, dtype=torch.bool), "bool; give floats"),
        (np.zeros((2, 9), complex), "complex128; give an array of floats"),
        (torch.zeros(2, 9, dtype=torch.complex64), "complex64; give floats"),
        (np.array([["a"]]), "<U1; give an array of floats"),
        ([0.0, 0.1], "of type list; give a torch tensor or a numpy array"),
        ("rain.wav", "of type str; give a torch tensor or a numpy array"),
        (torch.zeros(2, 9, device="meta"), "has no values; give an ordinary tensor"),
        (torch.zeros(2, 9).to_sparse(), "stored as torch.sparse_coo; give an ordinary tensor"),
        (np.full((2, 9), 1e300), "not finite: NaN or infinity at sample 0"),
        (np.array([0.0, np.nan]), "not finite: NaN or infinity at sample 1"),
        (np.full(9, 20_000.0), r"integer scale; divide its samples by 2\^15"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_what_is_not_a_waveform_is_one_line(given: object, message: str) -> None:
    with pytest.raises((InvalidRequest, AudioError), match=message) as caught:
        waveforms_of(given, channels=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (np.zeros((1, 9)), "shape (1, 9); this model's are (64, frame) or (batch, 64, frame)"),
        (np.zeros((9, 64)), "shape (9, 64); this model's are (64, frame)"),
        (np.zeros(64), "shape (64,); this model's are (64, frame)"),
        (np.zeros((64, 0)), "shape (64, 0); this model's are (64, frame)"),
        (torch.zeros(64, 9, dtype=torch.int32), "are int32; give floats"),
        (None, "of type NoneType; give a torch tensor"),
    ],
)
def test_what_is_not_latents_is_one_line(given: object, message: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        latents_of(given, 64)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_one_sound_is_not_a_batch(tmp_path: Path) -> None:
    batch = samples(1, 1, 2, 50)
    unchecked: Callable[..., None] = inspect.unwrap(write)
    for take in (lambda: Clip(batch, 44_100), lambda: unchecked(tmp_path / "a.wav", batch, 44_100)):
        with pytest.raises(InvalidRequest, match=r"give one sound, \(channel, sample\)"):
            take()
    assert not list(tmp_path.iterdir())


def clip_of(waveform: object, rate: object) -> Clip:
    """A clip of values that beartype would refuse first."""
    clip = Clip.__new__(Clip)
    inspect.unwrap(Clip.__init__)(clip, waveform, rate)
    return clip


@pytest.mark.parametrize("rate", [0, -1, 44_100.5, "44100", None, True])
def test_a_clip_has_a_whole_sample_rate(rate: object) -> None:
    with pytest.raises(InvalidRequest, match="sample_rate"):
        clip_of(samples(1, 2, 50), rate)


def test_a_sample_rate_of_numpy_is_a_number() -> None:
    assert type(clip_of(samples(1, 2, 50), np.int64(44_100)).sample_rate) is int


def test_a_clip_is_checked_where_it_is_made() -> None:
    with pytest.raises(AudioError, match="the clip is not finite: NaN or infinity at sample 3"):
        Clip(np.array([0, 0, 0, np.inf]), 44_100)


def test_samples_are_not_channels() -> None:
    check_axes("the audio", torch.zeros(2, 44_100))
    check_axes("the audio", torch.zeros(44_100))
    for shape in ((44_100, 2), (1, 44_100, 2)):
        with pytest.raises(
            InvalidRequest, match=r"44,100 channels of 2 samples; give \(channel, sample\)"
        ):
            check_axes("the audio", torch.zeros(shape))


def test_errors_of_the_model_name_the_axes(model: Auralith) -> None:
    waveform: Tensor = torch.zeros(3 * FRAME, 2)
    for call in (lambda: model.encode(waveform), lambda: model.decode(np.zeros((4, 16)))):
        with pytest.raises(AuralithError, match=r"\((channel|16), (sample|frame)\)"):
            call()
