"""A loaded model with its transformer compiled, warmed up so that a failure shows before anything is generated."""

import logging

from auralith.errors import AuralithError, ResourceError
from auralith.escaping import one_line
from auralith.models.compiled import leave_uncompiled
from auralith.pipeline.model import Auralith
from auralith.request import GenerationRequest

WARM_UP = GenerationRequest("a sound", seconds_total=1.0, steps=1, seed=0, window="fit")
log = logging.getLogger(__name__)


def compiled(model: Auralith) -> Auralith:
    """Return the model with its transformer's blocks compiled by torch for one sound of any length.

    The given one, which shares them, is not to be used any more. The first time on a machine that takes about a minute.
    Results equal those of the given model to rounding.

    Raises:
        ResourceError: there is no compiler, or it fails.
        InvalidRequest: the model computes in int8.
    """
    place = (model.name, model.device, model.number_format)
    found = Auralith(model.checkpoint, *place, model.adapters, model.parts, is_compiled=True)
    try:
        found.denoise([WARM_UP])
    except Exception as error:  # of torch's compiler, or of the one that it calls
        for dit in found.transformers:
            leave_uncompiled(dit)
        if isinstance(error, AuralithError):
            raise
        raise ResourceError(
            f"torch can't compile here ({one_line(str(error), 160)}); leave --compile out"
        ) from error
    return found


def compiled_where_possible(model: Auralith) -> Auralith:
    """Return the model compiled, or as it is with a warning where this machine can't compile."""
    try:
        return compiled(model)
    except ResourceError as error:
        log.warning(f"it goes on without compiling: {error}")
        return model
