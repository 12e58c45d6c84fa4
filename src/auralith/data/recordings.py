"""The door to a dataset: `open_recordings` makes the same list of recordings of a table, a folder or shards.

Opening lists what the dataset says; whether the files exist and the prompts say something is for the scan
(`auralith.data.report`), which counts. What makes a table or a shard itself unreadable stops here.

- A row of a table names a sound file and its prompt, and every further column is kept as metadata. A path starts from
  the table's folder if it is relative; in Parquet a cell may hold the sound itself.
- In a folder the files beside a sound describe it: `name.txt` is its prompt, `name.json` prompt and fields.
- WebDataset shards are tar files whose members belong together where their names agree up to the first dot. `webdataset`
  streams; training needs the item at a position, so that a run can be resumed and split over processes exactly. So each
  tar is indexed once, by its headers, and a sound is read from its place in it. Which shards a pattern names and which
  members make a sample are webdataset's own rules, applied to places instead of bytes.
"""

import os
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from auralith.data.recording import Recording, StoredRecording, StoredRecordings, recording
from auralith.errors import InvalidRequest, shown
from auralith.escaping import printable
from auralith.extras import require
from auralith.sound.sources import SOUND_SUFFIXES, Member
from auralith.tables import SUFFIXES, Row, strict_rows
from auralith.tables.cells import has_surrogates, named_file, scalar_text
from auralith.tables.json_rows import load_json
from auralith.tables.names import choose_column
from auralith.tables.parquet import SoundCell
from auralith.tables.row import require_columns
from auralith.tables.sidecars import SoundFile, walk_sounds
from auralith.tables.text import decoded


def open_recordings(
    path: str | Path, *, path_column: str = "path", prompt_column: str | None = "prompt"
) -> StoredRecordings:
    """The recordings of a dataset.

    `path` is a table (.csv, .tsv, .jsonl, .json or .parquet); a folder of sounds with .txt or .json files beside
    them; a .tar shard, a pattern of shards with braces, or a folder of shards. `prompt_column` is also the key of the
    prompt in JSON; with None every prompt is made from the other fields. Columns are found in any case, and under
    their usual names under the other names of `tables.names` too.

    Raises:
        InvalidRequest: the path doesn't exist or is not a dataset, a column is missing (named), a table is damaged.
        MissingExtra: Parquet or shards without their library.
    """
    return StoredRecordings(_entries(Path(path), path_column, prompt_column))


def _entries(path: Path, path_column: str, prompt_column: str | None) -> list[StoredRecording]:
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


# --- tables ---


def read_table(table: Path, path_column: str, prompt_column: str | None) -> list[StoredRecording]:
    """The recordings of a table, in its order.

    Raises:
        InvalidRequest: the table is damaged, lacks a column, or a row has no path.
        MissingExtra: Parquet without pyarrow.
    """
    rows = list(strict_rows(table))
    if not rows:
        raise InvalidRequest(f"{table} has no rows; write one for each recording")
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    wanted = {"path": path_column} | ({"prompt": prompt_column} if prompt_column else {})
    chosen = {meaning: choose_column(columns, name, meaning) for meaning, name in wanted.items()}
    require_columns(table, columns, [wanted[m] for m, found in chosen.items() if found is None])
    seen = Counter[str]()
    return [_row_entry(table, row, chosen, seen) for row in rows]


def _row_entry(
    table: Path, row: Row, columns: Mapping[str, str | None], seen: Counter[str]
) -> StoredRecording:
    path_column = columns["path"] or ""
    place = f"{table}, {row.unit} {row.line}"
    cell = row.cells.get(path_column)
    source = cell if isinstance(cell, SoundCell) else _file(table.parent, cell, path_column, place)
    written = _name(row, source) if isinstance(source, SoundCell) else str(cell).strip()
    seen[written] += 1
    id = written if seen[written] == 1 else f"{written}#{seen[written]}"
    path = f"{table}/{written}" if isinstance(source, SoundCell) else str(source)
    others = {
        name: value
        for name, value in row.cells.items()
        if name != path_column and not isinstance(value, SoundCell)
    }
    return StoredRecording(recording(id, path, others, columns.get("prompt"), place), source)


def _file(folder: Path, cell: object, column: str, place: str) -> Path:
    if isinstance(cell, dict) and cell.get("bytes") is None and isinstance(cell.get("path"), str):
        cell = cell["path"]  # the Hub's form of a sound that lies beside the table
    if isinstance(cell, dict | list):
        raise InvalidRequest(f"{place}: the {column} is {shown(cell)}; write the path of a file")
    written = "" if cell is None else scalar_text(cell)
    if not written.strip():
        raise InvalidRequest(f"{place} has no {column}; name a sound file there")
    path = named_file(folder, written)
    if has_surrogates(written) and not path.is_file():
        raise InvalidRequest(
            f"{place} can't be read: {shown(written)} is not UTF-8; save it as text in UTF-8"
        )
    return path


