"""Stable Audio 3: small, medium, and their autoencoders SAME-S and SAME-L (arXiv 2605.17991)."""

from dataclasses import replace

from auralith.families.stable_audio_1 import STABLE_AUDIO_1
from auralith.families.stable_audio_3.autoencoder import SAME

STABLE_AUDIO_3 = replace(STABLE_AUDIO_1, autoencoder=SAME, diffusers=None)
