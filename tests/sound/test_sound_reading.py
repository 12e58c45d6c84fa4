"""Reading to the end: every format in every stretch, wrong lengths in headers, cut files, levels, names, memory."""

import io
import os
import struct
import tracemalloc
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from av.error import FFmpegError
from hypothesis import given, settings
from hypothesis import strategies as st

from auralith.curation.probe import Probe
from auralith.data.crops import AudioOptions
from auralith.data.recordings import open_recordings
from auralith.data.report import scan
from auralith.errors import AudioError
from auralith.sound.extent import read_info
from auralith.sound.levels import require_usable
from auralith.sound.measuring import measure
from auralith.sound.mpeg import find_frames
from auralith.sound.reading import exact_subtype, read
from auralith.sound.sources import Member, opened
from auralith.sound.stream import LENGTH_TOLERANCE_SECONDS, open_sound

RATE = 44_100
NUM_SAMPLES = 22_050
TIME = np.arange(NUM_SAMPLES) / RATE
WAVES = 0.4 * np.stack([np.sin(2765 * TIME), np.sin(1944 * TIME + 1)], axis=1)


@cache
def encoded(container: str, subtype: str | None = None) -> bytes | None:
    """A sound in a format at the first rate and channels that it takes; None where this build writes none."""
    for channels, rate in [(2, RATE), (1, RATE), (1, 16_000), (1, 8_000)]:
        buffer = io.BytesIO()
        try:
            with soundfile.SoundFile(
                buffer, "w", rate, channels, format=container, subtype=subtype
            ) as file:
                file.write(WAVES[:, :channels])
            with soundfile.SoundFile(io.BytesIO(buffer.getvalue())):
                return buffer.getvalue()
        except soundfile.LibsndfileError:
            continue
    return None


class Sequential(soundfile.SoundFile):
    """A file that isn't sought in after each read, which DWVW doesn't survive."""

    def seekable(self) -> bool:
        return False


