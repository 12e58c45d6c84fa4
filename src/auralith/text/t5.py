"""The T5 text encoder and its tokenizer: found beside a checkpoint, opened strictly, copied and saved.

They are not part of the published weights file. A folder in the form of the transformers library holds both; in the
diffusers layout they lie in two. transformers is imported here and only when needed.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auralith.errors import CheckpointError
from auralith.foreign import read_json, without_code
from auralith.models.lazy_tensor import require_tensors, weights_of
from auralith.tensor_files import find_component, read_component, write_json, write_safetensors
from auralith.text.encoder import (
    CONFIG_ERRORS,
    TextEncoder,
    TextEncoderFolders,
    TextEncoderKind,
    copy_text_encoder,
    find_text_encoder,
    is_of_type,
    require_sizes,
)
from auralith.text.tokenizer import (
    TOKENIZER,
    TOKENIZER_FILES,
    TOKENIZER_SETTINGS,
    first_line,
    open_tokenizer,
    save_tokenizer,
)

if TYPE_CHECKING:
    import transformers

LARGEST_T5 = {
    **dict.fromkeys(("num_layers", "num_heads", "relative_attention_num_buckets"), 512),
    **dict.fromkeys(("d_model", "d_kv", "d_ff", "relative_attention_max_distance"), 1 << 17),
    "vocab_size": 1 << 24,
}
"""The largest published one, T5-11B, has 24 layers of 128 heads, widths to 65,536, and 32,128 tokens."""
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")
SHARED, TIED = "shared.weight", "encoder.embed_tokens.weight"


MODEL_TYPE, SUBFOLDER = "t5", "t5"
"""The folder beside a single file; diffusers has `text_encoder` and `tokenizer`."""


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
    from transformers import T5Tokenizer

    model = _open_model(folders.model, width, device, dtype, variant)
    opener = T5Tokenizer if _is_t5_tokenizer(folders.tokenizer) else None
    return TextEncoder(model.eval(), open_tokenizer(folders.tokenizer, opener))


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
    require_sizes(data, LARGEST_T5, path, "T5")
    config_errors = (StrictDataclassError, *CONFIG_ERRORS)
    try:
        config = T5Config.from_dict(without_code(data))
        with torch.device("meta"):
            return T5EncoderModel(config)
    except config_errors as error:
        raise CheckpointError(f"{path} is no T5 config: {first_line(error)}") from None


def _is_t5_tokenizer(folder: Path) -> bool:
    """Return whether a tokenizer is T5's own class, by its settings or by what lies beside it."""
    path = folder / TOKENIZER_SETTINGS
    stated = read_json(path).get("tokenizer_class") if path.is_file() else None
    if stated is None:
        return is_of_type(folder, MODEL_TYPE) or not (folder / TOKENIZER).is_file()
    return stated in T5_TOKENIZERS


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
    save_tokenizer(folder, text.tokenizer)


T5 = TextEncoderKind(
    title="a T5 encoder",
    subfolder=SUBFOLDER,
    beside=(f"{SUBFOLDER}/*",),
    alone=("config.json", "model.safetensors", *TOKENIZER_FILES),
    find=partial(find_text_encoder, MODEL_TYPE, (SUBFOLDER,)),
    open=open_text_encoder,
    copy=copy_text_encoder,
    save=save_text_encoder,
)
