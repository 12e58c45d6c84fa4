"""The frames of an MPEG audio file (layers I to III), counted one by one.

Only a Xing, Info or VBRI header states a length; without one, decoders guess it from the first frame's bit rate and
stop there. The count of frames is exact (ISO/IEC 11172-3, section 2.4.1, and 13818-3).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from auralith.errors import AudioError
from auralith.sound.sources import Pieces

_RATES_HZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Sample rates by version, as two bits write it: 3 is MPEG 1, 2 is MPEG 2, 0 is MPEG 2.5."""
_KBITS = {
    (1, 3): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 1): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 3): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 1): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By MPEG version (1; 2 and 2.5) and layer, as two bits write it: 3 is layer I, 1 is layer III."""
_SEARCH = 1 << 17
"""Bytes in which the first frame must begin behind the ID3 tag."""
_SLAB = 1 << 20
_RUN = 3
"""Frames in a row that make it sure that they are frames."""


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Contents of the four bytes of a frame's header."""

    version: int
    layer: int
    sample_rate: int
    is_mono: bool
    size: int
    """Bytes of the frame."""

    @property
    def samples(self) -> int:
        """Return the samples of each channel in a frame."""
        if self.layer == 3:
            return 384
        return 576 if self.layer == 1 and self.version != 3 else 1_152

    @property
    def kind(self) -> tuple[int, int, int, bool]:
        """Return what all frames of a file have in common."""
        return self.version, self.layer, self.sample_rate, self.is_mono


@dataclass(frozen=True)
class Frames:
    """The frames of a file."""

    first: FrameHeader
    start: int
    """Position of the first one's beginning."""
    stop: int
    """Position of the last one's end."""
    count: int
    """Number of frames besides one that holds a Xing, Info or VBRI header."""
    stated: int | None
    """Number that this header states; None without such a header."""
    counter: int | None
    """Position of its count of frames."""

    @property
    def num_samples(self) -> int:
        return self.count * self.first.samples


def find_frames(file: Pieces, name: str) -> Frames | None:
    """Return all frames of a file; None unless it is MPEG audio of a stated bit rate.

    Raises:
        AudioError: the sample rate or the number of channels changes on the way.
    """
    start = _first_frame(file)
    if start is None:
        return None
    first = _header(file.bytes_at(start, 4))
    assert first is not None
    stated, counter = _stated(file, start, first)
    count, stop = 0, start
    for end in _walk(file, start, first, name):
        count, stop = count + 1, end
    return Frames(first, start, stop, count - (counter is not None), stated, counter)


def with_count(file: Pieces, frames: Frames) -> Pieces:
    """The frames alone, behind a header that states their number.

    Without a header of its own the file gets one, and a frame of silence at its end, which is counted too: a decoder
    drops its delay of 529 samples at the beginning and finds as many in that frame.
    """
    if frames.counter is None:
        sound = file.cut(frames.start, frames.stop)
        return file.of([_silence(file, frames, frames.count + 1), *sound, _silence(file, frames)])
    corrected = file.replaced(frames.counter, struct.pack(">I", frames.count))
    return corrected.of(corrected.cut(frames.start, frames.stop))


