"""Models by name or from a config, and checkpoints as state dicts under the published tensor names.

`get_pretrained_model` maps the weights straight from their file. The two steps that programs take as well, a model from
its config and then `load_state_dict(load_ckpt_state_dict(path))`, need twice the memory, as in the reference. Nothing
is ever loaded in part: what doesn't fit is an error that names the tensor.

State dicts are translated in both directions, through torch's own hooks: `model.state_dict()` can be saved as the
`model.safetensors` of a published checkpoint, and the dict of such a file can be loaded. Weight norm is unfolded on the
way out and folded on the way in.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from auralith.checkpoints.opening import (
    locate,
    open_located,
    open_networks,
)
from auralith.checkpoints.single_file import RawCheckpoint
from auralith.checkpoints.text_encoders import locate_text_encoder
from auralith.checkpoints.transform import (
    check_weights,
    completed,
    published_weights,
    to_ours,
    to_single_file,
    with_old_weight_norm,
)
from auralith.compat.stable_audio_tools.generation import generate_diffusion_cond
from auralith.compat.stable_audio_tools.model import (
    ConditionedDiffusionModel,
    MultiConditioner,
    Pretransform,
)
from auralith.config import ModelConfig
from auralith.families.family import Spec
from auralith.families.model_config import config_from_json, spec_to_json
from auralith.families.registry import Networks, text_encoder_kind
from auralith.foreign import Json, read_json
from auralith.models.autoencoder import Autoencoder
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import weights_of
from auralith.tensor_files import read_tensor_file
from auralith.text.encoder import TextEncoder

CPU = torch.device("cpu")


class StableAudioModel(ConditionedDiffusionModel):
    """The model that `get_pretrained_model` and `create_model_from_config` return."""

    generate = generate_diffusion_cond


def get_pretrained_model(name: str | Path) -> tuple[StableAudioModel, Json]:
    """A model in float32 on the CPU, and its `model_config.json`.

    `name` is a name on the Hub, a folder or a weights file, in any layout that Auralith reads. The text encoder is the
    one beside the weights, or else the Hub model that the config names.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, gated, of another architecture, or not safe to read.
    """
    raw = locate(name, with_text_encoder=True)
    if raw.spec.model is not None and not raw.spec.model.is_conditional:
        networks = open_networks(raw, CPU, torch.float32)
        return _unconditional(raw.spec.model, networks), raw.config_json or spec_to_json(raw.spec)
    checkpoint = open_located(raw, device=CPU, dtype=torch.float32)
    model_config = raw.config_json or spec_to_json(raw.spec)
    model = _assembled(
        model_config,
        checkpoint.config,
        (checkpoint.autoencoder, checkpoint.dit, checkpoint.numbers),
        checkpoint.text,
    )
    return model, model_config


def create_model_from_config(
    model_config: Json, text_encoder: str | Path | None = None
) -> StableAudioModel:
    """A model with random weights, to be filled by `load_state_dict`.

    `text_encoder` is a T5 folder or a name on the Hub, taken in place of the one that the config names. Raises
    CheckpointError.
    """
    return _from_config(model_config, Path("model_config.json"), text_encoder)


def create_model_from_config_path(
    model_config_path: str | Path, text_encoder: str | Path | None = None
) -> StableAudioModel:
    """Build a model as `create_model_from_config` does; a text encoder that lies beside the config is used."""
    path = Path(model_config_path)
    return _from_config(read_json(path), path, text_encoder)


def load_ckpt_state_dict(ckpt_path: str | Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a pickled checkpoint, which can't run code. Raises CheckpointError."""
    weights = read_tensor_file(Path(ckpt_path)).weights
    return {name: tensor.load(CPU, tensor.dtype) for name, tensor in weights.items()}


def copy_state_dict(model: nn.Module, state_dict: Mapping[str, Tensor]) -> None:
    """`model.load_state_dict`: the reference drops what doesn't fit without a word, here it is an error."""
    model.load_state_dict(state_dict)


def _from_config(
    model_config: Json, path: Path, text_encoder: str | Path | None
) -> StableAudioModel:
    config = config_from_json(model_config, path)
    if not config.is_conditional:
        return _unconditional(config, _random_networks(Spec.of(config)))
    beside = RawCheckpoint("single-file", str(path), Spec.of(config), {}, (), path.parent)
    folders = locate_text_encoder(beside, text_encoder)
    text = text_encoder_kind(config).open(folders, None, CPU, torch.float32)
    config = config.with_text_of(text.width)
    networks = _random_networks(Spec.of(config))
    parts = (networks.autoencoder, networks.dit, networks.numbers)
    return _assembled(model_config, config, parts, text)


def _random_networks(spec: Spec) -> Networks:
    with torch.random.fork_rng(devices=[]):  # the initial values leave the global generator alone
        return Networks(spec).eval()


def _unconditional(config: ModelConfig, networks: Networks) -> StableAudioModel:
    model = StableAudioModel(config, networks.dit, Pretransform(config, networks.autoencoder), None)
    use_published_names(model)
    return model


def _assembled(
    model_config: Json,
    config: ModelConfig,
    networks: tuple[Autoencoder, DiffusionTransformer[Any], nn.ModuleDict],
    text: TextEncoder,
) -> StableAudioModel:
    autoencoder, dit, numbers = networks
    sections = model_config["model"]
    default_keys = sections["conditioning"].get("default_keys", {})
    model = StableAudioModel(
        config,
        dit,
        Pretransform(config, autoencoder),
        MultiConditioner(config, numbers, text, default_keys),
    )
    use_published_names(model)
    return model


# our names → the same networks in the reference's tree of modules
PLACES = {
    "autoencoder.": "pretransform.model.",
    "numbers.": "conditioner.conditioners.",
    "dit.": "model.",
}
OURS = {place: ours for ours, place in PLACES.items()}


def use_published_names(model: ConditionedDiffusionModel) -> None:
    """From here on `state_dict` gives the published names, and `load_state_dict` takes them."""
    model.register_state_dict_post_hook(_to_published)
    model.register_load_state_dict_pre_hook(_from_published)


def _to_published(
    model: ConditionedDiffusionModel, state: dict[str, Any], prefix: str, local_metadata: object
) -> None:
    tensors = {_moved(name, OURS): tensor for name, tensor in _taken(state, prefix).items()}
    for name, tensor in to_single_file(weights_of(tensors), Spec.of(model.config)).items():
        state[prefix + name] = tensor.read()


def _from_published(
    model: ConditionedDiffusionModel, state: dict[str, Any], prefix: str, *rest: object
) -> None:
    """Raises CheckpointError unless every tensor fits, whatever `strict` says."""
    spec, where = Spec.of(model.config), "the state dict"
    published = with_old_weight_norm(weights_of(_taken(state, prefix)))
    check_weights(published, published_weights(spec), where)
    for name, tensor in to_ours(completed(published, spec, where), spec).items():
        state[prefix + _moved(name, PLACES)] = tensor.read()


def _taken(state: dict[str, Any], prefix: str) -> dict[str, Any]:
    """The model's entries, removed from a dict that may hold more."""
    names = [name for name in state if name.startswith(prefix)]
    return {name.removeprefix(prefix): state.pop(name) for name in names}


def _moved(name: str, places: dict[str, str]) -> str:
    place = next(place for place in places if name.startswith(place))
    return places[place] + name.removeprefix(place)
