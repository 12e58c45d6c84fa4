"""The T5 text encoder and its tokenizer: found beside a checkpoint, opened strictly, copied and saved.

They are not part of the published weights file. A folder in the form of the transformers library holds both; in the
diffusers layout they lie in two.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from auralith.errors import CheckpointError, shown
from auralith.foreign import read_json
from auralith.models.lazy_tensor import meta_device, require_tensors, weights_of
from auralith.models.t5 import ACTIVATIONS, T5Config, T5Encoder
from auralith.numbers import plain_number
from auralith.tensor_files import find_component, read_component
from auralith.text.encoder import (
    TextEncoder,
    TextEncoderFolders,
    TextEncoderKind,
    copy_text_encoder,
    find_text_encoder,
    require_sizes,
    require_width,
    write_text_encoder,
)
from auralith.text.tokenizer import open_tokenizer
from auralith.text.tokenizer_files import TOKENIZER_FILES

LARGEST_T5 = {
    **dict.fromkeys(("num_layers", "num_heads", "relative_attention_num_buckets"), 512),
    **dict.fromkeys(("d_model", "d_kv", "d_ff", "relative_attention_max_distance"), 1 << 17),
    "vocab_size": 1 << 24,
}
"""The largest published one, T5-11B, has 24 layers of 128 heads, widths to 65,536, and 32,128 tokens."""
CONFIG = {
    "architectures": ["T5EncoderModel"],
    "model_type": "t5",
    "is_encoder_decoder": False,
    "use_cache": False,
    "pad_token_id": 0,
    "eos_token_id": 1,
}
"""Values that transformers wants to read beside the sizes."""
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
    model = _open_model(folders.model, width, device, dtype, variant)
    return TextEncoder(model.eval(), open_tokenizer(folders.tokenizer))


def _open_model(
    folder: Path, width: int | None, device: torch.device, dtype: torch.dtype, variant: str | None
) -> T5Encoder:
    config = _read_config(folder / "config.json")
    require_width(config.d_model, width, folder)
    with meta_device():
        model = T5Encoder(config)
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
    model.encoder.embed_tokens = model.shared
    return model


def _read_config(path: Path) -> T5Config:
    data = read_json(path)
    require_sizes(data, LARGEST_T5, path, "T5")
    # null stands for the default
    given = asdict(T5Config())
    given |= {n: v for n, v in data.items() if n in given and v is not None}
    epsilon = plain_number(given["layer_norm_epsilon"])
    if epsilon is None or not 0 < epsilon < 1:
        raise _no_t5(path, f"layer_norm_epsilon is {shown(given['layer_norm_epsilon'])}")
    if not isinstance(given["feed_forward_proj"], str):
        raise _no_t5(path, f"feed_forward_proj is {shown(given['feed_forward_proj'])}")
    given["layer_norm_epsilon"] = float(epsilon)
    config = T5Config(**given)
    if config.activation not in ACTIVATIONS:
        raise _no_t5(path, f"feed_forward_proj is {shown(config.feed_forward_proj)}")
    if config.relative_attention_num_buckets < 4:
        raise _no_t5(path, "relative_attention_num_buckets is below 4")
    if config.relative_attention_max_distance <= config.relative_attention_num_buckets // 4:
        raise _no_t5(path, "relative_attention_max_distance is within its smallest buckets")
    return config


def _no_t5(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is no T5 config: {reason}")


def save_text_encoder(folder: Path, text: TextEncoder, dtype: torch.dtype | None = None) -> None:
    """Write model and tokenizer into one folder in the form of the transformers library."""
    model = text.model
    assert isinstance(model, T5Encoder)
    weights = {n: t for n, t in weights_of(model.state_dict()).items() if n != TIED}
    write_text_encoder(folder, weights, CONFIG | asdict(model.config), text.tokenizer, dtype)


T5 = TextEncoderKind(
    title="a T5 encoder",
    size=186,  # 109.6 million at 768
    subfolder=SUBFOLDER,
    beside=(f"{SUBFOLDER}/*",),
    alone=("config.json", "model.safetensors", *TOKENIZER_FILES),
    find=partial(find_text_encoder, MODEL_TYPE, (SUBFOLDER,)),
    open=open_text_encoder,
    copy=copy_text_encoder,
    save=save_text_encoder,
)