FORMATS = [
    (container, subtype)
    for container in soundfile.available_formats()
    if container not in ("RAW", "SD2")  # no header; a second file
    for subtype in soundfile.available_subtypes(container)
    if encoded(container, subtype) is not None
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_a_stretch_of_any_format_is_the_wholes(container: str, subtype: str) -> None:
    data = encoded(container, subtype)
    assert data is not None
    whole, rate = read(data)
    with Sequential(io.BytesIO(data)) as file:
        expected = file.read(out=np.empty((file.frames, file.channels), np.float32))
        assert rate == file.samplerate
    if container != "MP3":
        assert np.array_equal(whole.numpy().T, expected)
    assert read_info(data).num_samples == whole.shape[1]
    for start, stop in [(0, 700), (1, 2), (12_345, 20_000), (20_000, None), (90_000, 90_001)]:
        part, _ = read(data, start, stop)
        assert torch.allclose(part, whole[:, start:stop], atol=1e-6), (start, stop)


# where a header states the length: what stands before it, how far on, and how it is written
HEADERS = {
    "WAV": (b"data", 4, "<I"),
    "RF64": (b"ds64", 16, "<Q"),
    "W64": (b"data", 16, "<Q"),
    "AIFF": (b"SSND", 4, ">I"),
    "AU": (b".snd", 8, ">I"),
    "CAF": (b"data", 4, ">q"),
}


def with_length(container: str, length: int) -> bytes:
    data = bytearray(encoded(container) or b"")
    mark, offset, code = HEADERS[container]
    struct.pack_into(code, data, data.index(mark) + offset, length)
    return bytes(data)


@settings(max_examples=100)
@given(
    container=st.sampled_from(sorted(HEADERS)),
    length=st.one_of(
        st.sampled_from([0, 1, 0x7FFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFE]), st.integers(0, 2**31 - 1)
    ),
)
def test_a_wrong_length_in_a_header_limits_nothing(container: str, length: int) -> None:
    whole = read(encoded(container) or b"")[0]
    data = with_length(container, length)
    assert torch.equal(read(data, allow_cut=True)[0], whole)
    info = read_info(data)
    assert info.num_samples == NUM_SAMPLES
    with open_sound(data) as stream:
        header = stream.format.header_samples
    too_long = header is not None and header - NUM_SAMPLES > LENGTH_TOLERANCE_SECONDS * RATE
    if too_long:
        with pytest.raises(AudioError, match="is cut short") as caught:
            read(data)
        assert caught.value.reason_code == "truncated"
    else:
        assert torch.equal(read(data)[0], whole)
    assert (info.note is not None) == (
        header is not None and abs(header - NUM_SAMPLES) > LENGTH_TOLERANCE_SECONDS * RATE
    )


@pytest.mark.parametrize("length", [-1, 2**62, 2**63 - 1])
@pytest.mark.parametrize("container", ["CAF", "RF64", "W64"])
def test_impossible_lengths_of_64_bits_state_none(container: str, length: int) -> None:
    code = HEADERS[container][2]
    data = with_length(container, length if code == ">q" else length % 2**64)
    assert read(data)[0].shape[1] == read_info(data).num_samples == NUM_SAMPLES
    with open_sound(data) as stream:
        assert stream.format.header_samples is None


def test_chunks_behind_the_samples_are_no_samples() -> None:
    data = bytearray(encoded("WAV") or b"")
    extra = b"LIST" + struct.pack("<I", 4_000) + b"INFO" + bytes(3_996)
    data += extra
    data[4:8] = struct.pack("<I", len(data) - 8)
    assert read(bytes(data))[0].shape[1] == NUM_SAMPLES
    empty = data[:40] + bytes(4) + extra
    with pytest.raises(AudioError, match="holds no samples"):
        read(bytes(empty))


@pytest.mark.parametrize("stated", [0, 1_000, NUM_SAMPLES, 2**36 - 1])
def test_flac_is_decoded_to_its_end(stated: int) -> None:
    whole = encoded("FLAC") or b""
    data = bytearray(whole)
    data[21:26] = ((data[21] >> 4) << 36 | stated).to_bytes(5)
    found = read(bytes(data), allow_cut=True)[0]
    assert torch.equal(found, read(whole)[0])
    part = read(bytes(data), 5_000, 6_000)[0]
    assert torch.equal(part, found[:, 5_000:6_000])
    assert read_info(bytes(data)).num_samples == (stated or NUM_SAMPLES)


def mp3(mode: str = "VARIABLE") -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(1).standard_normal((4 * RATE, 2))
    noise[: 2 * RATE] *= 0.3
    noise[2 * RATE :] *= 0.001
    soundfile.write(buffer, noise, RATE, format="MP3", bitrate_mode=mode)
    return buffer.getvalue()


def without_xing(data: bytes) -> bytes:
    with opened(data, "a.mp3") as file:
        frames = find_frames(file, "a.mp3")
    assert frames is not None and frames.counter is not None
    return data[frames.start + frames.first.size :]


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT", "AVERAGE"])
@pytest.mark.parametrize(
    ("before", "behind"),
    [(b"", b""), (b"", b"TAG".ljust(128, b"x")), (bytes(3_000), b""), (b"", b"\x12\x34" * 9_000)],
)
def test_mp3_without_a_xing_header_is_decoded_to_its_end(
    mode: str, before: bytes, behind: bytes
) -> None:
    data = before + without_xing(mp3(mode)) + behind
    with av.open(io.BytesIO(without_xing(mp3(mode))), "r") as container:
        expected = sum(frame.samples for frame in container.decode(audio=0))
    whole, _ = read(data)
    assert whole.shape[1] == expected == read_info(data).num_samples
    part, _ = read(data, 100_000, 101_000)
    assert torch.allclose(part, whole[:, 100_000:101_000], atol=1e-6)


@pytest.mark.parametrize("stated", [1, 10, 100_000])
def test_a_wrong_count_in_a_xing_header_limits_nothing(stated: int) -> None:
    data = bytearray(mp3())
    expected = read(bytes(data))[0].shape[1]
    with opened(bytes(data), "a.mp3") as file:
        frames = find_frames(file, "a.mp3")
    assert frames is not None and frames.counter is not None
    struct.pack_into(">I", data, frames.counter, stated)
    found = read(bytes(data), allow_cut=True)[0].shape[1]
    assert abs(found - expected) < LENGTH_TOLERANCE_SECONDS * RATE


def test_mp3_that_changes_its_rate_is_named() -> None:
    other = io.BytesIO()
    soundfile.write(other, WAVES, 32_000, format="MP3")
    with pytest.raises(AudioError, match="changes its sample rate") as caught:
        read(without_xing(mp3()) + without_xing(other.getvalue()))
    assert caught.value.reason_code == "format_changes"


def aac(path: Path, channels: str = "stereo", codec: str = "aac") -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE, layout=channels)
        count = stream.layout.nb_channels
        samples = np.ascontiguousarray(np.resize(WAVES.T, (count, NUM_SAMPLES)), np.float32)
        for start in range(0, NUM_SAMPLES, 1_024):
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples.T[start : start + 1_024]).reshape(1, -1),
                format="flt",
                layout=channels,
            )
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def consumers(path: Path) -> list[int]:
    """A file's length as info, training and curation see it."""
    finding = Probe().process([{"path": path.name}], path.parent)[0]
    assert finding.verdict == "pass", finding
    recordings = open_recordings(path.parent)
    return [
        measure(path).num_samples,
        recordings.read(0)[0].shape[1],
        finding.columns["num_samples"],
    ]


