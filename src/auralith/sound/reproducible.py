"""Encoded sounds without what libsndfile puts in of its own: the same samples give the same bytes, at any time.

It draws a serial number for each Ogg stream, and writes the time into the PEAK chunk of a WAV file of floats. The serial
number becomes a checksum of the file, so that two different sounds may still be chained (RFC 3533, section 4).
"""

import struct
import zlib
from collections.abc import Iterator

from auralith.sound.sources import opened
from auralith.sound.tags import riff_chunks

_SERIAL, _CHECKSUM = slice(14, 18), slice(22, 26)
"""Places in the header of an Ogg page."""
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def reproducible(data: bytes, container: str) -> bytes:
    """Return the bytes of a file that libsndfile wrote, without its random number or its time."""
    match container:
        case "OGG":
            return _with_own_serial(data)
        case "WAV":
            return _without_time(data)
        case _:
            return data


def _with_own_serial(data: bytes) -> bytes:
    pages = [bytearray(page) for page in _pages(data)]
    for page in pages:
        page[_SERIAL] = page[_CHECKSUM] = bytes(4)
    serial = struct.pack("<I", zlib.crc32(b"".join(pages)))
    for page in pages:
        page[_SERIAL] = serial
        page[_CHECKSUM] = struct.pack("<I", _ogg_checksum(page))
    return b"".join(pages)


def _pages(data: bytes) -> Iterator[bytes]:
    """Yield the pages of an Ogg file: a header of 27 bytes, the lengths of its segments, and those."""
    place = 0
    while place < len(data):
        lengths = data[place + 27 : place + 27 + data[place + 26]]
        end = place + 27 + len(lengths) + sum(lengths)
        yield data[place:end]
        place = end


def _ogg_checksum(page: bytearray) -> int:
    """Return the CRC of a page whose own checksum is 0.

    It has the polynomial of zlib's, but takes the highest bit of each byte first and inverts neither start nor end.
    """
    found = zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{found:032b}"[::-1], 2)


def _without_time(wav: bytes) -> bytes:
    with opened(wav, "the sound") as file:
        for name, start, _ in riff_chunks(file, 12, file.size):
            if name == b"PEAK":  # a version, then the time
                return wav[: start + 4] + bytes(4) + wav[start + 8 :]
    return wav
