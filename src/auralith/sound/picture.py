"""A picture of a sound: waveform above, spectrogram on a logarithmic frequency axis below, as PNG bytes.

Drawn into a NumPy array with a tiny bitmap font, so the core needs no plotting library. The spectrogram is the
power summed over channels, in a range of 80 dB below its maximum. The PNG is one 8-bit RGB image (ISO/IEC 15948:
signature, IHDR, IDAT, IEND).
"""

import math
import struct
import zlib

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

_WIDTH, _WAVE_HEIGHT, _SPECTRUM_HEIGHT = 1120, 150, 420
_LEFT, _TOP, _GAP, _BOTTOM, _RIGHT = 84, 16, 16, 40, 24
_WINDOW = 4096
_LOWEST_HZ = 30.0
_RANGE_DB = 80.0
_FREQUENCIES_HZ = (50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000)

_BACKGROUND, _INK, _WAVE, _GRID = (255, 255, 255), (60, 60, 70), (70, 70, 150), (225, 225, 232)
_COLORS = np.array(  # from quiet to loud, equally spaced
    [
        (8, 6, 24),
        (52, 20, 92),
        (122, 30, 112),
        (190, 52, 88),
        (240, 106, 50),
        (254, 182, 72),
        (254, 248, 206),
    ],
    dtype=np.float32,
)
_GLYPH_ROWS = {  # 5 × 7, one number per row, its bits from left to right
    "0": (14, 17, 19, 21, 25, 17, 14),
    "1": (4, 12, 4, 4, 4, 4, 14),
    "2": (14, 17, 1, 2, 4, 8, 31),
    "3": (31, 2, 4, 2, 1, 17, 14),
    "4": (2, 6, 10, 18, 31, 2, 2),
    "5": (31, 16, 30, 1, 1, 17, 14),
    "6": (6, 8, 16, 30, 17, 17, 14),
    "7": (31, 1, 2, 4, 8, 8, 8),
    "8": (14, 17, 17, 14, 17, 17, 14),
    "9": (14, 17, 17, 15, 1, 2, 12),
    ".": (0, 0, 0, 0, 0, 12, 12),
    "k": (16, 16, 18, 20, 24, 20, 18),
    "s": (0, 0, 15, 16, 14, 1, 30),
    "H": (17, 17, 17, 31, 17, 17, 17),
    "z": (0, 0, 31, 2, 4, 8, 31),
    " ": (0, 0, 0, 0, 0, 0, 0),
}
_SCALE = 2
"""Pixels per dot of the font."""


def spectrogram_png(waveform: Float[Tensor, "channel sample"], sample_rate: int) -> bytes:
    """Waveform and spectrogram of a sound as the bytes of a PNG file. The sound must not be empty."""
    height = _TOP + _WAVE_HEIGHT + _GAP + _SPECTRUM_HEIGHT + _BOTTOM
    image = np.full((height, _LEFT + _WIDTH + _RIGHT, 3), _BACKGROUND, dtype=np.uint8)
    waveform = waveform.detach().float().cpu()
    spectrum_top = _TOP + _WAVE_HEIGHT + _GAP
    seconds = waveform.shape[-1] / sample_rate
    _label_time(image, seconds)
    image[_TOP : _TOP + _WAVE_HEIGHT, _LEFT : _LEFT + _WIDTH][_envelope(waveform)] = _WAVE
    image[spectrum_top : spectrum_top + _SPECTRUM_HEIGHT, _LEFT : _LEFT + _WIDTH] = _colored(
        _levels(waveform, sample_rate)
    )
    _label_frequency(image, sample_rate, spectrum_top)
    return _png(image)


def _envelope(waveform: Tensor) -> np.ndarray:
    """Return where the waveform panel is inked: between the lowest and the highest sample of each pixel column."""
    samples = waveform.numpy()
    starts = np.linspace(0, samples.shape[1], _WIDTH, endpoint=False).astype(int)
    top = _row(np.maximum.reduceat(samples.max(axis=0), starts))
    bottom = _row(np.minimum.reduceat(samples.min(axis=0), starts))
    rows = np.arange(_WAVE_HEIGHT)[:, None]
    return (rows >= top) & (rows <= bottom)


