"""One recording as every kind of dataset describes it: where its sound is, its prompt, and its other fields as text.

Readers of tables, folders and shards make `Entry`s; `auralith.data.recordings` serves them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from auralith.errors import printable
from auralith.sound.sources import Source
from auralith.tables import cells


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
    more_prompts: tuple[str, ...] = ()
    """Further captions of the same sound; each use draws one of all."""
    problem: str = ""
    """Why it has no prompt that can be used, if that is so."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """All its own prompts."""
        return () if self.prompt is None else (self.prompt, *self.more_prompts)


class Entry(NamedTuple):
    """A recording and the place of its bytes."""

    recording: Recording
    source: Source


def recording(
    id: str, path: str, fields: Mapping[str, Any], prompt_key: str | None, place: str
) -> Recording:
    """A recording of what was read. Its name and path may hold bytes that are not UTF-8, which are escaped.

    `prompt_key` names the field of its prompts, one or a list; the other fields become text.

    Raises:
        InvalidRequest: something is not UTF-8; `place` says where.
    """
    place = printable(place)
    prompts, problem = None, ""
    if prompt_key is not None:
        try:
            prompts = cells.captions(fields.get(prompt_key), f"{place}: the {prompt_key}")
        except cells.NotText as error:  # the scan counts it
            problem = str(error)
    others = {name: value for name, value in fields.items() if name != prompt_key}
    metadata = cells.fields(others, place)
    first, *more = prompts or (None,)
    further = tuple(filter(None, more))
    return Recording(printable(id), printable(path), first, metadata, further, problem)
