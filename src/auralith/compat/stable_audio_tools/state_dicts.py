"""State dicts under the published tensor names, in both directions, through torch's own hooks.

So `model.state_dict()` can be saved as the `model.safetensors` of a published checkpoint, and the dict of such a file
can be loaded. Weight norm is unfolded on the way out and folded on the way in.
"""

from typing import Any

from auralith.checkpoints.transform import (
    check_weights,
    completed,
    published_weights,
    to_ours,
    to_single_file,
    with_old_weight_norm,
)
from auralith.compat.stable_audio_tools.model import ConditionedDiffusionModel
from auralith.families.spec import Spec
from auralith.models.lazy_tensor import weights_of

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
