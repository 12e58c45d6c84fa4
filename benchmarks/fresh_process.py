"""What only a fresh process can tell: import time, and time and peak memory of loading and of a whole clip.

Prints one JSON object. Everything heavy is imported inside, after the clock has started.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

SECONDS = 10.0


def peak_bytes() -> int:
    """Peak resident memory, mapped files included."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss would include the parent before exec
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def time_import(statement: str) -> dict[str, float]:
    start = time.perf_counter()
    exec(statement, {})
    return {"seconds": time.perf_counter() - start}


def clip_of_auralith(folder: str, dtype: str, steps: int) -> dict[str, float]:
    """The public door: text encoder, sampler and decoder, all included."""
    from auralith import GenerationRequest, load

    start = time.perf_counter()
    model = load(folder, device="cpu", dtype=dtype)
    loaded, peak_loaded = time.perf_counter(), peak_bytes()
    request = GenerationRequest("rain", seconds_total=SECONDS, steps=steps, window="fit", seed=0)
    model.generate(request)
    return report(start, loaded, peak_loaded)


def clip_of_diffusers(folder: str, dtype: str, steps: int) -> dict[str, float]:
    """The pipeline's parts at its full window. Its sampler's own arithmetic is left out, in its favor."""
    import torch
    from candidates import CONTEXT_ROWS, diffusers_candidate
    from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
    from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
    from transformers import AutoTokenizer, T5EncoderModel

    start = time.perf_counter()
    number_format = getattr(torch, dtype)
    transformer = StableAudioDiTModel.from_pretrained(
        folder, subfolder="transformer", torch_dtype=number_format
    )
    vae = AutoencoderOobleck.from_pretrained(folder, subfolder="vae", torch_dtype=number_format)
    text_encoder = T5EncoderModel.from_pretrained(
        folder, subfolder="text_encoder", dtype=number_format
    )
    AutoTokenizer.from_pretrained(folder, subfolder="tokenizer")
    loaded, peak_loaded = time.perf_counter(), peak_bytes()
    with torch.inference_mode():
        text = text_encoder(torch.zeros(1, CONTEXT_ROWS - 2, dtype=torch.long)).last_hidden_state
        context = torch.nn.functional.pad(text, (0, 0, 0, 2))
        frames = int(transformer.config["sample_size"])
        x = torch.randn(1, 64, frames).to(number_format)
        global_embed = torch.zeros(1, 2 * context.shape[-1], dtype=number_format)
        candidate = diffusers_candidate(transformer, vae)
        step = candidate.request(context, global_embed, frames)
        for index in range(steps):
            x = x - 0.1 * step(x, torch.tensor([1 - index / steps])).tanh()
        candidate.decode(x)
    return report(start, loaded, peak_loaded)


def report(start: float, loaded: float, peak_loaded: int) -> dict[str, float]:
    return {
        "load_seconds": loaded - start,
        "load_peak_bytes": peak_loaded,
        "clip_seconds": time.perf_counter() - loaded,
        "clip_peak_bytes": peak_bytes(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("import", "auralith", "diffusers"))
    parser.add_argument("subject", help="a statement, or the folder of a checkpoint")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.what == "import":
        result = time_import(arguments.subject)
    else:
        import torch

        torch.set_num_threads(arguments.threads)
        clip = clip_of_auralith if arguments.what == "auralith" else clip_of_diffusers
        result = clip(arguments.subject, arguments.dtype, arguments.steps)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
