"""The tags inside a sound file: one JSON object where each format keeps a comment.

It is escaped to ASCII, since the comment fields of the formats disagree about everything else. Other programs move it
when they convert a file: to DESCRIPTION in Vorbis comments, to TXXX or to a COMM frame of another language in ID3, to
©cmt in MP4, to the INFO list of WAV. All of these places are looked at, whatever the file's suffix is. libsndfile drops
a long comment of a WAV file, so that one chunk is written here.
"""

import struct
from collections.abc import Iterator
from typing import Any

from auralith.foreign import parse_json
from auralith.sound.mpeg import after_id3
from auralith.sound.sources import Pieces, Source, opened

_MOST_BYTES = 1 << 24
"""A comment is not longer; what is bigger in a header is a picture, or an attack."""
_VORBIS_NAMES = ("comment", "description")


def read_tags(source: Source | str) -> dict[str, Any] | None:
    """The JSON object inside a file written by `write`, or converted from one; None if the file lacks it.

    Raises `AudioError` if the file is missing or empty.
    """
    with opened(source, "the sound" if isinstance(source, bytes) else str(source)) as file:
        for comment in _comments(file):
            if (tags := _object(comment)) is not None:
                return tags
    return None


def _object(comment: bytes) -> dict[str, Any] | None:
    try:
        tags = parse_json(comment.rstrip(b"\0").decode("utf-8", errors="replace"))
    except ValueError:
        return None
    return tags if isinstance(tags, dict) else None


def _comments(file: Pieces) -> Iterator[bytes]:
    yield from _id3_comments(file, 0)
    start = after_id3(file)
    head = file.bytes_at(start, 12)
    match head[:4]:
        case b"RIFF" | b"RF64" | b"BW64":
            yield from _riff_comments(file)
        case b"FORM":
            yield from _aiff_comments(file)
        case b"fLaC":
            yield from _flac_comments(file, start + 4)
        case b"OggS":
            yield from _ogg_comments(file)
        case _ if head[4:8] == b"ftyp":
            yield from _mp4_comments(file)


def with_info_chunk(wav: bytes, comment: str) -> bytes:
    """A WAV file with `LIST INFO ICMT` behind its samples. Chunks are padded to even sizes (RIFF 1.0)."""
    text = comment.encode() + b"\0"
    entry = b"INFO" + _chunk(b"ICMT", text)
    data = wav + b"\0" * (len(wav) % 2) + _chunk(b"LIST", entry)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def riff_chunks(
    file: Pieces, place: int, stop: int, order: str = "<"
) -> Iterator[tuple[bytes, int, int]]:
    """Name, start and size of each chunk of a stretch."""
    while place + 8 <= stop:
        name, size = struct.unpack(order + "4sI", file.bytes_at(place, 8))
        yield name, place + 8, min(size, stop - place - 8)
        place += 8 + size + size % 2


def _riff_comments(file: Pieces) -> Iterator[bytes]:
    for name, start, size in riff_chunks(file, 12, file.size):
        if name == b"LIST" and file.bytes_at(start, 4) == b"INFO":
            for entry, at, length in riff_chunks(file, start + 4, start + size):
                if entry == b"ICMT":
                    yield file.bytes_at(at, min(length, _MOST_BYTES))
        elif name in (b"id3 ", b"ID3 "):
            yield from _id3_comments(file, start)


def _aiff_comments(file: Pieces) -> Iterator[bytes]:
    for name, start, size in riff_chunks(file, 12, file.size, ">"):
        if name == b"ANNO":
            yield file.bytes_at(start, min(size, _MOST_BYTES))
        elif name in (b"ID3 ", b"id3 "):
            yield from _id3_comments(file, start)


def _flac_comments(file: Pieces, place: int) -> Iterator[bytes]:
    """From the metadata blocks (RFC 9639, section 8): a kind, and 24 bits of size."""
    while len(head := file.bytes_at(place, 4)) == 4:
        size = int.from_bytes(head[1:])
        if head[0] & 127 == 4:
            yield from _vorbis_comments(file.bytes_at(place + 4, min(size, _MOST_BYTES)))
        if head[0] & 128:
            return
        place += 4 + size


