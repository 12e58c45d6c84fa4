"""The T5 text encoder and its tokenizer: found beside a checkpoint, opened strictly, copied and saved.

They are not part of the published weights file. A folder in the form of the transformers library holds both; in the
diffusers layout they lie in two. transformers is imported here and only when needed. It opens them by classes that are
named here, never by those that a folder names (`auto_map`), and sees only the files and settings that are listed here.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auralith.errors import CheckpointError, shown
from auralith.files import whole_file
from auralith.foreign import Json, read_json, rust_errors, without_code
from auralith.models.lazy_tensor import require_tensors, weights_of
from auralith.tensor_files import find_component, read_component, write_json, write_safetensors
from auralith.text.encoder import TextEncoder, TextEncoderFolders, TextEncoderKind

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
)
# exceptions of transformers for a config.json of another model than T5
CONFIG_ERRORS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
TOKENIZER_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, ImportError),
    *(AttributeError, RuntimeError, ArithmeticError, AssertionError, MemoryError),
)
LONGEST_PIECE = 1_000
"""Characters of a token: the tokenizers library keeps them in a tree that it takes down by recursion."""
LARGEST_T5 = {
    **dict.fromkeys(("num_layers", "num_heads", "relative_attention_num_buckets"), 512),
    **dict.fromkeys(("d_model", "d_kv", "d_ff", "relative_attention_max_distance"), 1 << 17),
    "vocab_size": 1 << 24,
}
"""The largest published one, T5-11B, has 24 layers of 128 heads, widths to 65,536, and 32,128 tokens."""
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")
_NOT_SETTINGS = frozenset(
    "auto_map tokenizer_file vocab_file merges_file gguf_file tokenizer_object init_inputs"
    " trust_remote_code".split()
)
"""Keys of a tokenizer's settings that name code or other files."""
SHARED, TIED = "shared.weight", "encoder.embed_tokens.weight"


SUBFOLDER = "t5"
"""The folder beside a single file; diffusers has `text_encoder` and `tokenizer`."""


def find_text_encoder(folder: Path) -> TextEncoderFolders | None:
    """Find one in a folder's `t5/`, in its `text_encoder/` and `tokenizer/`, or in the folder itself."""
    beside, diffusers = folder / SUBFOLDER, (folder / "text_encoder", folder / "tokenizer")
    pairs = ((beside, beside), diffusers, (folder, folder))
    for model, tokenizer in pairs:
        has_tokenizer = any((tokenizer / name).is_file() for name in TOKENIZER_FILES)
        if has_tokenizer and _is_t5(model):
            return TextEncoderFolders(model, tokenizer)
    return None


def _is_t5(folder: Path) -> bool:
    path = folder / "config.json"
    return path.is_file() and read_json(path).get("model_type") == "t5"


def open_text_encoder(
    folders: TextEncoderFolders,
    width: int | None,
    device: torch.device,
    dtype: torch.dtype,
    variant: str | None = None,
) -> TextEncoder:
    """Return a T5 encoder in eval mode with its tokenizer.

    Raises CheckpointError, also if its states are not `width` wide, as the diffusion model needs; None takes any.
    """
    model = _open_model(folders.model, width, device, dtype, variant)
    return TextEncoder(model.eval(), open_tokenizer(folders.tokenizer))


def _open_model(
    folder: Path, width: int | None, device: torch.device, dtype: torch.dtype, variant: str | None
) -> "transformers.T5EncoderModel":
    model = _without_memory(folder)
    if width is not None and model.config.d_model != width:
        raise CheckpointError(
            f"the text encoder in {folder} is {model.config.d_model} wide, but the model needs "
            f"{width}; name another one"
        )
    path = find_component(folder, "model", variant)
    found = read_component(path).items()
    # a full T5 has a decoder as well
    weights = {name: t for name, t in found if name.startswith(("shared.", "encoder."))}
    embedding = weights.get(SHARED) or weights.get(TIED)
    if embedding is not None:
        weights[SHARED] = weights[TIED] = embedding
    require_tensors(weights, weights_of(model.state_dict()), path)
    state = {name: tensor.load(device, dtype) for name, tensor in weights.items() if name != TIED}
    model.load_state_dict(state | {TIED: state[SHARED]}, strict=True, assign=True)
    model.tie_weights()
    return model


def _without_memory(folder: Path) -> "transformers.T5EncoderModel":
    from huggingface_hub.errors import StrictDataclassError
    from transformers import T5Config, T5EncoderModel

    path = folder / "config.json"
    data = read_json(path)
    _check_sizes(data, path)
    config_errors = (StrictDataclassError, *CONFIG_ERRORS)
    try:
        config = T5Config.from_dict(without_code(data))
        with torch.device("meta"):
            return T5EncoderModel(config)
    except config_errors as error:
        raise CheckpointError(f"{path} is no T5 config: {_first_line(error)}") from None


