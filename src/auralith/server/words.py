"""The words of prompts that a model has not learned, as far as its tokenizer tells."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from auralith.errors import CheckpointError
from auralith.jobs.records import Json
from auralith.text.vocabulary import Vocabulary

PROMPTS = Path(__file__).with_name("prompts.txt")
"""Prompts in the words that the embedded model knows, one a line; its recipe writes them."""


class KnownWords:
    """Words that a model has learned, read from its tokenizer when they are first asked for."""

    def __init__(self, tokenizer: Path | None) -> None:
        """`tokenizer` is its folder; None: nothing is known, and no word is called unknown."""
        self._folder = tokenizer

    def unknown(self, prompts: Iterable[str]) -> list[str]:
        """Return the words that the model has not learned, each once, in their order."""
        if self._vocabulary is None:
            return []
        found = (word for text in prompts for word in self._vocabulary.unknown(text))
        return list(dict.fromkeys(found))

    @cached_property
    def _vocabulary(self) -> Vocabulary | None:
        if self._folder is not None:
            with suppress(CheckpointError):  # who loads the model will say so
                return Vocabulary.read(self._folder)
        return None


def prompts_of(request: Json) -> Iterator[str]:
    """Yield every prompt of a request, the negative one last."""
    yield request["prompt"]
    for _, text in (*request.get("mix", ()), *request.get("prompts", ())):
        yield text
    yield request.get("negative_prompt") or ""
