"""Stretches of recordings as a network is trained on them: prepared, cut at random, timed, and padded with a mask.

Preparing means the model's channels and rate and full scale at ±1; a file at another rate is refused unless
resampling is allowed. A crop reads only its own stretch of the file: around it, where it is resampled, as much as the
filter reaches. `crop_start` and `crop_timing` are the rules for crops of waveforms and of latents alike.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auralith.data.recording import Recordings
from auralith.errors import InvalidRequest
from auralith.numbers import check_integer, check_number
from auralith.sound.extent import SoundInfo
from auralith.sound.levels import SILENCE_DB, peak_db
from auralith.sound.resampling import resample

_FILTER_REACH = 2_048
"""Samples of either rate on each side of a stretch that soxr's HQ filter may look at."""


@dataclass(frozen=True)
class AudioOptions:
    """The audio that a network takes, and how a sound may be varied."""

    sample_rate: int = 44_100
    channels: int = 2
    resample: bool = False
    """Resample files at other rates, instead of refusing them."""
    silence_db: float = SILENCE_DB
    """A crop whose peak is below this (dBFS) is drawn again."""
    silence_tries: int = 8
    """Crops drawn of one file at most; if all are silent the loudest is taken."""
    flip_probability: float = 0.0
    """Probability that the polarity is flipped (0.5 in the paper's autoencoder)."""
    gain_db: float = 0.0
    """The level is changed by a uniform draw from ± this many dB, at most up to full scale."""
    fade_seconds: float = 0.0
    """Length of the fade where a file ends inside the window, which otherwise may click."""

    def __post_init__(self) -> None:
        for name in ("sample_rate", "channels", "silence_tries"):
            check_integer(self, name, 1)
        check_number(self, "flip_probability", least=0.0, most=1.0)
        check_number(self, "gain_db", "dB", least=0.0)
        check_number(self, "fade_seconds", "s", least=0.0)

    def check(self, info: SoundInfo, path: str) -> None:
        """Refuse a file that can't be prepared.

        Raises:
            InvalidRequest: its rate differs and resampling is not allowed (both rates are named), or it is neither
                mono, nor of the model's channels, nor stereo for a mono model: other mixes are not ours to choose.
        """
        if info.sample_rate != self.sample_rate and not self.resample:
            raise InvalidRequest(
                f"{path} is at {info.sample_rate} Hz, the model at {self.sample_rate} Hz;"
                " allow resampling or convert it"
            )
        if info.channels not in (1, self.channels, 2 if self.channels == 1 else 1):
            raise InvalidRequest(
                f"{path} has {info.channels} channels, the model {self.channels};"
                f" mix it to {self.channels}"
            )


@dataclass(frozen=True)
class Crop:
    """A window of a recording and when it is in the whole."""

    waveform: Float[Tensor, "channel sample"]
    mask: Bool[Tensor, "sample"]
    """True where there is sound of the file, false in the padding."""
    seconds_start: int
    seconds_total: int


def crop_start(length: int, window: int, rng: np.random.Generator) -> int:
    """Return where a crop begins, uniform over all places; 0 if the window holds the whole."""
    return int(rng.integers(0, max(0, length - window), endpoint=True))


def crop_timing(seconds_start: float, seconds_total: float) -> tuple[int, int]:
    """The two numbers that a crop is conditioned on: its start rounded down, the length of the whole *file* up."""
    return math.floor(seconds_start), math.ceil(seconds_total)


def prepare(
    waveform: Float[Tensor, "channel sample"], sample_rate: int, options: AudioOptions, path: str
) -> Float[Tensor, "prepared resampled"]:
    """The waveform with the model's channels, at its rate, clamped to full scale.

    Mono is copied to all channels; stereo becomes mono by its mean.

    Raises:
        InvalidRequest: as `AudioOptions.check`.
    """
    channels = waveform.shape[0]
    options.check(SoundInfo(waveform.shape[1], sample_rate, channels), path)
    if channels > options.channels:
        waveform = waveform.mean(dim=0, keepdim=True)
    waveform = resample(waveform, sample_rate, options.sample_rate).clamp(-1.0, 1.0)
    return waveform.expand(options.channels, -1).contiguous()


def read_crop(
    recordings: Recordings,
    i: int,
    window: int,
    options: AudioOptions,
    rng: np.random.Generator,
) -> Crop:
    """A random crop of `window` samples at the model's rate, not silent if that many tries find one, augmented.

    Raises:
        InvalidRequest: the file is unreadable, holds NaN, or can't be prepared; it is named.
    """
    info = recordings.info(i)
    options.check(info, recordings[i].path)
    start, sound = _audible(recordings, i, info, window, options, rng)
    timing = crop_timing(start / options.sample_rate, info.seconds)
    return _padded(_augmented(sound, options, rng), window, timing, options)


def _audible(
    recordings: Recordings,
    i: int,
    info: SoundInfo,
    window: int,
    options: AudioOptions,
    rng: np.random.Generator,
) -> tuple[int, Tensor]:
    """The first crop that is not silent and its start, or the loudest of those tried."""
    length = math.ceil(info.num_samples * options.sample_rate / info.sample_rate)
    drawn: list[tuple[float, int, Tensor]] = []
    for _ in range(options.silence_tries if length > window else 1):
        start = crop_start(length, window, rng)
        sound = _read_prepared(recordings, i, info, start, min(window, length - start), options)
        drawn.append((peak_db(sound), start, sound))
        if drawn[-1][0] >= options.silence_db:
            return start, sound
    return max(drawn, key=lambda one: one[0])[1:]


def _read_prepared(
    recordings: Recordings,
    i: int,
    info: SoundInfo,
    start: int,
    length: int,
    options: AudioOptions,
) -> Tensor:
    """Samples [start, start + length) of what the whole file would be at the model's rate, cut at its end."""
    divisor = math.gcd(info.sample_rate, options.sample_rate)
    step, ours = info.sample_rate // divisor, options.sample_rate // divisor
    reach = 0 if step == ours else math.ceil(_FILTER_REACH / min(step, ours))
    # `step` samples of the file are `ours` of the model's: cut there, both grids agree.
    first = max(0, start // ours - reach)
    last = -(-(start + length) // ours) + reach
    waveform, sample_rate = recordings.read(i, first * step, last * step)
    skip = start - first * ours
    return prepare(waveform, sample_rate, options, recordings[i].path)[:, skip : skip + length]


def _augmented(sound: Tensor, options: AudioOptions, rng: np.random.Generator) -> Tensor:
    flip = rng.random() < options.flip_probability
    gain = 10.0 ** (rng.uniform(-options.gain_db, options.gain_db) / 20.0)
    peak = float(sound.abs().max()) if sound.numel() else 0.0
    return sound * ((-1.0 if flip else 1.0) * min(gain, 1.0 / max(peak, 1e-9)))


def _padded(sound: Tensor, window: int, timing: tuple[int, int], options: AudioOptions) -> Crop:
    length = sound.shape[1]
    fade = min(length, round(options.fade_seconds * options.sample_rate))
    if length < window and fade:
        faded = sound[:, length - fade :] * torch.linspace(1.0, 0.0, fade)
        sound = torch.cat([sound[:, : length - fade], faded], dim=1)
    waveform = torch.nn.functional.pad(sound, (0, window - length))
    return Crop(waveform, torch.arange(window) < length, *timing)
