"""One recording as every kind of dataset describes it: where its sound is, its prompt, and its other fields as text.

Readers of tables, folders and shards make `Entry`s; `auralith.data.recordings` serves them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from auralith.sound.sources import Source


@dataclass(frozen=True, slots=True)
class Recording:
    """A sound with what is known about it.

    `prompt` is None where the dataset has none, so that one is made from `metadata`; an empty one is a mistake.
    """

    id: str
    """Unique in its dataset and the same in every run: the path as the dataset writes it."""
    path: str
    """For messages; a member of a shard is `shard.tar/name`."""
    prompt: str | None
    metadata: Mapping[str, str]


class Entry(NamedTuple):
    """A recording and the place of its bytes."""

    recording: Recording
    source: Source


def split_prompt(
    fields: Mapping[str, Any], prompt_key: str | None
) -> tuple[str | None, dict[str, str]]:
    """The prompt among the fields (None if it is absent or null), and the other fields as text."""
    prompt = fields.get(prompt_key) if prompt_key is not None else None
    others = {name: value for name, value in fields.items() if name != prompt_key}
    return (None if prompt is None else str(prompt).strip()), text_fields(others)


def text_fields(values: Mapping[str, Any]) -> dict[str, str]:
    """Fields as text: lists are joined by commas, a nested table gives its own fields, what is empty is left out."""
    fields: dict[str, str] = {}
    for name, value in values.items():
        inner = value if isinstance(value, Mapping) else {name: value}
        fields |= {str(key): text for key, item in inner.items() if (text := _text(item))}
    return fields


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(text for item in value if (text := _text(item)))
    return str(value).strip()
