"""One recording as every kind of dataset describes it, and a list of them with their sound.

`auralith.data.recordings` makes such a list of a table, a folder or shards. Items are read by position, in any order and
from any thread; nothing is decoded before it is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from auralith.escaping import printable
from auralith.sound.extent import SoundInfo, read_info
from auralith.sound.reading import read
from auralith.sound.sources import Source
from auralith.tables import cells


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound with what is known about it.

    One without prompts gets one made from its `metadata`; an empty prompt is a mistake.
    """

    id: str
    """Unique in its dataset and the same in every run: the path as the dataset writes it."""
    path: str
    """For messages; a member of a shard is `shard.tar/name`."""
    prompts: tuple[str, ...]
    """Captions of the sound; each use draws one."""
    metadata: Mapping[str, str]
    problem: str = ""
    """Reason why its prompt can't be used; empty if it can."""

    @property
    def prompt(self) -> str | None:
        """Return the first of its prompts, or None without one."""
        return next(iter(self.prompts), None)


class StoredRecording(NamedTuple):
    """A recording and the place of its bytes."""

    recording: Recording
    source: Source


def recording(
    id: str, path: str, fields: Mapping[str, Any], prompt_key: str | None, place: str
) -> Recording:
    """Return a recording of what was read. Its name and path may hold bytes that are not UTF-8, which are escaped.

    `prompt_key` names the field of its prompts, one or a list; the other fields become text.

    Raises:
        InvalidRequest: something is not UTF-8; `place` says where.
    """
    place = printable(place)
    prompts: tuple[str, ...] = ()
    problem = ""
    if prompt_key is not None:
        try:
            prompts = cells.captions(fields.get(prompt_key), f"{place}: the {prompt_key}") or ()
        except cells.NotText as error:  # the scan counts it
            problem = str(error)
    others = {name: value for name, value in fields.items() if name != prompt_key}
    metadata = cells.fields(others, place)
    return Recording(printable(id), printable(path), prompts, metadata, problem)


@runtime_checkable
class Recordings(Protocol):
    """A list of recordings with their sound. Every method may be called from several threads."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int) -> Recording: ...

    def info(self, i: int) -> SoundInfo:
        """Length, rate and channels from the header. Raises as `read` does."""
        ...

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        """Samples [start, stop) in float32 at the file's own rate, and that rate in Hz; cut at the file's end.

        Raises:
            AudioError: the file is missing, unreadable, empty, cut short, or holds NaN or an impossible level, or its
                format needs PyAV; it is named.
        """
        ...

    def seconds(self, i: int) -> float:
        """Length of the whole file, from the header."""
        return self.info(i).seconds


class StoredRecordings(Recordings):
    """Recordings in files or in members of tar files."""

    def __init__(self, entries: Sequence[StoredRecording]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, i: int) -> Recording:
        return self._entries[i].recording

    def info(self, i: int) -> SoundInfo:
        recording, source = self._entries[i]
        return read_info(source, name=recording.path)

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        recording, source = self._entries[i]
        return read(source, start, stop, name=recording.path)
