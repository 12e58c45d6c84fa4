"""Tokenizers: texts → token ids, through the tokenizers library.

A `tokenizer.json` says all of it; without one, T5's is made of sentencepiece's file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from auralith.errors import CheckpointError
from auralith.foreign import Json, rust_errors
from auralith.tensor_files import write_json
from auralith.text.sentencepiece import read_pieces
from auralith.text.tokenizer_files import (
    PIECES,
    T5_TOKENIZERS,
    TOKENIZER,
    TOKENIZER_SETTINGS,
    is_t5_tokenizer,
    refusal,
    require_short_pieces,
    special_tokens,
    tokenizer_settings,
    unused,
)

if TYPE_CHECKING:
    import tokenizers  # slow to import

T5_PAD = "<pad>"


@runtime_checkable
class Tokenizer(Protocol):
    """Texts to token ids and back, as a text encoder asks for them. Errors of the libraries come as they are."""

    @property
    def name(self) -> str:
        """Where it was read from."""
        ...

    @property
    def pad_id(self) -> int: ...

    @property
    def num_special_tokens(self) -> int:
        """Tokens that are put around a text, such as one for the end."""
        ...

    @property
    def backend(self) -> "tokenizers.Tokenizer | None":
        """The tokenizer in the tokenizers library, if it is one."""
        ...

    def ids(self, text: str, most: int | None = None) -> list[int]:
        """Return the tokens of a text, special ones included, cut to `most` if that is given."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        ...


@dataclass(frozen=True, eq=False)
class FastTokenizer:
    """A tokenizer in the tokenizers library, with the settings that belong to it."""

    name: str
    pad_id: int
    backend: "tokenizers.Tokenizer"
    settings: Json
    has_special_tokens: bool = True
    """Says whether the tokenizer's special tokens are put around a text."""

    @property
    def num_special_tokens(self) -> int:
        return self.backend.num_special_tokens_to_add(False) * self.has_special_tokens

    def ids(self, text: str, most: int | None = None) -> list[int]:
        if most is None:
            return self.backend.encode(text, add_special_tokens=self.has_special_tokens).ids
        encoding = self.backend.encode(text, add_special_tokens=False)
        encoding.truncate(max(0, most - self.num_special_tokens))
        return self.backend.post_process(encoding, add_special_tokens=self.has_special_tokens).ids

    def decode(self, ids: Sequence[int]) -> str:
        return self.backend.decode(list(ids))

    def save(self, folder: Path) -> None:
        """Write the tokenizer and its settings into a folder."""
        write_json(folder / TOKENIZER, unused(json.loads(self.backend.to_str())))
        write_json(folder / TOKENIZER_SETTINGS, self.settings)


def open_tokenizer(folder: Path, *, has_special_tokens: bool = True) -> FastTokenizer:
    """Return the tokenizer in a folder. Raise CheckpointError where it can't be used."""
    refused = refusal(folder)
    try:
        settings = special_tokens(folder) | tokenizer_settings(folder)
        is_t5 = is_t5_tokenizer(folder)
    except CheckpointError as error:
        raise refused(str(error)) from None
    backend = _backend(folder)
    if not (folder / TOKENIZER).is_file():
        settings = {"tokenizer_class": T5_TOKENIZERS[1]} | settings
    backend.no_padding()
    backend.no_truncation()
    pad = _token(settings.get("pad_token", T5_PAD if is_t5 else None))
    pad_id = None if pad is None else backend.token_to_id(pad)
    if pad_id is None:
        raise refused("it has no padding token")
    settings = settings | {"pad_token": pad}
    return FastTokenizer(str(folder), pad_id, backend, settings, has_special_tokens)


def _backend(folder: Path) -> "tokenizers.Tokenizer":
    import tokenizers  # slow to import

    refused = refusal(folder)
    if (folder / TOKENIZER).is_file():
        require_short_pieces(folder)
        with rust_errors(refused):
            return tokenizers.Tokenizer.from_file(str(folder / TOKENIZER))
    if (folder / PIECES).is_file():
        with rust_errors(refused):
            return read_pieces(folder / PIECES)
    raise refused(f"there is neither {TOKENIZER} nor {PIECES}; get one of them")


def _token(value: object) -> str | None:
    """Return a token that settings state as a text, or as an object that holds it."""
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) else None
