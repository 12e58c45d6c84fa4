"""The names that programs import from diffusers for Stable Audio; such a program changes only its import.

    from auralith.compat.diffusers import StableAudioPipeline

Arguments, defaults, shapes, files and seeds are those of diffusers 0.42: the same generator gives the same sound.
"""

from auralith.compat.diffusers.component import AudioPipelineOutput
from auralith.compat.diffusers.components import (
    AutoencoderOobleck,
    StableAudioDiTModel,
    StableAudioProjectionModel,
)
from auralith.compat.diffusers.pipeline import StableAudioPipeline
from auralith.compat.diffusers.scheduler import CosineDPMSolverMultistepScheduler

__all__ = [
    "AudioPipelineOutput",
    "AutoencoderOobleck",
    "CosineDPMSolverMultistepScheduler",
    "StableAudioDiTModel",
    "StableAudioPipeline",
    "StableAudioProjectionModel",
]
