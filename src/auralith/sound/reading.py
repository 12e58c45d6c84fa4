"""Sound out of a file, a member of a tar file or memory: all of it, or a stretch of its samples.

libsndfile comes first and seeks, so that a crop of a long file costs a crop; codecs that can't seek are decoded from
the beginning. What it can't open goes to PyAV (the extra `av`). Samples keep their own rate and channels. The file is
named in every error; NaN, infinity and impossible levels are refused.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import AudioError
from auralith.sound.extent import no_samples
from auralith.sound.levels import require_usable
from auralith.sound.sources import Source
from auralith.sound.stream import SoundStream, open_sound

_EXACT = {"PCM_S8": "pcm16", "PCM_U8": "pcm16", "PCM_16": "pcm16", "PCM_24": "pcm24"}
"""libsndfile's encodings to the subtypes that hold all their values; the others need floats."""
MOST_VALUES = 2 * 48_000 * 3_600
"""Samples times channels that are read at once: an hour of stereo at 48 kHz, 1.4 GB. A file of silence unpacks to
thousands of times its size, and headers may claim anything."""


def read(
    source: Source | str,
    start: int = 0,
    stop: int | None = None,
    *,
    name: str = "",
    allow_cut: bool = False,
) -> tuple[Float[Tensor, "channel sample"], int]:
    """Samples [start, stop) of a file, or all of them, and the sample rate in Hz.

    A stretch beyond the end is cut at the end, and may be empty. `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, is empty or damaged, ends before its header says
            (unless `allow_cut`), holds more than `MOST_VALUES`, or NaN, infinity or an impossible level; `reason_code`
            says which.
    """
    with open_sound(source, name) as stream:
        samples = _collected(stream, start, stop, allow_cut=allow_cut)
        name, sample_rate = stream.name, stream.format.sample_rate
    if start == 0 and stop != 0 and not len(samples):
        raise no_samples(name)
    waveform = torch.from_numpy(np.ascontiguousarray(samples.T))
    require_usable(waveform, name, start)
    return waveform, sample_rate


def exact_subtype(path: Source | str) -> str:
    """The sample format that holds a file's samples as `read` gives them: floats where it is coded otherwise."""
    with open_sound(path) as stream:
        return _EXACT.get(stream.format.encoding, "float")


def _collected(
    stream: SoundStream, start: int, stop: int | None, *, allow_cut: bool
) -> Float[np.ndarray, "sample channel"]:
    """All of a stretch, from as many blocks as it takes. Raises `AudioError` ("too_long") beyond `MOST_VALUES`."""
    blocks = [np.zeros((0, stream.format.channels), np.float32)]
    room = MOST_VALUES
    for block in stream.blocks(start, stop, allow_cut=allow_cut):
        room -= block.size
        if room < 0:
            seconds = MOST_VALUES // stream.format.channels / stream.format.sample_rate
            raise AudioError(
                f"{stream.name} is longer than {seconds:.0f} s, the most that is read of its format at once; cut it",
                "too_long",
            )
        blocks.append(block)
    return np.concatenate(blocks)
