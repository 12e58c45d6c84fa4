"""From a request to a waveform: `loading` finds and opens a model, `model` conditions, denoises, decodes and trims.

`describing` says what is known of a model without its weights.
"""

from auralith.pipeline.loading import EMBEDDED, generate, load
from auralith.pipeline.model import Auralith
from auralith.result import Audio
from auralith.steering import UNSTEERED, Steering

__all__ = ["EMBEDDED", "UNSTEERED", "Audio", "Auralith", "Steering", "generate", "load"]
