"""PANNs' Cnn14_DecisionLevelMax (Kong et al. 2020, arXiv 1912.10211): sound → 527 probabilities every 10 ms.

Names and shapes of the state dict are the published checkpoint's, so that it loads as it is. The network decides every
0.32 s (five halvings of 10 ms frames); a decision is repeated for its 32 frames. Only inference is here: what the
original does in training alone (dropout, SpecAugment) is left out.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, avg_pool2d, max_pool1d, pad, relu

from auralith.curation.tagging.classes import NUM_LABELS
from auralith.curation.tagging.frontend import (
    FFT_SIZE,
    NUM_BINS,
    NUM_MELS,
    fourier_rows,
    log_mel,
    mel_matrix,
)

WIDTHS = (64, 128, 256, 512, 1_024, 2_048)
FRAMES_PER_SEGMENT = 32
SHORTEST_SAMPLES = 9_920
"""One segment; shorter sound is padded with zeros to it."""


class Probabilities(NamedTuple):
    """For each class, 0 … 1."""

    clipwise: Float[Tensor, "batch label"]
    """The largest of all segments."""
    framewise: Float[Tensor, "batch frame label"]
    """1 + sample // 320 frames."""


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
        """Probabilities for sound at 32 kHz."""
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
        # halving drops what is left over: its frames get the last decision
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
    """Twice: 3×3 convolution, batch norm, ReLU."""

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
    """A table with a name in the state dict; it isn't trained."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(shape), requires_grad=False)


def fixed_tensors() -> dict[str, Tensor]:
    """Names and analytic values of the tables in the state dict."""
    real, imaginary = fourier_rows()
    return {
        "spectrogram_extractor.stft.conv_real.weight": real,
        "spectrogram_extractor.stft.conv_imag.weight": imaginary,
        "logmel_extractor.melW": mel_matrix(),
    }
