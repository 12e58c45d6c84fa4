"""The names that programs import from stable-audio-tools, in one place; such a program changes only its imports.

    from auralith.compat.stable_audio_tools import generate_diffusion_cond, get_pretrained_model

Arguments, defaults, shapes and the order of random draws are those of its release 0.0.19, so equal seeds give equal
latents. Its side effects are not: the global generators and torch's switches stay as they are, and nothing is printed.
`torchaudio` stands in for that library's `load` and `save`, which the model card uses as well.
"""

from auralith.compat.stable_audio_tools import torchaudio
from auralith.compat.stable_audio_tools.generation import (
    generate_diffusion_cond,
    generate_diffusion_cond_inpaint,
    generate_diffusion_uncond,
)
from auralith.compat.stable_audio_tools.loading import (
    StableAudioModel,
    copy_state_dict,
    create_model_from_config,
    create_model_from_config_path,
    get_pretrained_model,
    load_ckpt_state_dict,
)
from auralith.compat.stable_audio_tools.run import prepare_audio

__all__ = [
    "StableAudioModel",
    "copy_state_dict",
    "create_model_from_config",
    "create_model_from_config_path",
    "generate_diffusion_cond",
    "generate_diffusion_cond_inpaint",
    "generate_diffusion_uncond",
    "get_pretrained_model",
    "load_ckpt_state_dict",
    "prepare_audio",
    "torchaudio",
]