def _name(row: Row, cell: SoundCell) -> str:
    """Return what a sound inside of a table is called: by the table, else by its row."""
    return cell.path or f"{row.unit} {row.line}"


# --- folders ---


def read_folder(folder: Path, prompt_key: str | None) -> list[StoredRecording]:
    """Every sound file in the folder and below it; one with nothing beside it has no prompt and no metadata.

    Raises:
        InvalidRequest: a text or JSON file is damaged.
    """
    return [
        _folder_entry(folder, found, prompt_key) for found in walk_sounds(folder, SOUND_SUFFIXES)
    ]


def _folder_entry(folder: Path, found: SoundFile, prompt_key: str | None) -> StoredRecording:
    text, table = (path and path.read_bytes() for path in (found.text, found.fields))
    id = found.path.relative_to(folder).as_posix()
    return StoredRecording(described(text, table, id, str(found.path), prompt_key), found.path)


def described(
    text: bytes | None, table: bytes | None, id: str, path: str, prompt_key: str | None
) -> Recording:
    """The recording at `path`, from what the two files beside it hold; the text file's prompt wins.

    Raises:
        InvalidRequest: a file is not UTF-8, or the JSON is not one object.
    """
    name = printable(path)
    try:
        fields: Any = {} if table is None else load_json(decoded(table))
        prompt = None if text is None else decoded(text).strip()
    except ValueError as error:
        raise InvalidRequest(f"the text beside {name} is damaged ({error}); correct it") from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"the JSON beside {name} is not one object; write one with its fields")
    # a description is metadata here, of which a prompt can be made
    names = [key for key in fields if key != "description"]
    key = prompt_key and (choose_column(names, prompt_key, "prompt") or prompt_key)
    if prompt is not None:
        key = key or "prompt"
        fields = fields | {key: prompt}
    return recording(id, path, fields, key, f"what lies beside {name}")


# --- shards ---


def expand_shards(pattern: Path) -> list[Path]:
    """The tar files of a folder, or of a pattern with braces like `sounds-{000..012}.tar`."""
    if pattern.is_dir():
        return sorted(pattern.glob("*.tar"))
    if pattern.is_file():
        return [pattern]
    urls = require("webdataset.shardlists", "train").expand_urls(pattern.as_posix())
    return [Path(url) for url in urls]


def read_shards(shards: list[Path], prompt_key: str | None) -> list[StoredRecording]:
    """The recordings of the shards, in their order.

    Raises:
        InvalidRequest: a shard is missing, damaged or compressed, or two of its members have one name.
        MissingExtra: `webdataset` is not installed.
    """
    return [entry for shard in shards for entry in _read_shard(shard, prompt_key)]


def _read_shard(shard: Path, prompt_key: str | None) -> list[StoredRecording]:
    if not shard.is_file():
        raise InvalidRequest(f"{shard} doesn't exist; correct the name of the shard")
    group = require("webdataset.tariterators", "train").group_by_keys
    try:
        return [_shard_entry(shard, sample, prompt_key) for sample in group(_members(shard))]
    except (tarfile.TarError, OSError) as error:
        raise InvalidRequest(
            f"{shard} is not an uncompressed tar file; gunzip or replace it"
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"{shard} is not a WebDataset shard: {error.args[0]}") from error


def _members(shard: Path) -> Iterator[dict[str, Any]]:
    """Yield what `webdataset` does for a tar file, with the place of a member's bytes instead of the bytes."""
    with tarfile.open(shard, "r:") as tar:
        names = set(tar.getnames())
        for member in tar:
            hidden = member.name.rsplit("/", 1)[-1].startswith((".", "__"))
            if member.isreg() and not hidden and not _is_doubled(member.name, names):
                place = Member(shard, member.offset_data, member.size)
                yield {"fname": member.name, "data": (member.name, place), "__url__": str(shard)}


def _is_doubled(name: str, names: set[str]) -> bool:
    """Return whether this is an `A.TXT` beside an `A.txt`, which wins as it does in a folder."""
    stem, suffix = os.path.splitext(name)
    lower = suffix.lower()
    return lower in (".txt", ".json") and suffix != lower and stem + lower in names


def _shard_entry(shard: Path, sample: dict[str, Any], prompt_key: str | None) -> StoredRecording:
    members = {key: value for key, value in sample.items() if not key.startswith("__")}
    sounds = [key for key in members if f".{key.rsplit('.', 1)[-1]}" in SOUND_SUFFIXES]
    # Without a sound any member stands for it: the scan then names and counts it as unreadable.
    name, place = members[sounds[0] if sounds else next(iter(members))]
    path = f"{shard}/{name}"
    text, table = (_bytes(members[key][1]) if key in members else None for key in ("txt", "json"))
    return StoredRecording(described(text, table, f"{shard.name}/{name}", path, prompt_key), place)


def _bytes(member: Member) -> bytes:
    with member.path.open("rb") as file:
        file.seek(member.offset)
        return file.read(member.size)
