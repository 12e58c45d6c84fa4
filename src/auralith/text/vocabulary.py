"""The words that a text encoder's tokenizer has tokens for, looked up without the encoder itself."""

import re
from pathlib import Path

from auralith.errors import CheckpointError
from auralith.foreign import rust_errors

FILE = "tokenizer.json"
UNKNOWN = ("<unk>", "[UNK]")
"""Names that tokenizers give to the token of what they don't know."""


class Vocabulary:
    """Vocabulary of a tokenizer."""

    def __init__(self, folder: Path) -> None:
        """Read the tokenizer of a folder. Raises `CheckpointError` where it can't be read."""
        import tokenizers  # slow to import

        def refused(reason: str) -> CheckpointError:
            return CheckpointError(f"{folder / FILE} can't be read as a tokenizer: {reason:.200}")

        with rust_errors(refused):
            self._tokenizer = tokenizers.Tokenizer.from_file(str(folder / FILE))
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that the model doesn't know, each once, in their order.

        They have no token, or are spelled letter by letter (WordPiece): such a model has learned whole words.
        """
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        words: dict[int | None, list[int]] = {}
        for place, word in enumerate(encoding.word_ids):
            words.setdefault(word, []).append(place)
        found = (
            _whole(text, encoding.offsets[places[0]][0], encoding.offsets[places[-1]][1])
            for places in words.values()
            if self._is_unknown([encoding.tokens[place] for place in places])
        )
        return list(dict.fromkeys(found))

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
