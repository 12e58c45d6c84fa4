"""Stable Audio Open 1.0 and Small, and community models of their shape (arXiv 2407.14358, section 3)."""

from auralith.config import DISTILLED_SAMPLING, FLOW_SAMPLING, SamplingDefaults
from auralith.families.family import Family
from auralith.families.stable_audio_1.autoencoder import OOBLECK
from auralith.families.stable_audio_1.conditions import INTEGER, NUMBER, T5
from auralith.families.stable_audio_1.diffusers import DIFFUSERS
from auralith.families.stable_audio_1.transformer import TRANSFORMER

STABLE_AUDIO_1 = Family(
    autoencoder=OOBLECK,
    transformer=TRANSFORMER,
    conditions={"t5": T5, "number": NUMBER, "int": INTEGER},
    sampling={
        "v": SamplingDefaults(),
        "rectified_flow": FLOW_SAMPLING,
        "rf_denoiser": DISTILLED_SAMPLING,
    },
    diffusers=DIFFUSERS,
)
