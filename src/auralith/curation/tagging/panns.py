"""PANNs' Cnn14_DecisionLevelMax (Kong et al. 2020, arXiv 1912.10211): sound → 527 probabilities every 10 ms.

Names and shapes of the state dict are those of the published checkpoint, so that it loads unchanged. The network decides
every 0.32 s (five halvings of 10 ms frames); a decision is repeated for its 32 frames. Only inference is implemented:
dropout and SpecAugment of the training are left out.

The checkpoint stores the tables of its front end (a windowed Fourier matrix and a mel matrix) among the weights. Here the
spectrum comes from `torch.stft`, which is equal up to rounding, and the stored tables are compared with their analytic
values.
"""

import pickle
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, avg_pool2d, max_pool1d, pad, relu

from auralith.curation.tagging.meter import NUM_LABELS
from auralith.errors import CheckpointError
from auralith.foreign import PICKLE_ERRORS
from auralith.sound.spectrum import mel_filters
from auralith.weights import weights_entry

PUBLISHED = weights_entry("panns")
FILE_NAME = PUBLISHED.place.name
SAMPLE_RATE = 32_000
FFT_SIZE, HOP = 1_024, 320
NUM_BINS = FFT_SIZE // 2 + 1
NUM_MELS = 64
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 14_000.0
_LEAST_POWER = 1e-10
WIDTHS = (64, 128, 256, 512, 1_024, 2_048)
FRAMES_PER_SEGMENT = 32
SHORTEST_SAMPLES = 9_920
"""Samples of one segment; shorter sound is padded with zeros."""
FIXED_TOLERANCE = 1e-4


class Probabilities(NamedTuple):
    """Probability of each class, 0 … 1."""

    clipwise: Float[Tensor, "batch label"]
    """Largest probability of all segments."""
    framewise: Float[Tensor, "batch frame label"]
    """Probabilities in 1 + sample // 320 frames."""


class Cnn14DecisionLevelMax(nn.Module):
    """The network; smaller `widths` are for tests. Its batch norms need `eval()`."""

    def __init__(self, widths: Sequence[int] = WIDTHS, num_labels: int = NUM_LABELS) -> None:
        super().__init__()
        fourier = {name: _Fixed((NUM_BINS, 1, FFT_SIZE)) for name in ("conv_real", "conv_imag")}
        self.spectrogram_extractor = nn.ModuleDict({"stft": nn.ModuleDict(fourier)})
        mel = nn.Parameter(torch.empty(NUM_BINS, NUM_MELS), requires_grad=False)
        self.logmel_extractor = nn.ParameterDict({"melW": mel})
        self.bn0 = nn.BatchNorm2d(NUM_MELS)
        for number, channels in enumerate(pairwise((1, *widths)), 1):
            self.add_module(f"conv_block{number}", ConvBlock(*channels))
        self.num_blocks = len(widths)
        self.fc1 = nn.Linear(widths[-1], widths[-1])
        self.fc_audioset = nn.Linear(widths[-1], num_labels)
        self._fill_fixed()

    def forward(self, waveform: Float[Tensor, "batch sample"]) -> Probabilities:
        """Return the probabilities for sound at 32 kHz."""
        waveform = pad(waveform, (0, max(0, SHORTEST_SAMPLES - waveform.shape[1])))
        x = log_mel(waveform, self.logmel_extractor["melW"])
        num_frames = x.shape[2]
        x = self.bn0(x.transpose(1, 3)).transpose(1, 3)
        for number in range(1, self.num_blocks + 1):
            x = self.get_submodule(f"conv_block{number}")(x)
            if number < self.num_blocks:
                x = avg_pool2d(x, 2)
        segmentwise = self._decide(x.mean(dim=3))
        framewise = segmentwise.repeat_interleave(FRAMES_PER_SEGMENT, dim=1)
        # halving drops a remainder, whose frames get the last decision
        rest = framewise[:, -1:].expand(-1, num_frames - framewise.shape[1], -1)
        return Probabilities(segmentwise.amax(dim=1), torch.cat([framewise, rest], dim=1))

    def _decide(
        self, x: Float[Tensor, "batch channel segment"]
    ) -> Float[Tensor, "batch segment label"]:
        x = max_pool1d(x, 3, 1, 1) + avg_pool1d(x, 3, 1, 1)
        return self.fc_audioset(relu(self.fc1(x.mT))).sigmoid()

    def _fill_fixed(self) -> None:
        parameters = dict(self.named_parameters())
        for name, value in fixed_tensors().items():
            with torch.no_grad():
                parameters[name].copy_(value)


