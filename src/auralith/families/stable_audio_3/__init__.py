"""Stable Audio 3: small, medium, and their autoencoders SAME-S and SAME-L (arXiv 2605.17991)."""

from auralith.families.family import Family
from auralith.families.stable_audio_3.autoencoder import SAME
from auralith.families.stable_audio_3.conditions import NUMBER, TEXT
from auralith.families.stable_audio_3.diffusers import DIFFUSERS
from auralith.families.stable_audio_3.sampling import SAMPLING
from auralith.families.stable_audio_3.training import TRAINING
from auralith.families.stable_audio_3.transformer import TRANSFORMER

STABLE_AUDIO_3 = Family(
    autoencoder=SAME,
    transformer=TRANSFORMER,
    conditions={"t5gemma": TEXT, "number": NUMBER},
    sampling=SAMPLING,
    training=TRAINING,
    diffusers=DIFFUSERS,
)
