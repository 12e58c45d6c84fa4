"""The T5Gemma text encoder: found beside a checkpoint, opened strictly, copied and saved.

A published folder holds the decoder as well, which is not read. Texts get no special tokens, and padding on the right.
"""

from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch

from auralith.errors import CheckpointError, shown
from auralith.foreign import Json, read_json
from auralith.models.lazy_tensor import meta_device, require_tensors, weights_of
from auralith.models.t5gemma import ACTIVATIONS, FULL, SLIDING, T5GemmaConfig, T5GemmaEncoder
from auralith.numbers import plain_number
from auralith.tensor_files import find_component, read_component, write_json, write_safetensors
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

MODEL_TYPE = "t5gemma"
SUBFOLDERS = ("t5gemma-b-b-ul2", "t5gemma")
PREFIX = "model."
"""Begins the names of published tensors; those of the encoder alone may lack it."""
LARGEST = {
    **dict.fromkeys(("num_hidden_layers", "num_attention_heads", "num_key_value_heads"), 512),
    **dict.fromkeys(
        ("hidden_size", "intermediate_size", "head_dim", "query_pre_attn_scalar"), 1 << 17
    ),
    **dict.fromkeys(("sliding_window", "vocab_size"), 1 << 24),
}

NUMBERS = {
    "rms_norm_eps": 1.0,
    "attn_logit_softcapping": 1e6,
    "rope_theta": 1e12,
}
"""Limits of numbers that are above 0."""


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
    config = _read_config(folders.model / "config.json")
    require_width(config.hidden_size, width, folders.model)
    with meta_device():
        model = T5GemmaEncoder(config)
    path = find_component(folders.model, "model", variant)
    named = {name.removeprefix(PREFIX): t for name, t in read_component(path).items()}
    weights = {name: tensor for name, tensor in named.items() if name.startswith("encoder.")}
    require_tensors(weights, weights_of(model.state_dict()), path)
    state = {name: tensor.load(device, dtype) for name, tensor in weights.items()}
    model.load_state_dict(state, strict=True, assign=True)
    return TextEncoder(model.eval(), open_tokenizer(folders.tokenizer, has_special_tokens=False))


def _read_config(path: Path) -> T5GemmaConfig:
    """Return the encoder's part of a config; the decoder is not built, and its sizes are not looked at."""
    encoder = read_json(path).get("encoder")
    if not isinstance(encoder, dict):
        raise _no_t5gemma(path, f"its encoder is {shown(encoder)}")
    require_sizes(encoder, LARGEST, path, "T5Gemma")
    given = asdict(T5GemmaConfig()) | _rotation(encoder.get("rope_parameters"), path)
    # null stands for the default, but of the limit of scores for none
    given |= {n: v for n, v in encoder.items() if n in given and v is not None}
    if encoder.get("attn_logit_softcapping", 0) is None:
        given["attn_logit_softcapping"] = None
    for name, reason in _flaws(given).items():
        raise _no_t5gemma(path, f"{name} {reason}")
    given |= {name: float(given[name]) for name in NUMBERS if given[name] is not None}
    given["layer_types"] = tuple(given["layer_types"])
    return T5GemmaConfig(**given)


def _rotation(stated: object, path: Path) -> Json:
    """Return what newer configs say of rotary positions; older ones hold `rope_theta` itself."""
    if stated is None:
        return {}
    if not isinstance(stated, dict) or stated.get("rope_type", "default") != "default":
        raise _no_t5gemma(path, f"rope_parameters is {shown(stated)}")
    return {"rope_theta": stated["rope_theta"]} if "rope_theta" in stated else {}


def _flaws(config: Json) -> dict[str, str]:
    """Return what no such encoder has, by name, for values whose sizes are checked."""
    values, layers = {name: plain_number(config[name]) for name in NUMBERS}, config["layer_types"]
    fits = {
        name: value is not None and 0 < value <= NUMBERS[name] for name, value in values.items()
    }
    fits["attn_logit_softcapping"] |= config["attn_logit_softcapping"] is None
    fits["attention_bias"] = isinstance(config["attention_bias"], bool)
    fits["hidden_activation"] = config["hidden_activation"] in list(ACTIVATIONS)
    is_listed = isinstance(layers, list | tuple) and all(one in (SLIDING, FULL) for one in layers)
    fits["layer_types"] = is_listed and len(layers) in (0, config["num_hidden_layers"])
    found = {name: f"is {shown(config[name])}" for name, good in fits.items() if not good}
    if config["num_attention_heads"] % config["num_key_value_heads"]:
        found["num_key_value_heads"] = "does not divide num_attention_heads"
    return found | ({"head_dim": "is odd"} if config["head_dim"] % 2 else {})


def _no_t5gemma(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path} is no T5Gemma config: {reason}")


def save_text_encoder(folder: Path, text: TextEncoder, dtype: torch.dtype | None = None) -> None:
    """Write model and tokenizer into one folder in the form of the transformers library, without a decoder."""
    model = text.model
    assert isinstance(model, T5GemmaEncoder)
    weights = {f"{PREFIX}{n}": t for n, t in weights_of(model.state_dict()).items()}
    write_text_encoder(folder, weights, _config_json(model.config), text.tokenizer, dtype)


def _copy(
    source: TextEncoderFolders, target: TextEncoderFolders, max_tokens: int | None = None
) -> None:
    """Copy the files; for diffusers' layout, which has a limit of tokens, without the decoder that it can't open."""
    copy_text_encoder(source, target, max_tokens)
    if max_tokens is None:
        return
    named = read_component(find_component(source.model, "model"))
    starts = ("encoder.", f"{PREFIX}encoder.")
    encoder = {name: tensor for name, tensor in named.items() if name.startswith(starts)}
    write_safetensors(target.model / "model.safetensors", encoder)
    own = {"architectures": ["T5GemmaEncoderModel"], "is_encoder_decoder": False}
    write_json(target.model / "config.json", read_json(source.model / "config.json") | own)


def _config_json(config: T5GemmaConfig) -> Json:
    sizes = asdict(config)
    theta, layers = sizes.pop("rope_theta"), sizes.pop("layer_types")
    encoder = sizes | {
        "model_type": "t5_gemma_module",
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "layer_types": list(layers) or None,
    }
    return {
        "architectures": ["T5GemmaEncoderModel"],
        "model_type": MODEL_TYPE,
        "is_encoder_decoder": False,
        "vocab_size": config.vocab_size,
        "encoder": encoder,
    }


T5GEMMA = TextEncoderKind(
    title="a T5Gemma encoder",
    size=477,  # 281.6 million at 768
    subfolder=SUBFOLDERS[0],
    beside=tuple(f"{name}/*" for name in SUBFOLDERS),
    alone=(),  # the files of that name in a model's repository are the model's
    find=partial(find_text_encoder, MODEL_TYPE, SUBFOLDERS),
    open=open_text_encoder,
    copy=_copy,
    save=save_text_encoder,
)
