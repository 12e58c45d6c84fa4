"""OpenL3's mel256 network (Cramer et al. 2019) as FD_openl3 of arXiv 2407.14358 uses it: stereo sound → 1,024 numbers
twice a second.

The chain: peak to -1 dBFS at the sound's own rate, soxr to 44.1 kHz, resampy's `kaiser_best` to 48 kHz, half a second of
zeros before the start, windows of 1 s every 0.5 s with zeros after the end. Left and right go through the network each by
itself. Names of tensors are those of the published Keras model, counted from 1, as torchopenl3 has them.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, max_pool2d, pad, relu_

from auralith.embedders.embedder import (
    CPU,
    OWN_NETWORK,
    ProtocolValue,
    at_peak,
    checked,
    state_digest,
)
from auralith.embedders.kaiser_best import kaiser_best
from auralith.embedders.winograd import PAYS_FROM, WinogradConvolution
from auralith.errors import AudioError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from auralith.weights import WeightsOrigin

FrontEnd = Literal["openl3-0.4", "kapre-0.1.4"]
"""openl3-0.4: what openl3 0.4 computes with kapre 0.3, and the published statistics were made with. kapre-0.1.4: what the
network was trained behind, as torchopenl3 1.0.1 computes it with librosa 0.8 or later. Values of the two differ."""
Resampler = Literal["kaiser_best", "soxr"]
"""Way from 44.1 to 48 kHz; "soxr" is another protocol."""

BANDWIDTH_HZ, SAMPLE_RATE = 44_100, 48_000
WINDOW, WINDOW_HOP = SAMPLE_RATE, SAMPLE_RATE // 2
FFT_SIZE, HOP = 2_048, 242
NUM_BANDS, NUM_FRAMES = 256, 199
WIDTHS = (64, 64, 128, 128, 256, 256, 512)
"""Channels of the convolutions that a batch norm follows; a pooling comes after every second."""
DIM = 512
_EPSILON = 1e-3
_LEAST, _FLOOR_DB = 1e-10, -80.0
_BATCH = 2


class EvaluatedNorm(nn.Module):
    """A batch norm with the statistics of the training; Keras adds 1e-3 to variances."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(
        self, x: Float[Tensor, "batch channel band frame"]
    ) -> Float[Tensor, "batch channel band frame"]:
        statistics = self.running_mean, self.running_var
        return batch_norm(x, *statistics, self.weight, self.bias, eps=_EPSILON)

    def scale_and_shift(self) -> tuple[Float[Tensor, " channel"], Float[Tensor, " channel"]]:
        """Return what it multiplies by and adds, in float64."""
        deviation = (self.running_var.double() + _EPSILON).sqrt()
        scale = self.weight.detach().double() / deviation
        return scale, self.bias.detach().double() - self.running_mean.double() * scale


