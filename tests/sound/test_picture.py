"""The picture of a sound: read back with its own decoder, so that it's known to be a PNG and where its ink is."""

import math
import struct
import zlib

import numpy as np
import pytest
import torch

from auralith.sound.picture import spectrogram_png

RATE = 44_100


def decode(png: bytes) -> np.ndarray:
    """An 8-bit RGB image without filters."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    position, chunks = 8, {}
    while position < len(png):
        size, name = struct.unpack_from(">I4s", png, position)
        body = png[position + 8 : position + 8 + size]
        assert struct.unpack_from(">I", png, position + 8 + size)[0] == zlib.crc32(name + body)
        chunks[name] = body
        position += 12 + size
    assert list(chunks) == [b"IHDR", b"IDAT", b"IEND"]
    width, height, depth, color = struct.unpack_from(">IIBB", chunks[b"IHDR"])
    assert (depth, color) == (8, 2)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + 3 * width)
    return rows[:, 1:].reshape(height, width, 3)


def test_a_tone_is_a_bright_line_at_its_frequency() -> None:
    """Octaves are equally far apart: 440, 880 and 1760 Hz."""
    heights = []
    for hertz in (440, 880, 1760):
        sine = torch.sin(2 * math.pi * hertz * torch.arange(RATE) / RATE)[None]
        image = decode(spectrogram_png(sine, RATE)).astype(int)
        heights.append(int(image[200:590, 600].sum(axis=-1).argmax()))
    assert heights[0] > heights[1] > heights[2]
    assert heights[0] - heights[1] == pytest.approx(heights[1] - heights[2], abs=2)


def test_the_waveform_shows_where_the_sound_is() -> None:
    half = torch.cat([torch.zeros(2, RATE), 0.9 * torch.ones(2, RATE)], dim=1)
    image = decode(spectrogram_png(half, RATE)).astype(int)
    inked = (image[16:166, 100:1180] == (70, 70, 150)).all(axis=-1).sum(axis=0)
    assert inked[:500].max() == 1 and inked[600:].min() >= 1
    assert spectrogram_png(half, RATE) == spectrogram_png(half, RATE)


@pytest.mark.parametrize("num_samples", [1, 7, 3_000, 5 * RATE])
def test_every_length_and_silence_can_be_drawn(num_samples: int) -> None:
    images = {decode(spectrogram_png(torch.zeros(2, num_samples), RATE)).shape}
    images.add(decode(spectrogram_png(torch.ones(1, num_samples), RATE)).shape)
    assert len(images) == 1
