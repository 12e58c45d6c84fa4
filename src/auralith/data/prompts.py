"""Prompts of recordings in training: a recording's own, or one made from its metadata (paper, section 3.2).

A made prompt joins a random subset of the fields in a random order, lists such as tags shuffled, in varied case, so that at generation any of them
may be named and none has to be. Tracks with structured metadata get "field: value" prefixes half of the time.
"""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from auralith.data.recording import Recording
from auralith.errors import InvalidRequest

STRUCTURED_FIELDS = tuple(
    "artist album genre genres subgenre instruments moods bpm key year".split()
)
PROSE_FIELDS = ("description", "title", "tags")
LIST_FIELDS = ("tags", "genres", "instruments", "moods")

_CASES: tuple[Callable[[str], str], ...] = (str, str.lower, str.upper, string.capwords)


@dataclass(frozen=True)
class PromptOptions:
    """Settings of prompts that are made from metadata."""

    fields: tuple[str, ...] = PROSE_FIELDS + STRUCTURED_FIELDS
    """Metadata that may be spoken of. Everything else (licenses, hashes, links) never gets into a prompt."""
    structured_fields: tuple[str, ...] = STRUCTURED_FIELDS
    """A recording that has one of these is a track with structured metadata."""
    list_fields: tuple[str, ...] = LIST_FIELDS
    """Values separated by commas, put into a random order each time."""
    prefix_probability: float = 0.5
    """Probability that such a track's prompt says "field: value"."""
    vary_case: bool = True
    """Made prompts are as written, lower, upper or capitalized, each a quarter of the time."""
    metadata_probability: float = 0.0
    """Probability that a recording with metadata gets a made prompt instead of its own."""


def prompt_of(recording: Recording, options: PromptOptions, rng: np.random.Generator) -> str:
    """The prompt of one use of a recording: its own (one of them, drawn), unless the options tell otherwise, or a
    made one.

    Raises:
        InvalidRequest: its prompt is empty or no text, or it has neither a prompt nor metadata to make one of.
    """
    if recording.problem:
        raise InvalidRequest(recording.problem)
    if recording.prompts[:1] == ("",):
        raise InvalidRequest(f"{recording.path} has an empty prompt; say what is heard in it")
    made = rng.random() < options.metadata_probability
    prompts = recording.prompts
    if prompts and not (made and usable_fields(recording.metadata, options)):
        return prompts[0] if len(prompts) == 1 else prompts[rng.integers(len(prompts))]
    if not usable_fields(recording.metadata, options):
        raise InvalidRequest(
            f"{recording.path} has no prompt and no metadata to make one of;"
            " put a .txt beside it or fill in the column"
        )
    return prompt_from_metadata(recording.metadata, options, rng)


def prompt_from_metadata(
    metadata: Mapping[str, str], options: PromptOptions, rng: np.random.Generator
) -> str:
    """A prompt of a random, non-empty subset of the usable fields; "" if no field is usable.

    The size of the subset is uniform, and so is the subset given its size.
    """
    fields = usable_fields(metadata, options)
    if not fields:
        return ""
    structured = any(name in options.structured_fields for name in fields)
    prefixed = structured and rng.random() < options.prefix_probability
    chosen = rng.permutation(list(fields))[: rng.integers(1, len(fields), endpoint=True)]
    texts = {name: _shuffled(name, fields[name], options, rng) for name in chosen.tolist()}
    parts = [f"{name}: {text}" if prefixed else text for name, text in texts.items()]
    case = _CASES[rng.integers(len(_CASES))] if options.vary_case else str
    return case(", ".join(parts))


def _shuffled(name: str, text: str, options: PromptOptions, rng: np.random.Generator) -> str:
    """Return the values of a list field in a random order; other fields as they are."""
    values = [value for part in text.split(",") if (value := part.strip())]
    if name not in options.list_fields or len(values) < 2:
        return text
    return ", ".join(rng.permutation(np.array(values, dtype=object)).tolist())


def usable_fields(metadata: Mapping[str, str], options: PromptOptions) -> dict[str, str]:
    """The metadata that a prompt may be made of, in the order of the options; names match in any case."""
    lowered = {name.lower(): text for name, text in metadata.items()}
    return {name: lowered[name] for name in options.fields if lowered.get(name)}
