"""The tags inside a sound file: one JSON object where each format keeps a comment.

It is escaped to ASCII, since the comment fields of the formats disagree about everything else: the INFO list of WAV,
the Vorbis comment of FLAC and OGG, the ID3v2 comment of MP3. libsndfile drops a long comment of a WAV file, so that
one chunk is written and read here.
"""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import soundfile

from auralith.sound.sources import opened


def read_tags(path: str | Path) -> dict[str, Any] | None:
    """The JSON object inside a file written by `write`; None if there is none.

    Raises `AudioError` if the file is missing.
    """
    try:
        with opened(path, str(path)) as place, soundfile.SoundFile(place) as file:
            container, comment = file.format, file.comment
    except (soundfile.LibsndfileError, TypeError):
        return None
    if container in ("WAV", "WAVEX"):
        comment = _info_comment(Path(path).read_bytes())
    try:
        tags = json.loads(comment)
    except ValueError:
        return None
    return tags if isinstance(tags, dict) else None


def with_info_chunk(wav: bytes, comment: str) -> bytes:
    """A WAV file with `LIST INFO ICMT` behind its samples. Chunks are padded to even sizes (RIFF 1.0)."""
    text = comment.encode() + b"\0"
    entry = b"INFO" + _chunk(b"ICMT", text)
    data = wav + b"\0" * (len(wav) % 2) + _chunk(b"LIST", entry)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield name, data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _info_comment(wav: bytes) -> str:
    for name, body in _chunks(wav[12:]):
        if name == b"LIST" and body[:4] == b"INFO":
            for entry, text in _chunks(body[4:]):
                if entry == b"ICMT":
                    return text.rstrip(b"\0").decode(errors="replace")
    return ""