def _row(amplitude: np.ndarray) -> np.ndarray:
    return np.rint((1 - np.clip(amplitude, -1, 1)) / 2 * (_WAVE_HEIGHT - 1)).astype(int)


def _levels(waveform: Tensor, sample_rate: int) -> np.ndarray:
    """Loudness in 0…1 of every pixel of the spectrogram, highest frequency first."""
    hop = max(1, math.ceil(waveform.shape[-1] / _WIDTH))
    window = torch.hann_window(_WINDOW)
    spectrum = torch.stft(
        waveform, _WINDOW, hop, window=window, pad_mode="constant", return_complex=True
    )
    power = spectrum.abs().square().sum(dim=0).numpy()
    columns = np.linspace(0, power.shape[1] - 1, _WIDTH).astype(int)
    power = _at_frequencies(power, _row_frequencies(sample_rate), sample_rate)[:, columns]
    decibels = 10 * np.log10(np.maximum(power, 1e-12))
    return np.clip((decibels - decibels.max()) / _RANGE_DB + 1, 0, 1) * (power.max() > 1e-6)


def _row_frequencies(sample_rate: int) -> np.ndarray:
    return np.geomspace(sample_rate / 2, _LOWEST_HZ, _SPECTRUM_HEIGHT)


def _at_frequencies(power: np.ndarray, hz: np.ndarray, sample_rate: int) -> np.ndarray:
    """The power spectrum read between its bins, linearly."""
    position = np.clip(hz * _WINDOW / sample_rate, 0, power.shape[0] - 1)
    below = np.minimum(position.astype(int), power.shape[0] - 2)
    weight = (position - below)[:, None]
    return power[below] * (1 - weight) + power[below + 1] * weight


def _colored(levels: np.ndarray) -> np.ndarray:
    position = levels * (len(_COLORS) - 1)
    below = np.minimum(position.astype(int), len(_COLORS) - 2)
    weight = (position - below)[..., None]
    return (_COLORS[below] * (1 - weight) + _COLORS[below + 1] * weight).astype(np.uint8)


def _label_time(image: np.ndarray, seconds: float) -> None:
    step = _round_step(seconds / 8)
    axis = image.shape[0] - _BOTTOM
    decimals = max(0, -math.floor(math.log10(step)))
    for index in range(math.floor(seconds / step + 1e-9) + 1):
        column = _LEFT + round(index * step / seconds * (_WIDTH - 1))
        image[_TOP:axis, column] = _GRID
        image[axis : axis + 5, column] = _INK
        _write(image, f"{index * step:.{decimals}f} s", column, axis + 10, anchor=0.5)


def _round_step(seconds: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `seconds`."""
    power = 10.0 ** math.floor(math.log10(seconds))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= seconds * (1 - 1e-9))


def _label_frequency(image: np.ndarray, sample_rate: int, top: int) -> None:
    frequencies = _row_frequencies(sample_rate)
    for hz in _FREQUENCIES_HZ:
        if hz < sample_rate / 2:
            row = top + int(np.abs(frequencies - hz).argmin())
            image[row, _LEFT - 5 : _LEFT] = _INK
            text = f"{hz // 1000}k" if hz >= 1000 else str(hz)
            _write(image, f"{text} Hz", _LEFT - 8, row - 7, anchor=1.0)


def _write(image: np.ndarray, text: str, column: int, row: int, anchor: float) -> None:
    """Text whose left edge (anchor 0), middle (0.5) or right edge (1) is at `column`, kept inside the image."""
    dots = np.concatenate([_glyph(character) for character in text], axis=1)
    mask = dots.repeat(_SCALE, axis=0).repeat(_SCALE, axis=1)
    left = max(0, min(round(column - anchor * mask.shape[1]), image.shape[1] - mask.shape[1]))
    image[row : row + mask.shape[0], left : left + mask.shape[1]][mask] = _INK


def _glyph(character: str) -> np.ndarray:
    """The dots of a character and one empty column behind them."""
    rows = np.array(_GLYPH_ROWS[character])[:, None]
    return (rows << 1 >> np.arange(5, -1, -1) & 1).astype(bool)


def _png(image: np.ndarray) -> bytes:
    height, width, _ = image.shape
    scanlines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(scanlines.tobytes(), 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)
