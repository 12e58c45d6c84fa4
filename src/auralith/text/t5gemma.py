"""The T5Gemma text encoder: found beside a checkpoint, opened strictly, copied and saved.

A published folder holds the decoder as well, which is not read. Attention scores go through a soft cap, so the eager
implementation computes them: the fused kernels have none. Texts get no special tokens, and padding on the right.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from auralith.errors import CheckpointError, shown
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
    require_sizes,
)
from auralith.text.tokenizer import first_line, open_tokenizer, save_tokenizer

if TYPE_CHECKING:
    import transformers

MODEL_TYPE = "t5gemma"
SUBFOLDERS = ("t5gemma-b-b-ul2", "t5gemma")
PREFIX = "model."
"""Begins the names of published tensors; those of the encoder alone may lack it."""
LARGEST = {
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 512),
    **dict.fromkeys(("hidden_size", "intermediate_size", "head_dim"), 1 << 17),
    "vocab_size": 1 << 24,
}


def open_text_encoder(
    folders: TextEncoderFolders,
    width: int | None,
    device: torch.device,
    dtype: torch.dtype,
    variant: str | None = None,
) -> TextEncoder:
    """Return a T5Gemma encoder in eval mode with its tokenizer.

    Raises CheckpointError, also if its states are not `width` wide, as the diffusion model needs; None takes any.
    """
    model = _without_memory(folders.model)
    found = model.encoder.embed_tokens.embedding_dim
    if width is not None and found != width:
        raise CheckpointError(
            f"the text encoder in {folders.model} is {found} wide, but the model needs {width}; name another one"
        )
    path = find_component(folders.model, "model", variant)
    named = {name.removeprefix(PREFIX): t for name, t in read_component(path).items()}
    weights = {name: tensor for name, tensor in named.items() if name.startswith("encoder.")}
    require_tensors(weights, weights_of(model.state_dict()), path)
    state = {name: tensor.load(device, dtype) for name, tensor in weights.items()}
    model.load_state_dict(state, strict=True, assign=True)
    # its frequencies are no part of the files, and have no values yet
    rotary = type(model.encoder.rotary_emb)
    model.encoder.rotary_emb = rotary(config=model.encoder.config).to(device)
    tokenizer = open_tokenizer(folders.tokenizer)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    return TextEncoder(model.eval(), tokenizer, special_tokens=False)


def _without_memory(folder: Path) -> "transformers.T5GemmaEncoderModel":
    from huggingface_hub.errors import StrictDataclassError
    from transformers import T5GemmaConfig, T5GemmaEncoderModel

    path = folder / "config.json"
    data = without_code(read_json(path))
    encoder = data.get("encoder")
    if not isinstance(encoder, dict):
        raise CheckpointError(f"{path} is no T5Gemma config: its encoder is {shown(encoder)}")
    require_sizes(encoder, LARGEST, path, "T5Gemma")
    encoder = without_code(encoder)
    # the decoder is not built; its sizes are not looked at
    own = {name: value for name, value in data.items() if name != "decoder"}
    try:
        config = T5GemmaConfig.from_dict(own | {"encoder": encoder, "is_encoder_decoder": False})
        config._attn_implementation = "eager"  # of the encoder as well
        with torch.device("meta"):
            return T5GemmaEncoderModel(config)
    except (StrictDataclassError, *CONFIG_ERRORS) as error:
        raise CheckpointError(f"{path} is no T5Gemma config: {first_line(error)}") from None


def save_text_encoder(folder: Path, text: TextEncoder, dtype: torch.dtype | None = None) -> None:
    """Write model and tokenizer into one folder in the form of the transformers library, without a decoder."""
    weights = {f"{PREFIX}{n}": t for n, t in weights_of(text.model.state_dict()).items()}
    if dtype is not None:
        weights = {name: tensor.cast(dtype) for name, tensor in weights.items()}
    write_safetensors(folder / "model.safetensors", weights)
    config = {"architectures": ["T5GemmaEncoderModel"]} | text.model.config.to_dict()
    config.pop("_name_or_path", None)  # where it was read from says nothing about the model
    write_json(folder / "config.json", config)
    save_tokenizer(folder, text.tokenizer)


T5GEMMA = TextEncoderKind(
    title="a T5Gemma encoder",
    subfolder=SUBFOLDERS[0],
    beside=tuple(f"{name}/*" for name in SUBFOLDERS),
    alone=(),  # the files of that name in a model's repository are the model's
    find=partial(find_text_encoder, MODEL_TYPE, SUBFOLDERS),
    open=open_text_encoder,
    copy=copy_text_encoder,
    save=save_text_encoder,
)
