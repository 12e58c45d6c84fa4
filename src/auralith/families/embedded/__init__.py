"""The embedded model: the transformer and the conditions of Stable Audio Open on a much smaller autoencoder."""

from dataclasses import replace

from auralith.families.embedded.autoencoder import SPECTRAL
from auralith.families.stable_audio_1 import STABLE_AUDIO_1

EMBEDDED = replace(STABLE_AUDIO_1, autoencoder=SPECTRAL, diffusers=None)
