"""Write tests/golden/flow_sampling from a checkout of stable-audio-tools.

    python scripts/golden_flow_sampling.py STABLE_AUDIO_TOOLS

The reference's `generate_diffusion_cond` around our network with the weights of tests/golden/sao_small_tiny: every
sampler of rectified flow, under every shift of timesteps in cases.json, from noise and from audio. k-diffusion and
torchaudio, which these runs never call, are stand-ins.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from auralith.compat.stable_audio_tools import StableAudioModel, get_pretrained_model

PACKAGE = "stable_audio_tools"
GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
FOLDER = GOLDEN / "flow_sampling"
UNUSED = ("k_diffusion", "torchaudio", "torchaudio.transforms")
# as published models and configs write them, and for the lengths of the runs: 8 frames
SHIFTS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "defaults": {},
    "small": {"min_length": 256, "max_length": 4096},
    "inside": {"min_length": 4, "max_length": 16},
    "above": {"min_length": 2, "max_length": 6, "base_shift": 0.25, "max_shift": 2.0},
    "downward": {"min_length": 4, "max_length": 12, "base_shift": -0.5, "max_shift": 0.1},
    "sine": {"min_length": 4, "max_length": 16, "use_sine": True},
}
INIT_LEVELS = (None, 0.3, 0.85, 1.0)
SAMPLERS = ("euler", "rk4", "dpmpp", "pingpong")
ARGUMENTS: dict[str, Any] = {"steps": 5, "cfg_scale": 1.0, "sample_size": 8 * 2_048, "seed": 11}
ITEM = {"prompt": "a low bell", "seconds_start": 0, "seconds_total": 0.3}
TONE_SAMPLES = 9_000


def tone() -> Tensor:
    return 0.3 * torch.sin(torch.linspace(0, 700, TONE_SAMPLES)).repeat(2, 1)


def generation(checkout: Path) -> Any:
    """The reference's module, in packages without their __init__."""
    for name in UNUSED:
        sys.modules[name] = ModuleType(name)
    setattr(sys.modules["torchaudio"], "transforms", sys.modules["torchaudio.transforms"])  # noqa: B010
    for name in (PACKAGE, f"{PACKAGE}.inference", f"{PACKAGE}.data"):
        package = ModuleType(name)
        package.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = package
    return importlib.import_module(f"{PACKAGE}.inference.generation")


class Network(torch.nn.Module):
    """Our network under the reference's call, for one condition."""

    def __init__(self, model: StableAudioModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor, t: Tensor, **inputs: Any) -> Tensor:
        return self.model.model(x, t, inputs["cross_attn_cond"], inputs["global_cond"])


class Pretransform:
    def __init__(self, model: StableAudioModel) -> None:
        self.model = model
        self.downsampling_ratio, self.io_channels = model.min_input_length, 2

    def encode(self, waveform: Tensor) -> Tensor:
        """A draw from the posterior by the global generator, as the reference makes it."""
        posterior = self.model.pretransform.model.encode(waveform)
        return posterior.sample(torch.randn(posterior.mean.shape))


def wrapped(model: StableAudioModel, shift: Any) -> SimpleNamespace:
    return SimpleNamespace(
        model=Network(model),
        pretransform=Pretransform(model),
        conditioner=model.conditioner,
        get_conditioning_inputs=model.get_conditioning_inputs,
        io_channels=model.io_channels,
        sample_rate=model.sample_rate,
        diffusion_objective=model.diffusion_objective,
        dist_shift=shift,
    )


def run(reference: Any, model: SimpleNamespace, sampler: str, level: float | None) -> Tensor:
    arguments = ARGUMENTS | {"sampler_type": sampler, "device": "cpu", "return_latents": True}
    if level is not None:
        arguments |= {"init_audio": (model.sample_rate, tone()), "init_noise_level": level}
    with torch.no_grad():
        return reference.generate_diffusion_cond(model, conditioning=[ITEM], **arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a checkout of stable-audio-tools")
    checkout = parser.parse_args().checkout
    model = get_pretrained_model(GOLDEN / "sao_small_tiny")[0]  # before torchaudio is a stand-in
    reference = generation(checkout)
    shifts = sys.modules[f"{PACKAGE}.inference.sampling"].DistributionShift
    found = {}
    for name, options in SHIFTS.items():
        shift = None if options is None else shifts(**options)
        for sampler in SAMPLERS:
            for level in INIT_LEVELS:
                key = f"{name}.{sampler}.{level}"
                found[key] = run(reference, wrapped(model, shift), sampler, level).contiguous()
    FOLDER.mkdir(exist_ok=True)
    save_file(found, FOLDER / "latents.safetensors")
    cases = {"shifts": SHIFTS, "arguments": ARGUMENTS, "item": ITEM, "tone_samples": TONE_SAMPLES}
    (FOLDER / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