def _ogg_comments(file: Pieces) -> Iterator[bytes]:
    """From the second packet, which is the comment header of Vorbis, Opus and FLAC in Ogg."""
    packet = b""
    number = place = 0
    while number < 4 and len(head := file.bytes_at(place, 27)) == 27 and head[:4] == b"OggS":
        lengths = file.bytes_at(place + 27, head[26])
        place += 27 + len(lengths)
        for length in lengths:
            packet += file.bytes_at(place, length)
            place += length
            if length == 255 and len(packet) < _MOST_BYTES:
                continue
            for mark in (b"\x03vorbis", b"OpusTags"):
                if packet.startswith(mark):
                    yield from _vorbis_comments(packet[len(mark) :])
            if packet[:1] == b"\x84" or packet[:1] == b"\x04":
                yield from _vorbis_comments(packet[4:])
            number, packet = number + 1, b""


def _vorbis_comments(block: bytes) -> Iterator[bytes]:
    """From a vendor and `NAME=value` entries, each behind its length."""
    if len(block) < 8:
        return
    place = 4 + struct.unpack_from("<I", block)[0] + 4
    while place + 4 <= len(block):
        size = struct.unpack_from("<I", block, place)[0]
        name, _, value = block[place + 4 : place + 4 + size].partition(b"=")
        if name.decode("latin-1").lower() in _VORBIS_NAMES:
            yield value
        place += 4 + size


def _id3_comments(file: Pieces, start: int) -> Iterator[bytes]:
    """From COMM and TXXX frames of an ID3v2 tag (2.2 to 2.4), whatever their language and description are."""
    head = file.bytes_at(start, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return
    version, place = head[3], start + 10
    stop = start + 10 + _synchsafe(head[6:10])
    wide = version > 2
    while place + 10 <= stop:
        frame = file.bytes_at(place, 10 if wide else 6)
        name = frame[: 4 if wide else 3]
        if len(frame) < (10 if wide else 6) or not name.strip(b"\0"):
            return
        field = frame[4:8] if wide else frame[3:6]
        size = _synchsafe(field) if version == 4 else int.from_bytes(field)
        place += len(frame)
        if name in (b"COMM", b"TXXX", b"COM", b"TXX"):
            body = file.bytes_at(place, min(size, _MOST_BYTES))
            yield from _id3_text(body, 4 if name[:1] == b"C" else 1)
        place += size


def _synchsafe(four: bytes) -> int:
    return sum((byte & 127) << 7 * (len(four) - 1 - i) for i, byte in enumerate(four))


def _id3_text(body: bytes, skipped: int) -> Iterator[bytes]:
    """The value behind a description, as UTF-8."""
    wide = body[:1] in (b"\1", b"\2")
    encoding = {b"\0": "latin-1", b"\1": "utf-16", b"\2": "utf-16-be"}.get(body[:1], "utf-8")
    rest = body[skipped:]
    width = 2 if wide else 1
    for end in range(0, len(rest) - width + 1, width):
        if rest[end : end + width] == bytes(width):
            value = rest[end + width :].decode(encoding, errors="replace")
            yield value.rstrip("\0").encode()
            return


def _mp4_comments(file: Pieces) -> Iterator[bytes]:
    """From moov/udta/meta/ilst/©cmt."""
    for path in ((b"moov", b"udta", b"meta", b"ilst"), (b"moov", b"meta", b"ilst")):
        stretch: tuple[int, int] | None = (0, file.size)
        for name in path:
            stretch = _atom(file, stretch, name)
            if stretch is None:
                break
            if name == b"meta":
                stretch = (stretch[0] + 4, stretch[1])
        for name in (b"\xa9cmt", b"desc", b"ldes"):
            if (
                stretch
                and (atom := _atom(file, stretch, name))
                and (data := _atom(file, atom, b"data"))
            ):
                yield file.bytes_at(data[0] + 8, min(data[1] - data[0] - 8, _MOST_BYTES))


def _atom(file: Pieces, stretch: tuple[int, int], wanted: bytes) -> tuple[int, int] | None:
    """Return where the content of an atom of a stretch begins and ends (ISO/IEC 14496-12, section 4.2)."""
    place, stop = stretch
    while place + 8 <= stop:
        size, name = struct.unpack(">I4s", file.bytes_at(place, 8))
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", file.bytes_at(place + 8, 8).ljust(8, b"\0"))[0], 16
        end = stop if size == 0 else min(stop, place + size)
        if name == wanted:
            return place + header, end
        if size and size < header:
            return None
        place = end
    return None
