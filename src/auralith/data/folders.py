"""A folder of sounds, each described by the files beside it: `name.txt` is its prompt, `name.json` prompt and fields.

The two mean the same in a WebDataset shard. Folders inside are walked in sorted order, hidden files left out, so that
two machines list the same recordings alike.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auralith.data.entries import Entry, Recording, split_prompt
from auralith.errors import InvalidRequest
from auralith.sound.sources import SOUND_SUFFIXES


def read_folder(folder: Path, prompt_key: str | None) -> list[Entry]:
    """Every sound file in the folder and below it; one with nothing beside it has no prompt and no metadata.

    Raises:
        InvalidRequest: a text or JSON file is damaged.
    """
    return [_entry(folder, path, prompt_key) for path in _sounds(folder)]


def _sounds(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SOUND_SUFFIXES:
                yield Path(parent, name)


def _entry(folder: Path, path: Path, prompt_key: str | None) -> Entry:
    text, table = (_bytes(path.with_suffix(suffix)) for suffix in (".txt", ".json"))
    prompt, metadata = description(text, table, str(path), prompt_key)
    id = path.relative_to(folder).as_posix()
    return Entry(Recording(id, str(path), prompt, metadata), path)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def description(
    text: bytes | None, table: bytes | None, name: str, prompt_key: str | None
) -> tuple[str | None, dict[str, str]]:
    """Prompt and metadata of the sound called `name`, from what the two files hold; the text file's prompt wins.

    Raises:
        InvalidRequest: a file is not UTF-8, or the JSON is not one object.
    """
    try:
        fields: Any = {} if table is None else json.loads(table.decode("utf-8-sig"))
        prompt = None if text is None else text.decode("utf-8-sig").strip()
    except ValueError as error:
        raise InvalidRequest(f"the text beside {name} is damaged ({error}); correct it") from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"the JSON beside {name} is not one object; write one with its fields")
    found, metadata = split_prompt(fields, prompt_key)
    return (found if prompt is None else prompt), metadata
