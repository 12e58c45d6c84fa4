"""Sound files: round trips, tags, levels, and that a failed write leaves nothing behind."""

import errno
import math
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from auralith.errors import AudioError, InvalidRequest, ResourceError
from auralith.sound.formats import check_output
from auralith.sound.levels import is_silent, looks_like_white_noise, peak_db, peak_normalize, rms_db
from auralith.sound.reading import read
from auralith.sound.resampling import resample
from auralith.sound.tags import read_tags
from auralith.sound.writing import write

RATE = 44_100
SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
TAGS = {"prompt": 'é漢🎧\n\t"q" \\ \'' * 400, "seed": 2**60, "none": None, "range": [0.0, 1.0]}


def tone(num_samples: int = 20_000, channels: int = 2, level: float = 0.5) -> Tensor:
    phase = 2 * math.pi * 440 * torch.arange(num_samples) / RATE
    return torch.stack([level * torch.sin(phase + channel) for channel in range(channels)])


def white(num_samples: int, level: float = 0.1) -> Tensor:
    return level * torch.randn(2, num_samples, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "subtype", "tolerance"),
    [
        ("a.wav", "pcm16", 0.5 / 2**15),
        ("a.wav", "pcm24", 0.5 / 2**23),
        ("a.WAV", "float", 0.0),
        ("a.flac", "pcm16", 0.5 / 2**15),
        ("a.flac", "pcm24", 0.5 / 2**23),
    ],
)
def test_lossless_formats_keep_samples_to_half_a_step(
    tmp_path: Path, name: str, subtype: str, tolerance: float
) -> None:
    waveform = tone()
    write(tmp_path / name, waveform, RATE, subtype=subtype, tags=TAGS)
    found, rate = read(tmp_path / name)
    assert rate == RATE and found.dtype == torch.float32
    assert float((found.double() - waveform.double()).abs().max()) <= tolerance * 1.001


FILES = {
    "a.wav": "pcm16",
    "b.wav": "pcm24",
    "c.wav": "float",
    "a.flac": "pcm16",
    "b.flac": "pcm24",
    "a.ogg": "vorbis",
    "a.mp3": "mp3",
}
SAVE = """
import sys, torch
from auralith.sound.writing import write
waveform = torch.sin(torch.arange(100_000) / 20).view(2, -1) / 2
for name, subtype in {files!r}.items():
    write(sys.argv[1] + "/" + name, waveform, 44_100, subtype=subtype, tags={{"seed": 1}})
"""


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    """In other processes, at another second, with another address layout, in every format."""
    found: list[dict[str, bytes]] = []
    for run in ("first", "second"):
        (tmp_path / run).mkdir()
        command = [sys.executable, "-c", SAVE.format(files=FILES), str(tmp_path / run)]
        subprocess.run(command, check=True)
        found.append({name: (tmp_path / run / name).read_bytes() for name in FILES})
    assert {name for name in FILES if found[0][name] != found[1][name]} == set()


def test_a_stream_of_ogg_has_a_number_of_its_own_and_whole_pages(tmp_path: Path) -> None:
    waveforms = [tone(), tone(level=0.4)]
    serials = []
    for index, waveform in enumerate(waveforms):
        path = tmp_path / f"{index}.ogg"
        write(path, waveform, RATE, tags=TAGS)
        data = path.read_bytes()
        serials.append(data[14:18])
        with soundfile.SoundFile(path) as file:
            assert file.frames == waveform.shape[1] == len(file.read())
        (tmp_path / "bad.ogg").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        with soundfile.SoundFile(tmp_path / "bad.ogg") as file:  # the checksum of a page fails
            assert len(file.read()) < waveform.shape[1]
    assert serials[0] != serials[1]


@pytest.mark.parametrize("suffix", [".ogg", ".mp3"])
def test_lossy_formats_keep_length_and_sound(tmp_path: Path, suffix: str) -> None:
    waveform = tone(3 * RATE + 17)
    write(tmp_path / f"a{suffix}", waveform, RATE)
    found, rate = read(tmp_path / f"a{suffix}")
    assert rate == RATE and found.shape == waveform.shape
    inner = slice(2_000, -2_000)
    assert float((found - waveform)[:, inner].square().mean().sqrt()) < 0.02


def test_beyond_full_scale_clips_and_never_wraps(tmp_path: Path) -> None:
    waveform = torch.tensor([[1.5, -1.5, 1.0, -1.0, 0.0]]).repeat(2, 1)
    for subtype in ("pcm16", "pcm24"):
        write(tmp_path / "a.wav", waveform, RATE, subtype=subtype)
        assert torch.allclose(read(tmp_path / "a.wav")[0], waveform.clamp(-1, 1), atol=1e-4)
    write(tmp_path / "a.wav", waveform, RATE, subtype="float")
    assert torch.equal(read(tmp_path / "a.wav")[0], waveform)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("channels", [1, 2])
def test_tags_come_back_whole(tmp_path: Path, suffix: str, channels: int) -> None:
    """An odd number of 24-bit samples makes an odd chunk, which needs a byte of padding."""
    path = tmp_path / f"a{suffix}"
    subtype = "pcm24" if suffix in (".wav", ".flac") else None
    write(path, tone(4_411, channels), RATE, subtype=subtype, tags=TAGS)
    assert read_tags(path) == TAGS
    assert read(path)[0].shape == (channels, 4_411)
    write(path, tone(4_411, channels), RATE)
    assert read_tags(path) is None


