"""Lengths in headers, put right before a decoder sees them.

A decoder stops where a header says that the sound ends. Recorders that crash, pipes and editors leave wrong lengths
there, so the length is taken from the file itself: the bytes behind the header of uncompressed sound, the frames of
MPEG audio, and all there are of FLAC. What the header said is kept for the report.
"""

import struct
from dataclasses import dataclass

from auralith.sound.mpeg import after_id3, find_frames, with_count
from auralith.sound.sources import Pieces

_STREAMED_BYTES = 0x7FFF_0000
"""A chunk that claims more was written to a pipe, whose length nobody knew."""
_STREAMED_LONG = 1 << 48
"""The same of a size in 64 bits."""
_TRAILING_TAG = 128
"""Bytes that may follow the sound without being a chunk: the length of an ID3v1 tag."""
_KNOWN_CHUNKS = ("LIST", "ID3", "id3", "TAG", "APET", "bext", "iXML", "cue", "smpl", "PEAK", "JUNK")
_FLAC_TOTAL = 21
"""Offset of the byte of STREAMINFO in whose lower half the 36 bits of the length begin (RFC 9639, section 8.2)."""


@dataclass(frozen=True)
class Mended:
    """A file that a decoder reads to its end, and what its header said of its length."""

    file: Pieces
    samples: int | None = None
    """Length that the header states, in samples of each channel, if it counts in samples; 0 if its field is empty."""
    ratio: float | None = 1.0
    """The stated length as a multiple of the present one, if the header states another measure; None if it states none."""
    counted: int | None = None
    """Samples that are there at most, where they were counted."""
    is_cut: bool = False
    """True if the file breaks off, though the missing length is unknown."""


@dataclass(frozen=True)
class _Data:
    """The chunk of the samples in a file of uncompressed sound."""

    start: int
    claimed: int
    """Bytes of sound by its header."""
    size_at: int
    code: str
    """Format of the stated size, as `struct` names it."""
    extra: int = 0
    """Bytes that the stated size counts besides."""
    big: bool = False
    """True if the chunks of the file are big-endian."""


def mended(file: Pieces, name: str) -> Mended:
    """The file with a length that reaches its end. Raises `AudioError` where MPEG audio changes its rate."""
    head = file.bytes_at(0, 12)
    start = after_id3(file)
    if file.bytes_at(start, 4) == b"fLaC":
        return _mended_flac(file, start)
    if data := _data_chunk(file, head):
        return _mended_data(file, data)
    if head[:4] == b"OggS":
        return _mended_ogg(file)
    if head[:4] in (b"\x1aE\xdf\xa3", b"0&\xb2u") or head[4:8] == b"ftyp":
        return Mended(file)  # Matroska, ASF, MP4: their lengths are for their own decoder
    return _mended_mpeg(file, name)


def _mended_flac(file: Pieces, start: int) -> Mended:
    at = start + _FLAC_TOTAL
    total = file.bytes_at(at, 5)
    if len(total) < 5:
        return Mended(file)
    stated = int.from_bytes(total) & (1 << 36) - 1
    return Mended(file.replaced(at, bytes([total[0] & 0xF0, 0, 0, 0, 0])), samples=stated)


def _mended_mpeg(file: Pieces, name: str) -> Mended:
    frames = find_frames(file, name)
    if frames is None or not frames.count:
        return Mended(file)
    if frames.stated is not None and frames.count <= frames.stated:
        return Mended(file, ratio=frames.stated / frames.count, counted=frames.num_samples)
    if frames.stated is None:
        return Mended(with_count(file, frames), ratio=None, counted=frames.num_samples)
    return Mended(with_count(file, frames), ratio=frames.stated / frames.count)


def _mended_data(file: Pieces, data: _Data) -> Mended:
    there = file.size - data.start
    limit = _STREAMED_BYTES if struct.calcsize(data.code) == 4 else _STREAMED_LONG
    if not 0 <= data.claimed < limit or (data.claimed + data.extra) >> 8 == 0xFF_FFFF:
        claimed, length = None, there
    elif data.claimed >= there or _chunks_follow(file, data):
        claimed, length = data.claimed, min(data.claimed, there)
    else:
        claimed, length = data.claimed or None, there
    most = (1 << 8 * struct.calcsize(data.code)) - 1 >> data.code.islower()
    field = struct.pack(data.code, min(length + data.extra, most))
    ratio = None if claimed is None or not length else claimed / length
    return Mended(file.replaced(data.size_at, field), ratio=ratio)


