"""Length, rate and channels of a sound, without its samples where the file states them."""

from dataclasses import dataclass, field

from auralith.errors import AudioError
from auralith.sound.sources import Source
from auralith.sound.stream import open_sound


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """Extent of a sound. The length of a FLAC file, or of one that PyAV reads, is its header's."""

    num_samples: int
    sample_rate: int
    channels: int
    note: str | None = field(default=None, compare=False)
    """Statement of the header that differs, if by more than 0.1 s."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def read_info(source: Source | str, *, name: str = "") -> SoundInfo:
    """Length, rate and channels without decoding where the file states them; `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, or is empty; `reason_code` says which.
    """
    with open_sound(source, name) as stream:
        form, length = stream.format, stream.samples_there
        if length is None:
            length = sum(len(block) for block in stream.blocks(allow_cut=True))
        if length < 1:
            raise no_samples(stream.name)
        return SoundInfo(length, form.sample_rate, form.channels, stream.disagreement(length))


def no_samples(name: str) -> AudioError:
    """Return the error about a sound without any."""
    return AudioError(f"{name} holds no samples; leave it out or replace it", "no_samples")
