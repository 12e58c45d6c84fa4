"""Tokenizers of the transformers library: opened strictly, copied, written.

transformers opens them by classes that are named here, never by those that a folder names (`auto_map`), and sees only
the files and settings that are listed here.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.errors import CheckpointError
from auralith.files import whole_file
from auralith.foreign import Json, read_json, rust_errors
from auralith.tensor_files import write_json

if TYPE_CHECKING:
    import transformers

MOST_TOKENS = 8_192
"""Most tokens of a prompt. Published models take 64 to 512; the attention of T5 grows with the square."""
TOKENIZER, TOKENIZER_SETTINGS = "tokenizer.json", "tokenizer_config.json"
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_SETTINGS,
    "special_tokens_map.json",
    "added_tokens.json",
    "spiece.model",
    "tokenizer.model",
)
TOKENIZER_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ImportError),
    *(AttributeError, RuntimeError, ArithmeticError, AssertionError, MemoryError),
)
LONGEST_PIECE = 1_000
"""Characters of a token: the tokenizers library keeps them in a tree that it takes down by recursion."""
_NOT_SETTINGS = frozenset(
    "auto_map tokenizer_file vocab_file merges_file gguf_file tokenizer_object init_inputs"
    " trust_remote_code".split()
)
"""Keys of a tokenizer's settings that name code or other files."""


def open_tokenizer(
    folder: Path, opener: "type[transformers.PreTrainedTokenizerBase] | None" = None
) -> "transformers.PreTrainedTokenizerBase":
    """Return the tokenizer in a folder, opened from copies of `TOKENIZER_FILES`: transformers sees nothing else there.

    `opener` is its class; None: the one that takes `tokenizer.json` as it is. Raises CheckpointError.
    """
    from transformers import PreTrainedTokenizerFast

    def refused(reason: str) -> CheckpointError:
        return CheckpointError(f"{folder} holds no usable tokenizer: {reason:.200}")

    try:
        longest = max(map(len, _pieces(folder / TOKENIZER)), default=0)
    except CheckpointError as error:
        raise refused(str(error)) from None
    if longest > LONGEST_PIECE:
        raise refused(f"a token has more than {LONGEST_PIECE:,} characters")
    with tempfile.TemporaryDirectory(prefix="auralith-") as name:
        copy = Path(name)
        copy_tokenizer(folder, copy)
        write_json(copy / TOKENIZER_SETTINGS, _tokenizer_settings(folder))
        try:
            with rust_errors(refused):
                tokenizer = (opener or PreTrainedTokenizerFast).from_pretrained(
                    copy, local_files_only=True
                )
        except TOKENIZER_ERRORS as error:
            raise refused(first_line(error)) from None
    if tokenizer.pad_token_id is None:
        raise refused("it has no padding token")
    tokenizer.name_or_path = str(folder)
    return tokenizer


def _pieces(path: Path) -> Iterator[str]:
    """The tokens that a tokenizer's file lists."""
    data = read_json(path) if path.is_file() else {}
    model, added = data.get("model"), data.get("added_tokens")
    listed = model.get("vocab") if isinstance(model, dict) else None
    vocabulary = listed if isinstance(listed, list | dict) else ()
    for entry in (*vocabulary, *(added if isinstance(added, list) else ())):
        piece = entry[0] if isinstance(entry, list) and entry else entry
        piece = piece.get("content") if isinstance(piece, dict) else piece
        if isinstance(piece, str):
            yield piece


def _tokenizer_settings(folder: Path) -> Json:
    path = folder / TOKENIZER_SETTINGS
    stated = read_json(path) if path.is_file() else {}
    return {name: value for name, value in stated.items() if name not in _NOT_SETTINGS}


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer without the padding and truncation that its last use left in it: they are not part of the model."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        path = source / name
        if not path.is_file():
            continue
        if name == TOKENIZER:
            write_json(target / name, read_json(path) | {"truncation": None, "padding": None})
            continue
        with path.open("rb") as original, whole_file(target / name) as copy:
            shutil.copyfileobj(original, copy)


def save_tokenizer(folder: Path, tokenizer: "transformers.PreTrainedTokenizerBase") -> None:
    """Write a tokenizer's files into a folder."""
    with tempfile.TemporaryDirectory() as temporary:
        tokenizer.save_pretrained(temporary)
        copy_tokenizer(Path(temporary), folder)


def tokenizer_limit(folder: Path, default: int) -> int:
    """The tokenizer's `model_max_length`, if it states a sensible one."""
    path = folder / TOKENIZER_SETTINGS
    limit = read_json(path).get("model_max_length") if path.is_file() else None
    return limit if type(limit) is int and 0 < limit <= MOST_TOKENS else default


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).partition("\n")[0]