def _chunks_follow(file: Pieces, data: _Data) -> bool:
    """Return whether the sound ends where its header says: nothing follows, or a tag, or another chunk."""
    end = data.start + data.claimed
    if file.size - end <= _TRAILING_TAG:
        return bool(data.claimed) or file.size <= end + 1
    for place in (end, end + data.claimed % 2):
        head = file.bytes_at(place, 8)
        tag = head[:4].decode("latin-1")
        if not all(" " <= letter <= "~" for letter in tag):
            continue
        size = struct.unpack(">I" if data.big else "<I", head[4:])[0]
        if tag.startswith(_KNOWN_CHUNKS) or place + 8 + size <= file.size + 1:
            return True
    return False


def _data_chunk(file: Pieces, head: bytes) -> _Data | None:
    match head[:4]:
        case b"RIFF" | b"RF64" | b"BW64":
            return _riff_data(file, "<")
        case b"RIFX":
            return _riff_data(file, ">")
        case b"FORM" if head[8:12] in (b"AIFF", b"AIFC"):
            return _aiff_data(file)
        case b".snd" | b"dns.":
            code = ">I" if head[:1] == b"." else "<I"
            start, claimed = struct.unpack(code[0] + "II", head[4:12].ljust(8, b"\0"))
            return _Data(start, claimed or -1, 8, code, big=True) if start < file.size else None
        case b"riff":
            return _w64_data(file)
        case b"caff":
            return _caf_data(file)
    return None


def _riff_data(file: Pieces, order: str) -> _Data | None:
    place, long_size = 12, None
    while len(head := file.bytes_at(place, 8)) == 8:
        tag, size = struct.unpack(order + "4sI", head)
        if tag == b"ds64":
            long_size = place + 16
        if tag == b"data" and long_size is not None and size == 0xFFFF_FFFF:
            claimed = struct.unpack("<Q", file.bytes_at(long_size, 8))[0]
            return _Data(place + 8, claimed, long_size, "<Q")
        if tag == b"data":
            return _Data(place + 8, size, place + 4, order + "I", big=order == ">")
        place += 8 + size + size % 2
    return None


def _aiff_data(file: Pieces) -> _Data | None:
    place = 12
    while len(head := file.bytes_at(place, 8)) == 8:
        tag, size = struct.unpack(">4sI", head)
        if tag == b"SSND":
            return _Data(place + 16, (size or 7) - 8, place + 4, ">I", extra=8, big=True)
        place += 8 + size + size % 2
    return None


def _w64_data(file: Pieces) -> _Data | None:
    place = 40
    while len(head := file.bytes_at(place, 24)) == 24:
        size = struct.unpack("<Q", head[16:])[0]
        if head[:4] == b"data":
            return _Data(place + 24, size - 24 if size > 24 else -1, place + 16, "<Q", extra=24)
        if size < 24:
            return None
        place += size + -size % 8
    return None


def _caf_data(file: Pieces) -> _Data | None:
    place = 8
    while len(head := file.bytes_at(place, 12)) == 12:
        tag, size = struct.unpack(">4sq", head)
        if tag == b"data":
            claimed = size - 4 if size > 0 else -1
            return _Data(place + 16, claimed, place + 4, ">q", extra=4, big=True)
        if size < 0:
            return None
        place += 12 + size
    return None


def _mended_ogg(file: Pieces) -> Mended:
    """Return an Ogg file with what its last page tells (RFC 3533, section 6).

    A page that breaks off was cut. A whole one that isn't marked as the end of its stream (flag 4 of byte 5) belongs to a
    recording that was never closed.
    """
    tail = file.bytes_at(max(0, file.size - 131_072), 131_072)  # two pages at least
    page = tail[max(0, tail.rfind(b"OggS")) :]
    if len(page) < 27 or len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]):
        return Mended(file, ratio=None, is_cut=True)
    return Mended(file, ratio=1.0 if page[5] & 4 else None)
