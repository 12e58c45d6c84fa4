"""The published way to train Stable Audio 3, from its program for adapters: `training` in the words of its settings.

Its pairing of noise with sounds inside a batch (`ot_coupling`) is left out: that program's batches are of one sound.
"""

from auralith.foreign import Json

TRAINING: Json = {
    "cfg_dropout_prob": 0.1,
    "timestep_sampler": "trunc_logit_normal",
    "silence_extension_scale_seconds": 4.0,
    "mask_loss_weight": 1.0,
    "inpainting": {"mask_kwargs": {"mask_type_probabilities": [0.1, 0.8, 0.1]}},
}
