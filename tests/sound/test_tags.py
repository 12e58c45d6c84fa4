"""Tags where this package and other programs put them."""

import io
import json
import struct
from pathlib import Path
from typing import Any

import av
import pytest
import torch

from auralith.sound.tags import read_tags
from auralith.sound.writing import write

TAGS = {"generator": "auralith", "prompt": "rain", "settings": {"seed": 1}}
RATE = 48_000


def converted(source: Path, target: Path, codec: str) -> Path:
    """As FFmpeg converts a file: its metadata under the names of the other container."""
    with av.open(str(source)) as sound, av.open(str(target), "w") as out:
        metadata = {**sound.metadata, **sound.streams.audio[0].metadata}
        out.metadata.update(metadata)
        stream: Any = out.add_stream(codec, rate=RATE, layout="stereo")
        if target.suffix in (".ogg", ".opus"):
            stream.metadata.update(metadata)
        resampler = av.AudioResampler(
            stream.codec_context.format, "stereo", RATE, stream.codec_context.frame_size or 1_024
        )
        for frame in [*sound.decode(audio=0), None]:
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return target


@pytest.mark.parametrize("source", [".wav", ".flac", ".ogg", ".mp3"])
@pytest.mark.parametrize(
    ("target", "codec"),
    [
        (".wav", "pcm_s16le"),
        (".flac", "flac"),
        (".mp3", "libmp3lame"),
        (".ogg", "flac"),
        (".opus", "libopus"),
        (".m4a", "aac"),
    ],
)
def test_tags_survive_a_conversion(tmp_path: Path, source: str, target: str, codec: str) -> None:
    path = tmp_path / f"a{source}"
    write(path, 0.1 * torch.rand(2, RATE // 2), RATE, tags=TAGS)
    assert read_tags(converted(path, tmp_path / f"b{target}", codec)) == TAGS


def id3(*frames: bytes, version: int = 4) -> bytes:
    body = b"".join(frames)
    size = bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3" + bytes([version, 0, 0]) + size + body


def frame(name: bytes, body: bytes, version: int = 4) -> bytes:
    size = (
        bytes(len(body) >> shift & 127 for shift in (21, 14, 7, 0))
        if version == 4
        else struct.pack(">I", len(body))
    )
    return name + size + b"\0\0" + body


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize(
    ("name", "start"),
    [
        (b"COMM", b"\0eng\0"),
        (b"COMM", b"\3deu\0"),
        (b"COMM", b"\0XXXdescription\0"),
        (b"TXXX", b"\0comment\0"),
        (b"TXXX", b"\3COMMENT\0"),
    ],
)
def test_every_comment_of_id3_is_found(name: bytes, start: bytes, version: int) -> None:
    text = start + json.dumps(TAGS).encode()
    other = frame(b"COMM", b"\0engiTunNORM\0 0000", version)
    assert read_tags(id3(other, frame(name, text, version), version=version)) == TAGS


def test_wide_text_of_id3_is_found() -> None:
    for code, encoding in ((b"\1", "utf-16"), (b"\2", "utf-16-be")):
        text = code + b"eng" + "d".encode(encoding) + b"\0\0" + json.dumps(TAGS).encode(encoding)
        assert read_tags(id3(frame(b"COMM", text))) == TAGS


@pytest.mark.parametrize("comment", ["[" * 100_000, '{"a":' * 50_000, "[1, 2]", "NaN", '"x"', ""])
def test_a_hostile_comment_is_no_tag(tmp_path: Path, comment: str) -> None:
    write(tmp_path / "a.wav", torch.zeros(1, 9), RATE)
    data = (tmp_path / "a.wav").read_bytes()
    text = comment.encode() + b"\0" * (2 - len(comment) % 2)
    entry = b"INFOICMT" + struct.pack("<I", len(text)) + text
    data += b"LIST" + struct.pack("<I", len(entry)) + entry
    (tmp_path / "a.wav").write_bytes(data)
    assert read_tags(tmp_path / "a.wav") is None


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_damaged_tags_are_no_tags_and_no_traceback(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write(path, torch.zeros(2, 2_000), RATE, tags=TAGS)
    data = path.read_bytes()
    for seed in range(60):
        generator = torch.Generator().manual_seed(seed)
        spoiled = io.BytesIO(data)
        for place in torch.randint(0, min(len(data), 600), (8,), generator=generator).tolist():
            spoiled.seek(place)
            spoiled.write(bytes([seed * 37 % 256]))
        assert isinstance(read_tags(spoiled.getvalue()), dict | None)