class OpenL3Network(nn.Module):
    """The network as published; smaller `widths` are for tests."""

    def __init__(self, widths: tuple[int, ...] = WIDTHS, dim: int = DIM) -> None:
        super().__init__()
        self.batch_normalization_1 = EvaluatedNorm(1)
        for number, (before, width) in enumerate(zip((1, *widths), widths, strict=False), 1):
            self.add_module(f"conv2d_{number}", nn.Conv2d(before, width, 3, padding=1))
            self.add_module(f"batch_normalization_{number + 1}", EvaluatedNorm(width))
        self.audio_embedding_layer = nn.Conv2d(widths[-1], dim, 3, padding=1)
        self.num_convolutions = len(widths)

    def forward(
        self, spectrogram: Float[Tensor, "batch 1 band frame"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the largest value of each channel of the last convolution."""
        x = self.batch_normalization_1(spectrogram)
        for number in range(1, self.num_convolutions + 1):
            x = self.get_submodule(f"conv2d_{number}")(x)
            x = relu_(self.get_submodule(f"batch_normalization_{number + 1}")(x))
            if number % 2 == 0:
                x = max_pool2d(x, 2)
        return self.audio_embedding_layer(x).amax(dim=(2, 3))


Convolution = Callable[[Tensor], Tensor]


class FoldedNetwork:
    """The same function with each batch norm inside its convolution, and channels last."""

    def __init__(self, network: OpenL3Network, device: torch.device, dtype: torch.dtype) -> None:
        norms = [m.scale_and_shift() for m in network.modules() if isinstance(m, EvaluatedNorm)]
        convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
        first, *following = norms
        self._scale, self._shift = (float(value) for value in first)
        self._device, self._dtype = device, dtype
        self._layers = [
            _convolution(*_folded(conv, norm), device, dtype)
            for conv, norm in zip(convolutions, [*following, None], strict=True)
        ]

    def __call__(
        self, spectrogram: Float[Tensor, "batch 1 band frame"]
    ) -> Float[Tensor, "batch dim"]:
        # the norm of the input is not folded: its shift would be missing in the zeros around the picture
        x = (spectrogram * self._scale + self._shift).to(self._device, self._dtype)
        *inner, last = self._layers
        for number, convolution in enumerate(inner, 1):
            x = convolution(x)
            x = relu_(max_pool2d(x, 2) if number % 2 == 0 else x)
        return last(x).amax(dim=(2, 3)).float().cpu()


def _convolution(
    weight: Tensor, bias: Tensor, device: torch.device, dtype: torch.dtype
) -> Convolution:
    """Return the fastest form of a convolution for a device and a number format."""
    channels = weight.shape[1]
    if channels >= PAYS_FROM and device.type == "cpu" and dtype is torch.float32:
        return WinogradConvolution(weight, bias)
    weight, bias = weight.to(device, dtype), bias.to(device, dtype)
    if channels == 1:
        return partial(_first_convolution, weight=weight, bias=bias)
    weight = weight.contiguous(memory_format=torch.channels_last)
    return partial(conv2d, weight=weight, bias=bias, padding=1)


def _first_convolution(
    x: Float[Tensor, "batch 1 band frame"], weight: Tensor, bias: Tensor
) -> Float[Tensor, "batch channel band frame"]:
    """Return the convolution of one channel, as a matrix product: convolutions of so few are slow, and put channels first."""
    patches = pad(x[:, 0], (1, 1, 1, 1)).unfold(1, 3, 1).unfold(2, 3, 1)
    made = torch.addmm(bias, patches.reshape(-1, 9), weight.reshape(-1, 9).T)
    return made.unflatten(0, patches.shape[:3]).permute(0, 3, 1, 2)


def _folded(conv: nn.Conv2d, norm: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor]:
    assert conv.bias is not None
    weight, bias = conv.weight.detach().double(), conv.bias.detach().double()
    if norm is None:
        return weight, bias
    scale, shift = norm
    return weight * scale[:, None, None, None], bias * scale + shift


class OpenL3:
    """OpenL3 as an embedder of stereo sound: left and right side by side; mono stands for both."""

    def __init__(
        self,
        name: str,
        network: OpenL3Network,
        front_end: FrontEnd = "openl3-0.4",
        resampler: Resampler = "kaiser_best",
        device: torch.device = CPU,
        dtype: torch.dtype = torch.float32,
        origin: WeightsOrigin = OWN_NETWORK,
    ) -> None:
        self.origin = origin
        self.name, self.dim = name, 2 * network.audio_embedding_layer.out_channels
        self.front_end: FrontEnd = front_end
        self.resampler: Resampler = resampler
        self._sha256 = state_digest(network.state_dict())
        self._device, self._dtype = device, dtype
        self._network = FoldedNetwork(network, device, dtype)

    def protocol(self) -> dict[str, ProtocolValue]:
        return {
            "embedder": self.name,
            "front_end": self.front_end,
            "front_end_version": 1,
            "weights_sha256": self._sha256,
            "resampler": f"soxr-hq 44100, {self.resampler} 48000",
            "sample_rate": SAMPLE_RATE,
            "window_s": 1.0,
            "hop_s": 0.5,
            "channels": "left and right side by side",
            "level": "peak -1 dBFS at the native rate",
            "dtype": str(self._dtype).removeprefix("torch."),
        }

    @torch.inference_mode()
    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        """Return a row for every half second. Raises as `Embedder.embed`, and for more than two channels."""
        sound = self.sound(waveform, sample_rate)
        # equal channels are embedded once
        channels = sound[:1] if torch.equal(sound[:1], sound[-1:]) else sound
        parts = [self._embed_mono(channel) for channel in channels]
        return torch.cat([parts[0], parts[-1]], dim=1)

    def sound(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int
    ) -> Float[Tensor, "channel resampled"]:
        """Return the sound at 48 kHz, as the network hears it. Raises as `embed`."""
        if waveform.shape[0] > 2:
            raise AudioError(
                f"the sound has {waveform.shape[0]} channels; OpenL3 takes mono or stereo: mix it down",
                "channels",
            )
        sound = at_peak(checked(waveform, sample_rate))
        sound = resample(sound, sample_rate, BANDWIDTH_HZ)
        if self.resampler == "soxr":
            return checked(resample(sound, BANDWIDTH_HZ, SAMPLE_RATE), SAMPLE_RATE)
        return checked(kaiser_best(sound, BANDWIDTH_HZ, SAMPLE_RATE), SAMPLE_RATE)

    def _embed_mono(self, channel: Float[Tensor, " sample"]) -> Float[Tensor, "window half"]:
        batches = one_second_windows(channel).split(_BATCH)
        pictures = (spectrogram(batch.to(self._device), self.front_end) for batch in batches)
        return torch.cat([self._network(picture) for picture in pictures])


def one_second_windows(channel: Float[Tensor, " sample"]) -> Float[Tensor, "window second"]:
    """Return windows whose centers are 0, 0.5 s … of a sound at 48 kHz, with zeros where there is none."""
    count = max(1, 1 - (-(len(channel) + WINDOW // 2 - WINDOW) // WINDOW_HOP))
    length = WINDOW + (count - 1) * WINDOW_HOP
    padded = pad(channel, (WINDOW // 2, max(0, length - WINDOW // 2 - len(channel))))
    return padded[:length].unfold(0, WINDOW, WINDOW_HOP)


def spectrogram(
    windows: Float[Tensor, "batch second"], front_end: FrontEnd
) -> Float[Tensor, "batch 1 band frame"]:
    """Return the mel bands of each window in dB below its loudest, at least -80; a silent window is 0 throughout.

    The dB are of magnitudes: -80 is 160 dB less power. What a band holds down there, such
    as above the 22 kHz of the evaluation, is rounding of the float32 samples.
    """
    before = 0 if front_end == "openl3-0.4" else (FFT_SIZE - WINDOW % HOP) // 2
    after = (NUM_FRAMES - 1) * HOP + FFT_SIZE - WINDOW - before
    frames = pad(windows, (before, after)).unfold(1, FFT_SIZE, HOP)
    spectrum = torch.fft.rfft(frames * torch.hann_window(FFT_SIZE, device=windows.device))
    power = spectrum.real.square() + spectrum.imag.square()
    filters = _filters(front_end).to(windows)
    of_magnitudes = front_end == "openl3-0.4"
    mel = filters @ power.sqrt().mT if of_magnitudes else (filters @ power.mT).sqrt()
    decibels = 10 * mel.clamp(min=_LEAST).log10()
    decibels = decibels - decibels.amax(dim=(1, 2), keepdim=True)
    return decibels.clamp(min=_FLOOR_DB)[:, None]


def _filters(front_end: FrontEnd) -> Float[Tensor, "band bin"]:
    if front_end == "openl3-0.4":
        return mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_BANDS)
    filters = mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_BANDS, scale="htk", unit_area=False)
    # librosa's norm=1: the sum of each is 1, and of those between two bins 0
    sums = filters.sum(dim=1, keepdim=True)
    return filters / torch.where(sums == 0, 1, sums)
