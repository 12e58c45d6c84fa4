"""The published ways to sample Stable Audio 3, by objective."""

from dataclasses import replace

from auralith.config import ObjectiveName, SamplingDefaults

FLOW = SamplingDefaults(
    steps=50,
    cfg_scale=7.0,
    sampler="euler",
    sigma_min=0.0,
    sigma_max=1.0,
    default_seconds=120.0,
    window="fit",
    room_frames=0,
    headroom=6.0,
    frame_multiple=2,
    schedule="logsnr-shift",
    apg_eta=0.0,
    clamp=True,
)
DISTILLED = replace(FLOW, steps=8, cfg_scale=1.0, sampler="pingpong")
SAMPLING: dict[ObjectiveName, SamplingDefaults] = {
    "rectified_flow": FLOW,
    "rf_denoiser": DISTILLED,
}