class ConvBlock(nn.Module):
    """3×3 convolution, batch norm and ReLU, twice."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(
        self, x: Float[Tensor, "batch channel frame mel"]
    ) -> Float[Tensor, "batch out frame mel"]:
        x = relu(self.bn1(self.conv1(x)))
        return relu(self.bn2(self.conv2(x)))


class _Fixed(nn.Module):
    """A constant table with a name in the state dict."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)


def fixed_tensors() -> dict[str, Tensor]:
    """Return the names and analytic values of the tables in the state dict."""
    real, imaginary = fourier_rows()
    return {
        "spectrogram_extractor.stft.conv_real.weight": real,
        "spectrogram_extractor.stft.conv_imag.weight": imaginary,
        "logmel_extractor.melW": mel_matrix(),
    }


def log_mel(
    waveform: Float[Tensor, "batch sample"], mel: Float[Tensor, "bin mel"]
) -> Float[Tensor, "batch 1 frame mel"]:
    """Return mel powers in dB (reference 1, at least −100), in `1 + sample // 320` frames."""
    window = torch.hann_window(FFT_SIZE, device=waveform.device)
    spectrum = torch.stft(
        waveform, FFT_SIZE, HOP, window=window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return 10 * torch.log10((power.mT @ mel).clamp(min=_LEAST_POWER))[:, None]


def fourier_rows() -> tuple[Float[Tensor, "bin 1 tap"], Float[Tensor, "bin 1 tap"]]:
    """Return real and imaginary part of the Hann window times exp(−2πi·kn/1024), as kernels of a convolution."""
    tap = np.arange(FFT_SIZE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * tap / FFT_SIZE)
    rows = window * np.exp(-2j * np.pi * np.outer(np.arange(NUM_BINS), tap) / FFT_SIZE)
    real, imaginary = (torch.from_numpy(part.astype(np.float32)) for part in (rows.real, rows.imag))
    return real[:, None], imaginary[:, None]


def mel_matrix() -> Float[Tensor, "bin mel"]:
    """Return 64 triangles between 50 and 14,000 Hz on Slaney's scale, each of unit area in Hz."""
    filters = mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_MELS, _LOWEST_HZ, _HIGHEST_HZ)
    return filters.T.float().contiguous()


def read_panns(path: Path) -> Cnn14DecisionLevelMax:
    """Return the network with a file's weights, on the CPU, in eval mode. Check the file's hash first.

    Raises:
        CheckpointError: not readable as tensors alone, other names or shapes, or front-end tables that are not the
            analytic ones.
    """
    state = _read(path)
    with torch.device("meta"):
        network = Cnn14DecisionLevelMax()
    _check_names(path, state, network.state_dict())
    _check_fixed(path, state)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: beside tensors it holds objects that could run code when read, or"
            f" it is not a checkpoint; get {FILE_NAME} from {PUBLISHED.page}"
        ) from None
    except PICKLE_ERRORS:
        raise CheckpointError(f"{path} is not a readable torch file; get it again") from None
    state = data.get("model") if isinstance(data, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} has no weights under 'model'; use {FILE_NAME}")
    return state


def _numpy_globals() -> list[Any]:
    """Return the types of numeric arrays, which PANNs' training checkpoints hold beside the weights, under the names that
    old and new versions of numpy give their constructors."""
    makers = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
    constructors = [
        (maker, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, maker in makers.items()
    ]
    numbers = [type(np.dtype(code)) for code in "?bhilBHILfd"]
    return [*constructors, np.ndarray, np.dtype, *numbers]


def _check_names(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if wrong := sorted(state.keys() ^ expected.keys()):
        missing = f"{len(wrong)} names differ, the first: {wrong[0]}"
        raise CheckpointError(f"{path} is of another network ({missing}); use {FILE_NAME}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            found, wanted = tuple(state[name].shape), tuple(tensor.shape)
            raise CheckpointError(
                f"{path} is of another network ({name} has the shape {found}, not {wanted});"
                f" use {FILE_NAME}"
            )


def _check_fixed(path: Path, state: Mapping[str, Tensor]) -> None:
    for name, analytic in fixed_tensors().items():
        error = float((state[name] - analytic).abs().max())
        if not error <= FIXED_TOLERANCE:
            raise CheckpointError(
                f"{path} was trained with another front end ({name} differs by {error:.2g},"
                f" {FIXED_TOLERANCE:g} at most); use {FILE_NAME}"
            )
