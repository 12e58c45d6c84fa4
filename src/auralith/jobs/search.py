"""Search in prompts and labels, the same in every database: texts are folded here, and compared as they are there."""

import unicodedata
from collections.abc import Mapping
from typing import Any

MOST_WORDS = 16
"""Words of a search that are looked for; the others are not."""


def search_text(request: Mapping[str, Any]) -> str:
    """Return what a search looks at in a request: its prompt and its label, folded."""
    texts = (request.get("prompt"), request.get("label"))
    return _folded("\n".join(text for text in texts if isinstance(text, str)))


def search_patterns(search: str) -> list[str]:
    """Return the patterns of LIKE, escaped by "!", that a text must all fit: it has each word, whole or in a longer one."""
    words = _folded(search).split()[:MOST_WORDS]
    return [f"%{_escaped(word)}%" for word in words]


def _folded(text: str) -> str:
    """Return a text in which neither case nor the way a letter is composed makes a difference."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _escaped(word: str) -> str:
    for sign in "!%_":
        word = word.replace(sign, f"!{sign}")
    return word
