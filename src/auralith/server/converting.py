"""A sound in another format than it was made in, with the same tags."""

import tempfile
from pathlib import Path

from auralith.errors import Field, InvalidRequest, shown
from auralith.jobs.names import FORMATS, Format
from auralith.provenance import read_provenance
from auralith.sound.formats import nearest_subtype
from auralith.sound.reading import read
from auralith.sound.stream import open_sound
from auralith.sound.writing import write

SUBTYPES = {"pcm_16": "pcm16", "pcm_24": "pcm24", "float": "float"}
"""Sample formats that a file may be written in, by what `SoundFormat.codec` calls them."""


def format_of(name: str) -> Format:
    """Return the format of requests that is called so. Raise `InvalidRequest` where there is none."""
    for known in FORMATS:
        if known == name:
            return known
    raise InvalidRequest(
        Field("format"),
        f" is {shown(name)}; choose one of {', '.join(FORMATS)}",
        limit={"enum": list(FORMATS)},
    )


def converted(path: Path, name: Format) -> bytes:
    """Return the bytes of a sound in a format; of WAV and FLAC, in the sample format that it has, if they can.

    Samples beyond full scale are clipped where the format can't hold them.
    """
    suffix, subtype = FORMATS[name]
    waveform, sample_rate = read(path)
    with open_sound(path) as stream:
        own = SUBTYPES.get(stream.format.codec)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / f"sound.{suffix}"
        if subtype is None and own is not None:
            subtype = nearest_subtype(target, own)
        tags = read_provenance(path).to_tags()
        write(target, waveform, sample_rate, subtype=subtype, tags=tags)
        return target.read_bytes()
