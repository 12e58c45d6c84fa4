"""Write random weights for OpenL3, PaSST and CLAP under their published names, to try an evaluation without the real ones.

    python -m scripts.random_weights FOLDER
    auralith evaluate --embedder-weights FOLDER …

Shapes and files are the published ones: two of OpenL3 (19 MB each), PaSST (345 MB) and CLAP with fusion (614 MB). The
folder declares them to be random, so every report says it, and none of its values stands beside a printed one.
"""

import gzip
import io
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from auralith.embedders.clap import FRONT_END
from auralith.embedders.openl3 import OpenL3Network
from auralith.embedders.passt import PaSSTNetwork
from auralith.weights import weights_entry
from auralith.weights.places import OTHER_WEIGHTS
from scripts.embedder_peers import SEED, fill

_KERAS = {
    "weight": {1: "gamma", 4: "kernel"},
    "bias": {1: "beta", 4: "bias"},
    "running_mean": {1: "moving_mean"},
    "running_var": {1: "moving_variance"},
}
"""Keras's name of a tensor by ours and the number of axes of its layer's weight."""
Change = Callable[[Any], None]
"""Takes the open file of Keras and spoils it, for tests."""
_NAMED_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")


def write_all(
    folder: Path,
    openl3: OpenL3Network | None = None,
    passt: PaSSTNetwork | None = None,
    clap: dict[str, Any] | None = None,
) -> None:
    """Write the weights of the paper's three metrics; smaller networks and another config are for tests."""
    folder.mkdir(parents=True)
    (folder / OTHER_WEIGHTS).write_text(f"random numbers, seed {SEED}\n")
    for seed, name in enumerate(("openl3-env", "openl3-music"), SEED):
        network = openl3 or OpenL3Network()
        fill(network.requires_grad_(False), seed)
        write_keras(folder / weights_entry(name).place, network.state_dict())
    classifier = passt or PaSSTNetwork()
    fill(classifier.requires_grad_(False))
    torch.save(classifier.state_dict(), folder / weights_entry("passt").place)
    write_clap(folder / weights_entry("clap-fused").place, clap or published_clap())


def write_keras(
    path: Path, state: Mapping[str, Tensor], first: int = 1, change: Change = lambda file: None
) -> Path:
    """Write weights of OpenL3 as Keras does, gzipped: layers in order, also such without weights, counted from any number."""
    import h5py

    layers: dict[str, dict[str, Tensor]] = {"input_1": {}, "melspectrogram": {}}
    for key, value in state.items():
        own, _, name = key.rpartition(".")
        stem, _, number = own.rpartition("_")
        layer = f"{stem}_{int(number) + first - 1}" if number.isdigit() else own
        layers.setdefault(layer, {})[name] = value
        if own.startswith("batch"):
            layers.setdefault(f"activation_{number}", {})
    memory = io.BytesIO()
    with h5py.File(memory, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer, tensors in layers.items():
            group, named = file.create_group(layer), {}
            for name, value in tensors.items():
                # Keras has (height, width, in, out)
                value = value.permute(2, 3, 1, 0) if value.ndim == 4 else value
                named[f"{layer}/{_KERAS[name][tensors['weight'].ndim]}:0"] = value.numpy()
            group.attrs["weight_names"] = [name.encode() for name in named]
            for name, value in named.items():
                group[name] = value
        change(file)
    path.write_bytes(gzip.compress(memory.getvalue(), 1))
    return path


def published_clap() -> dict[str, Any]:
    """Return the sizes of laion/clap-htsat-fused, where they are not transformers' defaults."""
    audio = {"enable_fusion": True, "aff_block_r": 4}
    return {"model_type": "clap", "audio_config": audio, "text_config": {}, "projection_dim": 512}


def small_clap(*, fused: bool = True) -> dict[str, Any]:
    """Return sizes that are quick to try."""
    audio = {
        "patch_embeds_hidden_size": 8,
        "depths": [1, 1],
        "num_attention_heads": [1, 2],
        "num_hidden_layers": 2,
        "hidden_size": 16,
        "enable_fusion": fused,
        "aff_block_r": 2,
    }
    text = {
        "vocab_size": 300,
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 90,
    }
    return {"model_type": "clap", "audio_config": audio, "text_config": text, "projection_dim": 12}


def write_clap(folder: Path, config: dict[str, Any]) -> None:
    """Write a folder as the Hub has it, with a tokenizer of bytes in place of RoBERTa's."""
    from transformers import ClapConfig, ClapModel

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    fused = config["audio_config"]["enable_fusion"]
    front_end = FRONT_END | {"truncation": "fusion" if fused else "rand_trunc"}
    (folder / "preprocessor_config.json").write_text(json.dumps(front_end))
    _write_tokenizer(folder)
    model = ClapModel(ClapConfig.from_dict(config)).requires_grad_(False)
    fill(model)
    state = {name: value.contiguous() for name, value in model.state_dict().items()}
    for name, value in state.items():
        if "batch_norm.running" in name:  # as trained ones are: dB of mel powers
            value.fill_(-30 if name.endswith("mean") else 400)
    save_file(state, folder / "model.safetensors")


def _write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from tokenizers.processors import RobertaProcessing

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate([*_NAMED_TOKENS, *letters])}
    tokenizer: Any = Tokenizer(BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = ("bos_token", "pad_token", "eos_token", "unk_token")
    named = dict(zip(roles, _NAMED_TOKENS, strict=True)) | {"tokenizer_class": "RobertaTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))


if __name__ == "__main__":
    write_all(Path(sys.argv[1]))
