"""An edit by its description: as it is asked for, or made again from a result's tags."""

from auralith.editing.clip import Clip
from auralith.editing.extension import extend
from auralith.editing.inpainting import inpaint
from auralith.editing.looping import make_loop
from auralith.editing.timeline import OnStep
from auralith.editing.variation import vary, vary_batch
from auralith.edits import Edit, Extension, Inpainting, Loop, Variation
from auralith.errors import InvalidRequest
from auralith.pipeline import Audio, Auralith
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.resolution import Resolver


def apply(
    model: Auralith,
    request: GenerationRequest,
    clip: Clip | None,
    edit: Edit,
    on_step: OnStep = None,
) -> Audio:
    """The result of any edit. Raises as the edit does, and `InvalidRequest` where its sound is missing."""
    if isinstance(edit, Loop):
        return make_loop(model, request, edit, on_step)
    if clip is None:
        raise InvalidRequest("there is no sound to edit; give the one that the edit starts from")
    match edit:
        case Variation():
            return vary(model, request, clip, edit, on_step)
        case Inpainting():
            return inpaint(model, request, clip, edit, on_step)
        case Extension():
            return extend(model, request, clip, edit, on_step)


def longest_clip(edit: Edit, model: Resolver) -> float | None:
    """Return the seconds of a sound that an edit can use, for `read_clip`; None where it keeps all of the sound."""
    match edit:
        case Variation():
            return model.config.audio.seconds(model.config.window_samples)
        case Extension():
            return edit.seconds_total
    return None


def redo(
    model: Auralith,
    request: GenerationRequest,
    clip: Clip | None,
    origin: Provenance,
    on_step: OnStep = None,
) -> Audio:
    """The edit of a result's tags again, under `request` (the tags' own settings give the same samples).

    A variation that was made in a batch is made at its place in such a batch.
    """
    assert origin.edit is not None  # a plain generation is made again by the model itself
    if isinstance(origin.edit, Variation) and clip is not None:
        size = origin.batch_size
        sounds = vary_batch(model, [request] * size, [clip] * size, origin.edit, on_step)
        return sounds[origin.batch_index]
    return apply(model, request, clip, origin.edit, on_step)