@pytest.mark.parametrize("kind", ["noxing.mp3", "live.flac", "crashed.wav", "memo.m4a", "a.ogg"])
def test_info_training_and_curation_see_the_same(tmp_path: Path, kind: str) -> None:
    path = tmp_path / kind
    match kind:
        case "noxing.mp3":
            path.write_bytes(without_xing(mp3()))
        case "live.flac":
            data = bytearray(encoded("FLAC") or b"")
            data[21:26] = bytes([data[21] & 0xF0, 0, 0, 0, 0])
            path.write_bytes(data)
        case "crashed.wav":
            path.write_bytes(with_length("WAV", 0))
        case "memo.m4a":
            aac(path)
        case _:
            path.write_bytes(encoded("OGG", "VORBIS") or b"")
    assert len(set(consumers(path))) == 1


def test_a_cut_file_is_bad_for_all(tmp_path: Path) -> None:
    whole = encoded("WAV") or b""
    (tmp_path / "half.wav").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "clip.mp3").write_bytes(mp3()[:1_752])
    missing = bytearray(whole)
    struct.pack_into("<I", missing, 40, len(whole) - 44 + 16)
    (tmp_path / "plus16.wav").write_bytes(missing)
    recordings = open_recordings(tmp_path)
    report = scan(recordings, AudioOptions(), None, decode=True)
    assert sorted(Path(path).name for path, _ in report.bad) == ["clip.mp3", "half.wav"]
    assert all("is cut short" in reason for _, reason in report.bad)
    found = {
        path.name: Probe().process([{"path": path.name}], tmp_path)[0].reason_code
        for path in tmp_path.iterdir()
    }
    assert found == {"clip.mp3": "truncated", "half.wav": "truncated", "plus16.wav": None}
    assert "its header says" in measure(tmp_path / "half.wav").notes[0]


@pytest.mark.parametrize("layout", ["mono", "stereo", "2.1", "5.1", "7.1"])
@pytest.mark.parametrize("codec", ["aac", "alac"])
def test_pyav_reads_any_number_of_channels(tmp_path: Path, layout: str, codec: str) -> None:
    try:
        path = aac(tmp_path / "a.m4a", layout, codec)
    except (ValueError, FFmpegError):
        assert codec == "alac"  # takes planar integers only
        return
    waveform, rate = read(path)
    assert rate == RATE and waveform.shape[0] == av.AudioLayout(layout).nb_channels
    assert abs(waveform.shape[1] - NUM_SAMPLES) < LENGTH_TOLERANCE_SECONDS * RATE


