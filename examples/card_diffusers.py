"""The model card's diffusers usage; only the import and the place of the model differ.

python examples/card_diffusers.py FOLDER        # or a name on the Hub, such as stabilityai/stable-audio-open-1.0
"""

import sys

import soundfile as sf
import torch

from auralith.compat.diffusers import StableAudioPipeline

device = "cuda" if torch.cuda.is_available() else "cpu"
dtype = torch.float16 if device == "cuda" else torch.float32
pipe = StableAudioPipeline.from_pretrained(sys.argv[1], torch_dtype=dtype)
pipe = pipe.to(device)

# define the prompts
prompt = "The sound of a hammer hitting a wooden surface."
negative_prompt = "Low quality."

# set the seed for generator
generator = torch.Generator(device).manual_seed(0)

# run the generation
audio = pipe(
    prompt,
    negative_prompt=negative_prompt,
    num_inference_steps=200,
    audio_end_in_s=10.0 if len(sys.argv) < 3 else float(sys.argv[2]),
    num_waveforms_per_prompt=3,
    generator=generator,
).audios

output = audio[0].T.float().cpu().numpy()
sf.write("hammer.wav", output, pipe.vae.sampling_rate)