def _header(four: bytes) -> FrameHeader | None:
    if len(four) < 4 or four[0] != 0xFF or four[1] & 0xE0 != 0xE0:
        return None
    version, layer = four[1] >> 3 & 3, four[1] >> 1 & 3
    bitrate, rate = four[2] >> 4, four[2] >> 2 & 3
    if version == 1 or layer == 0 or rate == 3 or bitrate in (0, 15):
        return None
    sample_rate = _RATES_HZ[version][rate]
    bits = _KBITS[1 if version == 3 else 2, layer][bitrate] * 1_000
    padding = four[2] >> 1 & 1
    if layer == 3:
        size = (12 * bits // sample_rate + padding) * 4
    else:
        size = (72 if layer == 1 and version != 3 else 144) * bits // sample_rate + padding
    return FrameHeader(version, layer, sample_rate, four[3] >> 6 == 3, size)


def _first_frame(file: Pieces) -> int | None:
    """Behind ID3 tags, zeros and junk, where frames begin that follow each other."""
    start = after_id3(file)
    head = file.bytes_at(start, _SEARCH + 4 * 2_048)
    place = head.find(b"\xff")
    while 0 <= place < _SEARCH:
        if _is_run(head, place, reaches_end=start + len(head) >= file.size):
            return start + place
        place = head.find(b"\xff", place + 1)
    return None


def after_id3(file: Pieces) -> int:
    """Return where the ID3v2 tags at the beginning of a file end."""
    start = 0
    while (head := file.bytes_at(start, 10))[:3] == b"ID3" and len(head) == 10:
        size = sum((byte & 127) << 7 * (3 - i) for i, byte in enumerate(head[6:]))
        start += 10 + size + (10 if head[5] & 16 else 0)
    return start


def _is_run(data: bytes, place: int, *, reaches_end: bool) -> bool:
    first = _header(data[place : place + 4])
    header = first
    for number in range(_RUN):
        if header is None or first is None or header.kind != first.kind:
            return False
        place += header.size
        if reaches_end and place + 4 > len(data):
            return number > 0 or place <= len(data) + header.size
        header = _header(data[place : place + 4])
    return True


def _walk(file: Pieces, start: int, first: FrameHeader, name: str) -> Iterator[int]:
    """Return where each whole frame ends; what lies between frames is skipped."""
    slab, base = file.bytes_at(start, _SLAB), start
    place = start
    while place + 4 <= file.size:
        if place - base + 4_096 > len(slab) and base + len(slab) < file.size:
            slab, base = file.bytes_at(place, _SLAB), place
        inside = place - base
        header = _header(slab[inside : inside + 4])
        if header is None or header.kind != first.kind:
            if header is not None and _is_run(slab, inside, reaches_end=False):
                raise AudioError(
                    f"{name} changes its sample rate or channels on the way; cut it there",
                    "format_changes",
                )
            following = _next_run(slab, inside + 1, first)
            if following is None:
                place = base + max(len(slab) - 4_096, inside + 1)
                continue
            place = base + following
            continue
        place += header.size
        if place > file.size:
            return
        yield place


def _next_run(slab: bytes, inside: int, first: FrameHeader) -> int | None:
    found = slab.find(b"\xff", inside)
    while found >= 0:
        header = _header(slab[found : found + 4])
        if header and header.kind == first.kind and _is_run(slab, found, reaches_end=False):
            return found
        found = slab.find(b"\xff", found + 1)
    return None


def _side_size(first: FrameHeader) -> int:
    if first.version == 3:
        return 17 if first.is_mono else 32
    return 9 if first.is_mono else 17


def _stated(file: Pieces, start: int, first: FrameHeader) -> tuple[int | None, int | None]:
    """The count of frames that a Xing or Info header (or a VBRI one) states, and where it stands."""
    frame = file.bytes_at(start, first.size)
    place = 4 + _side_size(first)
    if frame[place : place + 4] in (b"Xing", b"Info") and len(frame) >= place + 12:
        if frame[place + 7] & 1:
            return struct.unpack_from(">I", frame, place + 8)[0], start + place + 8
        return None, None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return struct.unpack_from(">I", frame, 50)[0], start + 50
    return None, None


def _silence(file: Pieces, frames: Frames, count: int | None = None) -> bytes:
    """A frame of silence, which states a number of frames where one is given."""
    head = file.bytes_at(frames.start, 4)
    side = _side_size(frames.first)
    info = b"" if count is None else b"Info" + struct.pack(">II", 1, count)
    for index in range(1, 15):  # the smallest that has room
        four = bytes([head[0], head[1] | 1, index << 4 | head[2] & 0x0C, head[3]])
        header = _header(four)
        if header and header.size >= 4 + side + len(info):
            return (four + bytes(side) + info).ljust(header.size, b"\0")
    raise AssertionError  # the largest frames hold more
