"""The words that a model has learned, from its tokenizer alone.

A model of whole words knows those that its tokenizer (WordPiece) has as one token; others are spelled letter by letter.
Tokenizers that cut every word into parts (T5's) tell nothing of what a model has learned: to them no word is unknown.
"""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.errors import CheckpointError
from auralith.foreign import rust_errors

FILE = "tokenizer.json"
UNKNOWN = ("<unk>", "[UNK]")
"""Names that tokenizers give to the token of what they don't know."""
FUNCTION_WORDS = frozenset(
    "a an and any are as at be been but by can could did do does for from get give had has have how i if in into is it"
    " its just let like made make may me my no not of off on one only or our out please put should so some something"
    " than that the their them then there these they this those to too up us very want wants was we were what when where"
    " which while who will with would you your".split()
)
"""English words that carry a sentence and say nothing of a sound."""
_WHOLE = re.compile(r"[^\W\d_]{2,}")

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class Vocabulary:
    """Vocabulary of a tokenizer."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        """Take a copy of a tokenizer of the tokenizers library, so that cutting and padding of the original stay."""
        self._wordwise = type(tokenizer.model).__name__ == "WordPiece"
        if self._wordwise:
            self._tokenizer = type(tokenizer).from_str(tokenizer.to_str())
            self._tokenizer.no_padding()
            self._tokenizer.no_truncation()

    @classmethod
    def read(cls, folder: Path) -> "Vocabulary":
        """Return that of the tokenizer of a folder. Raises `CheckpointError` where it can't be read."""
        import tokenizers  # slow to import

        def refused(reason: str) -> CheckpointError:
            return CheckpointError(f"{folder / FILE} can't be read as a tokenizer: {reason:.200}")

        with rust_errors(refused):
            return cls(tokenizers.Tokenizer.from_file(str(folder / FILE)))

    def words(self, pattern: str = "") -> list[str] | None:
        """Return the learned words of letters, sorted; None for a tokenizer of parts of words.

        A pattern with `*`, `?` or `[` must match a word as a whole, another one be in it; letter case doesn't count.
        """
        if not self._wordwise:
            return None
        wanted = pattern.casefold()
        glob = wanted if any(sign in wanted for sign in "*?[") else f"*{wanted}*"
        tokens = self._tokenizer.get_vocab()
        return sorted(t for t in tokens if _WHOLE.fullmatch(t) and fnmatchcase(t.casefold(), glob))

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that the model doesn't know, each once, in their order.

        They have no token or are spelled letter by letter, and are no words that only carry a sentence.
        """
        if not self._wordwise:
            return []
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        words: dict[int | None, list[int]] = {}
        for place, word in enumerate(encoding.word_ids):
            words.setdefault(word, []).append(place)
        found = (
            _whole(text, encoding.offsets[places[0]][0], encoding.offsets[places[-1]][1])
            for places in words.values()
            if self._is_unknown([encoding.tokens[place] for place in places])
        )
        return [word for word in dict.fromkeys(found) if word.casefold() not in FUNCTION_WORDS]

    def _is_unknown(self, tokens: list[str]) -> bool:
        first, *rest = tokens
        is_spelled = bool(rest) and len(first) == 1 and all(map(_LETTER.fullmatch, rest))
        return is_spelled or any(token in UNKNOWN for token in tokens)


def _whole(text: str, start: int, end: int) -> str:
    """Return the word around a part of a text, since tokenizers take some words apart."""
    while start > 0 and text[start - 1].isalnum():
        start -= 1
    while end < len(text) and text[end].isalnum():
        end += 1
    return text[start:end]


_LETTER = re.compile(r"##.")
