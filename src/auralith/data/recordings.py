"""The door to a dataset: `open_recordings` makes the same list of recordings of a table, a folder or shards.

Items are read by position, in any order and from any thread; nothing is decoded before it is asked for. Opening lists
what the dataset says; whether each file can be used is for the scan (`auralith.data.report`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from auralith.data.entries import Entry, Recording
from auralith.data.folders import read_folder
from auralith.data.shards import expand_shards, read_shards
from auralith.data.tables import read_table
from auralith.errors import InvalidRequest
from auralith.sound.reading import SoundInfo, read, read_info
from auralith.tables import SUFFIXES


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

    def __init__(self, entries: Sequence[Entry]) -> None:
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


def open_recordings(
    path: str | Path, *, path_column: str = "path", prompt_column: str | None = "prompt"
) -> StoredRecordings:
    """The recordings of a dataset.

    `path` is a table (.csv, .tsv, .jsonl, .json or .parquet); a folder of sounds with .txt or .json files beside
    them; a .tar shard, a pattern of shards with braces, or a folder of shards. `prompt_column` is also the key of the
    prompt in JSON; with None every prompt is made from the other fields. Columns are found in any case, and under
    their usual names under the other names of `tables.names` too.

    Raises:
        InvalidRequest: the path doesn't exist or is none of these, a column is missing (named), a table is damaged.
        MissingExtra: Parquet or shards without their library.
    """
    return StoredRecordings(_entries(Path(path), path_column, prompt_column))


def _entries(path: Path, path_column: str, prompt_column: str | None) -> list[Entry]:
    if path.suffix.lower() in SUFFIXES and path.is_file():
        return read_table(path, path_column, prompt_column)
    if path.suffix.lower() == ".tar" and (path.is_file() or "{" in str(path)):
        return read_shards(expand_shards(path), prompt_column)
    if not path.exists():
        raise InvalidRequest(f"{path} doesn't exist; give a table, a folder or shards of sounds")
    if not path.is_dir():
        known = ", ".join(SUFFIXES)
        raise InvalidRequest(f"{path} is no dataset; give one of {known}, .tar or a folder")
    entries = read_folder(path, prompt_column) or read_shards(expand_shards(path), prompt_column)
    if not entries:
        raise InvalidRequest(f"{path} holds no sound files and no .tar shards; name another folder")
    return entries
