"""Tokenizers of the transformers library, for programs and networks that need one of its objects.

Its class is one of two that are named here, never one that a folder names (`auto_map`), and it sees only the files and
settings that `tokenizer_files` lists.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.foreign import rust_errors
from auralith.tensor_files import write_json
from auralith.text.tokenizer_files import (
    TOKENIZER_SETTINGS,
    copy_tokenizer,
    is_t5_tokenizer,
    refusal,
    require_short_pieces,
    tokenizer_settings,
)

if TYPE_CHECKING:
    import transformers

TOKENIZER_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ImportError),
    *(AttributeError, RuntimeError, ArithmeticError, AssertionError, MemoryError),
)


def open_foreign_tokenizer(folder: Path) -> "transformers.PreTrainedTokenizerBase":
    """Return the tokenizer in a folder as one of transformers. Raises CheckpointError."""
    from transformers import PreTrainedTokenizerFast, T5Tokenizer

    refused = refusal(folder)
    require_short_pieces(folder)
    opener = T5Tokenizer if is_t5_tokenizer(folder) else PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory(prefix="auralith-") as name:
        copy = Path(name)
        copy_tokenizer(folder, copy)
        write_json(copy / TOKENIZER_SETTINGS, tokenizer_settings(folder))
        try:
            with rust_errors(refused):
                tokenizer = opener.from_pretrained(copy, local_files_only=True)
        except TOKENIZER_ERRORS as error:
            raise refused(str(error).partition("\n")[0]) from None
    if tokenizer.pad_token_id is None:
        raise refused("it has no padding token")
    tokenizer.name_or_path = str(folder)
    return tokenizer
