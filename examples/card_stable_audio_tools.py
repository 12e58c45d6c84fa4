"""The model card's first usage: only its import lines differ, and the checkpoint may be named on the command line.

It needs einops, as the card does. The checkpoint is a name on the Hub, a folder or a weights file.
"""

import sys

import torch
from einops import rearrange

from auralith.compat.stable_audio_tools import (
    generate_diffusion_cond,
    get_pretrained_model,
    torchaudio,
)

# fmt: off
device = "cuda" if torch.cuda.is_available() else "cpu"

# Download model
name = sys.argv[1] if len(sys.argv) > 1 else "stabilityai/stable-audio-open-1.0"
model, model_config = get_pretrained_model(name)
sample_rate = model_config["sample_rate"]
sample_size = model_config["sample_size"]

model = model.to(device)

# Set up text and timing conditioning
conditioning = [{
    "prompt": "128 BPM tech house drum loop",
    "seconds_start": 0,
    "seconds_total": 30
}]

# Generate stereo audio
output = generate_diffusion_cond(
    model,
    steps=100,
    cfg_scale=7,
    conditioning=conditioning,
    sample_size=sample_size,
    sigma_min=0.3,
    sigma_max=500,
    sampler_type="dpmpp-3m-sde",
    device=device
)

# Rearrange audio batch to a single sequence
output = rearrange(output, "b d n -> d (b n)")

# Peak normalize, clip, convert to int16, and save to file
output = output.to(torch.float32).div(torch.max(torch.abs(output))).clamp(-1, 1).mul(32767).to(torch.int16).cpu()
torchaudio.save("output.wav", output, sample_rate)
