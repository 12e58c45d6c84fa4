"""Files of a tokenizer, in the form of the transformers library: which ones count, what they may hold, copies of them."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from auralith.errors import CheckpointError
from auralith.files import whole_file
from auralith.foreign import Json, read_json
from auralith.tensor_files import write_json

MOST_TOKENS = 8_192
"""Most tokens of a prompt. Published models take 64 to 512; the attention of T5 grows with the square."""
TOKENIZER, TOKENIZER_SETTINGS = "tokenizer.json", "tokenizer_config.json"
SPECIAL_TOKENS, PIECES = "special_tokens_map.json", "spiece.model"
TOKENIZER_FILES = (
    TOKENIZER,
    TOKENIZER_SETTINGS,
    SPECIAL_TOKENS,
    "added_tokens.json",
    PIECES,
    "tokenizer.model",
)
LONGEST_PIECE = 1_000
"""Characters of a token: the tokenizers library keeps them in a tree that it takes down by recursion."""
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")
_NOT_SETTINGS = frozenset(
    "auto_map tokenizer_file vocab_file merges_file gguf_file tokenizer_object init_inputs"
    " trust_remote_code".split()
)
"""Keys of a tokenizer's settings that name code or other files."""


def refusal(folder: Path) -> Callable[[str], CheckpointError]:
    """Return what makes an error of the reason why a folder's tokenizer can't be used."""

    def refused(reason: str) -> CheckpointError:
        return CheckpointError(f"{folder} holds no usable tokenizer: {reason:.200}")

    return refused


def tokenizer_settings(folder: Path) -> Json:
    """Return the settings beside a tokenizer, without those that name code or files. Raises CheckpointError."""
    return _object(folder / TOKENIZER_SETTINGS)


def special_tokens(folder: Path) -> Json:
    """Return what a folder's map of special tokens says. Raises CheckpointError."""
    return _object(folder / SPECIAL_TOKENS)


def _object(path: Path) -> Json:
    stated = read_json(path) if path.is_file() else {}
    return {name: value for name, value in stated.items() if name not in _NOT_SETTINGS}


def is_t5_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer is T5's own class, by its settings or by what lies beside it."""
    stated = tokenizer_settings(folder).get("tokenizer_class")
    if stated is None:
        path = folder / "config.json"
        is_t5 = path.is_file() and read_json(path).get("model_type") == "t5"
        return is_t5 or not (folder / TOKENIZER).is_file()
    return stated in T5_TOKENIZERS


def require_short_pieces(folder: Path) -> None:
    """Raise CheckpointError for a `tokenizer.json` with a token beyond the longest that is safe to read."""
    refused = refusal(folder)
    try:
        longest = max(map(len, _pieces(folder / TOKENIZER)), default=0)
    except CheckpointError as error:
        raise refused(str(error)) from None
    if longest > LONGEST_PIECE:
        raise refused(f"a token has more than {LONGEST_PIECE:,} characters")


def _pieces(path: Path) -> Iterator[str]:
    """Yield the tokens that a tokenizer's file lists."""
    data = read_json(path) if path.is_file() else {}
    model, added = data.get("model"), data.get("added_tokens")
    listed = model.get("vocab") if isinstance(model, dict) else None
    vocabulary = listed if isinstance(listed, list | dict) else ()
    for entry in (*vocabulary, *(added if isinstance(added, list) else ())):
        piece = entry[0] if isinstance(entry, list) and entry else entry
        piece = piece.get("content") if isinstance(piece, dict) else piece
        if isinstance(piece, str):
            yield piece


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copy a tokenizer without the padding and truncation that its last use left in it: they are not part of the model."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        path = source / name
        if not path.is_file():
            continue
        if name == TOKENIZER:
            write_json(target / name, unused(read_json(path)))
            continue
        with path.open("rb") as original, whole_file(target / name) as copy:
            shutil.copyfileobj(original, copy)


def unused(tokenizer: Json) -> Json:
    """Return the contents of a `tokenizer.json` as before any use."""
    return tokenizer | {"truncation": None, "padding": None}


def tokenizer_limit(folder: Path, default: int) -> int:
    """Return the tokenizer's `model_max_length`, if it states a sensible one."""
    path = folder / TOKENIZER_SETTINGS
    limit = read_json(path).get("model_max_length") if path.is_file() else None
    return limit if type(limit) is int and 0 < limit <= MOST_TOKENS else default