def test_pyav_that_changes_its_channels_is_named(tmp_path: Path) -> None:
    parts = [aac(tmp_path / f"{n}.aac", n).read_bytes() for n in ("stereo", "7.1")]
    (tmp_path / "both.aac").write_bytes(b"".join(parts))
    with pytest.raises(AudioError, match="changes from 2 channels") as caught:
        read(tmp_path / "both.aac")
    assert caught.value.reason_code == "format_changes"


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ({1_000: 1e29}, r"peaks at \+580 dBFS at sample 1000, \+40 is the most"),
        (2.0**15, r"peaks at \+8\d dBFS at sample \d+: integer scale; divide its samples by 2\^15"),
        (2.0**23, r"integer scale; divide its samples by 2\^23"),
        ({700: np.nan}, "is not finite: NaN or infinity at sample 700"),
    ],
)
def test_impossible_samples_are_named(
    tmp_path: Path, samples: dict[int, float] | float, message: str
) -> None:
    wave = WAVES.astype(np.float32)
    if isinstance(samples, dict):
        for place, value in samples.items():
            wave[place] = value
    else:
        wave *= samples
    path = tmp_path / "a.wav"
    soundfile.write(path, wave, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=message):
        read(path)


def test_names_are_neither_urls_nor_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "http:" / "x"
    folder.mkdir(parents=True)
    aac(tmp_path / "a.m4a").rename(folder / "y.m4a")
    monkeypatch.chdir(tmp_path)
    assert read("http:/x/y.m4a")[0].shape[0] == 2
    for suffix, data in {".wav": encoded("WAV"), ".m4a": (folder / "y.m4a").read_bytes()}.items():
        name = os.fsdecode(b"caf\xe9" + suffix.encode())
        Path(name).write_bytes(data or b"")
        assert read(name)[0].shape[1] > 20_000


def test_a_member_and_bytes_are_sources(tmp_path: Path) -> None:
    data = encoded("FLAC") or b""
    (tmp_path / "a.bin").write_bytes(b"before" + data + b"behind")
    member = Member(tmp_path / "a.bin", 6, len(data))
    assert torch.equal(read(member)[0], read(data)[0])
    assert exact_subtype(member) == "pcm16"


def test_half_an_hour_of_silence_is_measured_in_little_memory() -> None:
    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", RATE, 2, format="FLAC") as file:
        for _ in range(180):
            file.write(np.zeros((10 * RATE, 2), np.int16))
    tracemalloc.start()
    found = measure(buffer.getvalue())
    assert read(buffer.getvalue(), 100, 200)[0].shape == (2, 100)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.num_samples == 1_800 * RATE
    assert peak < 20e6


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_no_more_values_are_read_at_once_than_the_limit(
    channels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, length = tmp_path / "a.wav", 4 * RATE
    soundfile.write(path, np.full((length, channels), 0.1), RATE)
    monkeypatch.setattr("auralith.sound.reading.MOST_VALUES", length * channels)
    assert read(path)[0].shape == (channels, length)
    monkeypatch.setattr("auralith.sound.reading.MOST_VALUES", length * channels - 1)
    assert read(path, 1)[0].shape == (channels, length - 1)
    with pytest.raises(AudioError, match=r"a\.wav is longer than 4 s, the most") as caught:
        read(path)
    assert caught.value.reason_code == "too_long"


@pytest.mark.parametrize("place", [0, 7, (1 << 18) - 1, 1 << 18, (1 << 18) + 5, (1 << 19) + 2])
def test_the_worst_sample_is_found_in_any_block(place: int) -> None:
    waveform = torch.full((2, (1 << 19) + 3), 0.1)
    waveform[1, place] = -1e4
    with pytest.raises(AudioError, match=rf"peaks at \+80 dBFS at sample {place + 3}\b"):
        require_usable(waveform, "x", 3)
    waveform[0, place] = torch.nan
    with pytest.raises(AudioError, match=rf"NaN or infinity at sample {place + 3}$"):
        require_usable(waveform, "x", 3)
    whole = torch.full(
        (2, (1 << 19) + 3), 1e4
    )  # a level that is wrong throughout: its scale is told
    with pytest.raises(AudioError, match=r"integer scale; divide its samples by 2\^15"):
        require_usable(whole, "x")


def test_a_title_that_is_not_utf8_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(aac(tmp_path / "b.m4a"))) as source, av.open(str(path), "w") as target:
        target.metadata["title"] = "TITLETITLE"
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    expected = read(path)[0]
    data = path.read_bytes()
    assert data.count(b"TITLETITLE") == 1
    path.write_bytes(data.replace(b"TITLETITLE", b"\xff\xfe\xe9\x80TITLE\xff"))
    assert torch.equal(read(path)[0], expected)