def _check_sizes(data: Json, path: Path) -> None:
    """Raise CheckpointError for sizes beyond those of any T5: its layers are built one by one, before weights are seen."""
    for name, limit in LARGEST_T5.items():
        value = data.get(name)
        if value is not None and (type(value) is not int or not 0 < value <= limit):
            raise CheckpointError(
                f"{path} is no T5 config: {name} is {shown(value)}, not a whole number from 1 to {limit:,}"
            )


def open_tokenizer(folder: Path) -> "transformers.PreTrainedTokenizerBase":
    """Return the tokenizer in a folder, opened from copies of `TOKENIZER_FILES`: transformers sees nothing else there."""
    from transformers import PreTrainedTokenizerFast, T5Tokenizer

    def refused(reason: str) -> CheckpointError:
        return CheckpointError(f"{folder} holds no usable tokenizer: {reason:.200}")

    try:
        longest = max(map(len, _pieces(folder / TOKENIZER)), default=0)
    except CheckpointError as error:
        raise refused(str(error)) from None
    if longest > LONGEST_PIECE:
        raise refused(f"a token has more than {LONGEST_PIECE:,} characters")
    opener = T5Tokenizer if _is_t5_tokenizer(folder) else PreTrainedTokenizerFast
    with tempfile.TemporaryDirectory(prefix="auralith-") as name:
        copy = Path(name)
        _copy_tokenizer(folder, copy)
        write_json(copy / TOKENIZER_SETTINGS, _tokenizer_settings(folder))
        try:
            with rust_errors(refused):
                tokenizer = opener.from_pretrained(copy, local_files_only=True)
        except TOKENIZER_ERRORS as error:
            raise refused(_first_line(error)) from None
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


def _is_t5_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer is T5's own class, by its settings or by what lies beside it."""
    path = folder / TOKENIZER_SETTINGS
    stated = read_json(path).get("tokenizer_class") if path.is_file() else None
    if stated is None:
        return _is_t5(folder) or not (folder / TOKENIZER).is_file()
    return stated in T5_TOKENIZERS


def _tokenizer_settings(folder: Path) -> Json:
    path = folder / TOKENIZER_SETTINGS
    stated = read_json(path) if path.is_file() else {}
    return {name: value for name, value in stated.items() if name not in _NOT_SETTINGS}


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def save_text_encoder(folder: Path, text: TextEncoder, dtype: torch.dtype | None = None) -> None:
    """Write model and tokenizer into one folder in the form of the transformers library."""
    model = text.model
    weights = {n: t for n, t in weights_of(model.state_dict()).items() if n != TIED}
    if dtype is not None:
        weights = {name: tensor.cast(dtype) for name, tensor in weights.items()}
    write_safetensors(folder / "model.safetensors", weights)
    config = {"architectures": ["T5EncoderModel"]} | model.config.to_dict()
    config.pop("_name_or_path", None)  # where it was read from says nothing about the model
    write_json(folder / "config.json", config)
    with tempfile.TemporaryDirectory() as temporary:
        text.tokenizer.save_pretrained(temporary)
        _copy_tokenizer(Path(temporary), folder)


def copy_text_encoder(
    source: TextEncoderFolders, target: TextEncoderFolders, max_tokens: int | None = None
) -> None:
    """Copy the files; `max_tokens` is written as the tokenizer's limit, where diffusers looks for it."""
    path = find_component(source.model, "model")
    write_safetensors(target.model / "model.safetensors", read_component(path))
    write_json(target.model / "config.json", read_json(source.model / "config.json"))
    _copy_tokenizer(source.tokenizer, target.tokenizer)
    if max_tokens is not None:
        settings = target.tokenizer / TOKENIZER_SETTINGS
        existing = read_json(settings) if settings.is_file() else {}
        write_json(settings, existing | {"model_max_length": max_tokens})


def _copy_tokenizer(source: Path, target: Path) -> None:
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


def tokenizer_limit(folder: Path, default: int) -> int:
    """The tokenizer's `model_max_length`, if it states a sensible one."""
    path = folder / TOKENIZER_SETTINGS
    limit = read_json(path).get("model_max_length") if path.is_file() else None
    return limit if type(limit) is int and 0 < limit <= MOST_TOKENS else default


T5 = TextEncoderKind(
    title="a T5 encoder",
    subfolder=SUBFOLDER,
    find=find_text_encoder,
    open=open_text_encoder,
    copy=copy_text_encoder,
    save=save_text_encoder,
)