def test_the_wav_file_is_well_formed(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    write(path, tone(3, 1), RATE, subtype="pcm24", tags={"a": "b"})
    data = path.read_bytes()
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    assert data[data.index(b"LIST") :].startswith(b"LIST" + struct.pack("<I", 24) + b"INFOICMT")
    assert data.index(b"LIST") % 2 == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(tags=st.dictionaries(st.text(), JSON, max_size=4))
def test_any_json_survives_as_wav_tags(
    tmp_path_factory: pytest.TempPathFactory, tags: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.wav"
    write(path, torch.zeros(1, 3), RATE, tags=tags)
    assert read_tags(path) == tags


def test_tags_of_others_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.flac"
    with soundfile.SoundFile(path, "w", RATE, 1, format="FLAC", subtype="PCM_16") as file:
        file.comment = "recorded in my kitchen"
        file.write(np.zeros(10))
    assert read_tags(path) is None


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_audio_that_is_not_finite_is_refused_both_ways(tmp_path: Path, value: float) -> None:
    waveform = tone()
    waveform[1, 77] = value
    path = tmp_path / "a.wav"
    with pytest.raises(AudioError, match="sample 77"):
        write(path, waveform, RATE)
    assert not path.exists()
    soundfile.write(path, waveform.numpy().T, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="sample 77"):
        read(path)


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.wav"
    write(path, tone(10), RATE)
    before = path.read_bytes()

    def no_space(self: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(ResourceError, match="no disk space"):
        write(path, tone(20), RATE)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "a.flac", tone(), RATE)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "subtype", "error", "message"),
    [
        ("a.xyz", None, InvalidRequest, "no known suffix"),
        ("a", None, InvalidRequest, "no known suffix"),
        ("a.flac", "float", InvalidRequest, "FLAC files can't be float"),
        ("a.mp3", "pcm16", InvalidRequest, "MP3 files can't be pcm16"),
        ("no/such/folder/a.wav", None, ResourceError, "can't be written"),
        ("folder.wav", None, ResourceError, r"is a folder|can't be written"),
    ],
)
def test_an_impossible_place_is_refused_before_and_at_writing(
    tmp_path: Path, name: str, subtype: str | None, error: type[Exception], message: str
) -> None:
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(error, match=message):
        check_output(tmp_path / name, subtype)
    with pytest.raises(error, match=message):
        write(tmp_path / name, tone(10), RATE, subtype=subtype)
    assert [entry.name for entry in tmp_path.iterdir()] == ["folder.wav"]


def test_checking_a_place_leaves_nothing(tmp_path: Path) -> None:
    check_output(tmp_path / "a.wav")
    assert not list(tmp_path.iterdir())


def test_what_a_format_cannot_hold_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="MP3 can't hold 2 channels at 96000 Hz"):
        write(tmp_path / "a.mp3", tone(), 96_000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a sound", b"RIFF\x00\x00\x00\x00WAVE"])
def test_files_that_are_no_sound(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"not a readable sound file|no samples|is empty"):
        read(path)
    assert not content or read_tags(path) is None
    with pytest.raises(AudioError, match="doesn't exist"):
        read(tmp_path / "nothing.wav")


@given(cut=st.integers(12, 400))
def test_a_damaged_tag_chunk_is_no_tag(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.wav"
    write(path, torch.zeros(1, 40), RATE, tags={"prompt": "x" * 300})
    path.write_bytes(path.read_bytes()[:-cut])
    with suppress(AudioError):  # where the cut reaches the header of the samples
        assert read_tags(path) is None


def test_resampling_keeps_pitch_length_and_level() -> None:
    resampled = resample(tone(48_000), 48_000, RATE)
    assert resampled.shape == (2, 44_100) and resampled.dtype == torch.float32
    hertz = torch.fft.rfft(resampled[0]).abs().argmax()
    assert abs(float(hertz) - 440 * 48_000 / RATE) < 1
    assert float(resampled.abs().max()) == pytest.approx(0.5, abs=0.01)
    assert resample(resampled, RATE, RATE) is resampled


def test_peak_normalization_is_safe_on_silence() -> None:
    assert float(peak_normalize(tone(level=0.01)).abs().max()) == 1.0
    for silence in (torch.zeros(2, 9), torch.zeros(2, 0), torch.full((2, 9), 1e-9)):
        assert torch.equal(peak_normalize(silence), silence)


def test_levels() -> None:
    sine = tone(RATE, level=1.0)
    assert peak_db(sine) == pytest.approx(0, abs=0.01)
    assert rms_db(sine) == pytest.approx(-3.01, abs=0.01)
    for silence in (torch.zeros(2, 9), torch.zeros(2, 0)):
        assert peak_db(silence) == -math.inf and rms_db(silence) == -math.inf
        assert is_silent(silence)
    assert is_silent(sine * 0.9e-3) and not is_silent(sine * 1.1e-3)


def test_only_steady_flat_noise_looks_like_white_noise() -> None:
    noise = white(2 * RATE)
    assert looks_like_white_noise(noise)
    assert looks_like_white_noise(noise * 1e-3)
    click = torch.zeros(2, 2 * RATE)
    click[:, 30_000] = 1
    decay = noise * torch.exp(-torch.arange(2 * RATE) / 3_000)
    colored = noise.cumsum(-1) * 0.01
    for other in (click, decay, colored, tone(2 * RATE), torch.zeros(2, 2 * RATE), noise[:, :99]):
        assert not looks_like_white_noise(other)
