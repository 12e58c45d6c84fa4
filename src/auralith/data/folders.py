"""A folder of sounds, each described by the files beside it: `name.txt` is its prompt, `name.json` prompt and fields.

The two mean the same in a WebDataset shard.
"""

from pathlib import Path
from typing import Any

from auralith.data.entries import Entry, Recording, recording
from auralith.errors import InvalidRequest, printable
from auralith.sound.sources import SOUND_SUFFIXES
from auralith.tables.json_rows import load_json
from auralith.tables.names import choose_column
from auralith.tables.sidecars import SoundFile, walk_sounds
from auralith.tables.text import decoded


def read_folder(folder: Path, prompt_key: str | None) -> list[Entry]:
    """Every sound file in the folder and below it; one with nothing beside it has no prompt and no metadata.

    Raises:
        InvalidRequest: a text or JSON file is damaged.
    """
    return [_entry(folder, found, prompt_key) for found in walk_sounds(folder, SOUND_SUFFIXES)]


def _entry(folder: Path, found: SoundFile, prompt_key: str | None) -> Entry:
    text, table = (path and path.read_bytes() for path in (found.text, found.fields))
    id = found.path.relative_to(folder).as_posix()
    return Entry(described(text, table, id, str(found.path), prompt_key), found.path)


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
