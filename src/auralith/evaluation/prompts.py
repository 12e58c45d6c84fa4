"""Lists of prompts with ids: those of the paper's tables, and any table of one's own (arXiv 2407.14358, section 4.1).

A published list is known by the column of its ids. Its subsets are the paper's, faults included: a caption is dropped
for a word anywhere in its text, case-sensitive and inside other words (table 5; "as" drops "was"). So the counts are the
paper's: 2,765 captions of AudioCaps without speech, 711 without connectors, 587 without either.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from auralith.errors import Field, InvalidRequest, shown
from auralith.metrics.values import require_distinct
from auralith.tables import SUFFIXES, strict_rows
from auralith.tables.cells import captions, require_text
from auralith.tables.names import plain
from auralith.tables.row import listed
from auralith.tables.text import opened_text

SPEECH = ("speech", "male", "female", "woman", "man", "speaking", "speaks")
CONNECTORS = ("and", "followed", "while", "as", "then", "with", "later", "before", "after")
SUBSETS: Mapping[str, tuple[str, ...]] = {
    "no-speech": SPEECH,
    "no-connectors": CONNECTORS,
    "neither": (*SPEECH, *CONNECTORS),
}
"""Words that drop a caption from each subset."""
_TEXT_COLUMNS = ("prompt", "caption", "text")


@dataclass(frozen=True)
class Prompt:
    """One prompt of a list."""

    id: str
    text: str
    references: tuple[str, ...] = ()
    """Ids under which its reference recording may lie, beside its own: a video's, a track's."""
    seconds: float | None = None
    """Length to generate; None: the list's."""


@dataclass(frozen=True)
class PromptList:
    """Prompts in their order, with the length and the content that the paper gives such a list."""

    name: str
    prompts: tuple[Prompt, ...]
    seconds: float | None = None
    """Length of a generation in seconds; None: the model's window."""
    content: str | None = None
    """Content that OpenL3 is told of: "env" or "music"; None: it has to be named."""

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(prompt.id for prompt in self.prompts)


@dataclass(frozen=True)
class _Kind:
    """A published list: its columns, and the length and OpenL3 content of its evaluation."""

    name: str
    id_column: str
    reference_column: str | None
    seconds: float | None
    content: str | None


_KINDS = (
    _Kind("audiocaps", "audiocap_id", "youtube_id", 10.0, "env"),
    _Kind("songdescriber", "caption_id", "track_id", 47.0, "music"),
    _Kind("musiccaps", "ytid", None, 10.0, "music"),
)
_OWN = _Kind("", "id", "reference", None, None)
PUBLISHED = ("audiocaps", "songdescriber", "songdescriber:no-singing", "musiccaps")
"""Lists that the manifest of `auralith.weights` has, with the reference statistics that were published of them."""


def published_entry(name: str, what: str) -> str:
    """Return the entry of the manifest for a published list: its "prompts", or its reference for "fd" or "kl"."""
    return f"{name.replace(':', '-')}-{what}"


def read_prompts(path: Path, subset: str | None = None, name: str | None = None) -> PromptList:
    """Return the prompts of a table, or of a .txt with one in each line; ids are the table's, or the rows' numbers.

    `name` is the list's, if it isn't that of its columns.

    Raises:
        InvalidRequest: it can't be read, an id comes twice, a prompt is missing, or the subset is unknown or empty.
    """
    if path.suffix.lower() == ".txt":
        kind, found = _OWN, tuple(_lines(path))
    else:
        kind, found = _table(path)
    if not found:
        raise InvalidRequest(f"{path} has no rows; write a prompt for each sound")
    require_distinct([prompt.id for prompt in found])
    prompts = PromptList(name or kind.name or path.stem, found, kind.seconds, kind.content)
    return prompts if subset is None else without_words(prompts, subset)


def without_words(prompts: PromptList, subset: str) -> PromptList:
    """Return a subset of table 5. Raises `InvalidRequest` where it is unknown or holds no prompt."""
    if subset not in SUBSETS:
        raise InvalidRequest(f"subset {shown(subset)} is unknown; use {', '.join(SUBSETS)}")
    words = SUBSETS[subset]
    kept = tuple(p for p in prompts.prompts if not any(word in p.text for word in words))
    if not kept:
        raise InvalidRequest(f"no prompt of {prompts.name} is without the words of {subset}")
    return replace(prompts, name=f"{prompts.name}:{subset}", prompts=kept)


def _lines(path: Path) -> Iterator[Prompt]:
    with opened_text(path) as file:
        texts = [line.strip(" \t\r\n\ufeff") for line in file]
    for number, text in enumerate(filter(None, texts), 1):
        yield Prompt(f"{number:04d}", text)


def _table(path: Path) -> tuple[_Kind, tuple[Prompt, ...]]:
    if path.suffix.lower() not in SUFFIXES:
        raise InvalidRequest(
            f"{path} is not a table of prompts; give one of .txt, {', '.join(SUFFIXES)}"
        )
    rows = list(strict_rows(path))
    columns = {plain(name): name for row in rows for name in row.cells}
    kind = next((kind for kind in _KINDS if kind.id_column in columns), _OWN)
    text_column = next((columns[name] for name in _TEXT_COLUMNS if name in columns), None)
    if rows and text_column is None:
        raise InvalidRequest(
            f"{path} has no column prompt or caption (it has {listed(list(columns.values()))}); add it"
        )
    prompts = []
    for number, row in enumerate(rows, 1):
        text = "".join((captions(row.cells.get(text_column), "the prompt") or ())[:1]).strip()
        if not text:
            raise InvalidRequest(f"{path}, {row.unit} {row.line} has no prompt; add it")
        require_text(text, f"{path}, {row.unit} {row.line}")
        id = _cell(row.cells, columns.get(kind.id_column)) or f"{number:04d}"
        reference = _cell(row.cells, columns.get(kind.reference_column or ""))
        seconds = _seconds(row.cells, columns.get("seconds"), f"{path}, {row.unit} {row.line}")
        prompts.append(Prompt(id, text, (reference,) if reference else (), seconds))
    return kind, tuple(prompts)


def _cell(cells: Mapping[str, Any], column: str | None) -> str:
    """Return a cell as text; whole numbers without the point that a table with gaps gives them."""
    value = None if column is None else cells.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()


def _seconds(cells: Mapping[str, Any], column: str | None, place: str) -> float | None:
    text = _cell(cells, column)
    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        raise InvalidRequest(f"{place}: seconds is {shown(text)}; give a number") from None


def split_subset(text: str) -> tuple[str, str | None]:
    """Split "audiocaps:no-speech" into the list and its subset; a path that exists is taken whole."""
    name, colon, subset = text.rpartition(":")
    if not colon or text in PUBLISHED or Path(text).exists():
        return text, None
    return name, subset


def trim_to(prompts: PromptList, most: int | None) -> PromptList:
    """Return the first prompts of a list. Raises `InvalidRequest` below 1."""
    if most is None:
        return prompts
    if most < 1:
        raise InvalidRequest(Field("limit"), f" is {most}; give at least 1")
    return replace(prompts, prompts=prompts.prompts[:most])


def texts_of(prompts: Sequence[Prompt]) -> dict[str, str]:
    """Return the texts by id."""
    return {prompt.id: prompt.text for prompt in prompts}
