"""Record runs of a small random model of type diffusion_uncond with stable-audio-tools, for the tests.

    PYTHONPATH=PACKAGES python scripts/golden_unconditional.py STABLE_AUDIO_TOOLS tests/golden/uncond

STABLE_AUDIO_TOOLS is a checkout; PACKAGES holds k-diffusion 0.1.1, torchsde, torchdiffeq, trampoline and einops. Libraries
that are only imported are stood in for. The reference's `generate_diffusion_uncond` ends in a TypeError (an argument too
many for `sample_k`), so what it would do is done here step by step.
"""

import importlib
import importlib.abc
import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file

STOOD_IN = {
    "torchaudio",
    "torchvision",
    "alias_free_torch",
    "einops_exts",
    "dctorch",
    "local_attention",
    "webdataset",
    "pytorch_lightning",
    "ema_pytorch",
}
OOBLECK = {"channels": 4, "c_mults": [1, 2, 4], "strides": [2, 4, 8], "use_snake": True}
CONFIG: dict[str, Any] = {
    "model_type": "diffusion_uncond",
    "sample_size": 2112,
    "sample_rate": 44100,
    "audio_channels": 2,
    "model": {
        "type": "dit",
        "config": {
            "in_channels": 6,
            "embed_dim": 64,
            "depth": 2,
            "num_heads": 2,
            "transformer_type": "continuous_transformer",
        },
        "pretransform": {
            "type": "autoencoder",
            "iterate_batch": True,
            "config": {
                "encoder": {
                    "type": "oobleck",
                    "config": OOBLECK | {"in_channels": 2, "latent_dim": 12},
                },
                "decoder": {
                    "type": "oobleck",
                    "config": OOBLECK | {"out_channels": 2, "latent_dim": 6, "final_tanh": False},
                },
                "bottleneck": {"type": "vae"},
                "latent_dim": 6,
                "downsampling_ratio": 64,
                "io_channels": 2,
            },
        },
    },
}
CASES: dict[str, dict[str, Any]] = {
    "3m": {"sampler_type": "dpmpp-3m-sde", "steps": 6, "sigma_min": 0.3, "sigma_max": 500.0, "seed": 1, "batch": 2},
    "defaults": {"sampler_type": "dpmpp-2m-sde", "steps": 5, "seed": 2, "batch": 1},
    "with_init": {"sampler_type": "dpmpp-2m", "steps": 5, "sigma_min": 0.1, "seed": 3, "batch": 1, "init": 5.0},
}  # fmt: skip


class StandIn(ModuleType):
    """A module from which any public name can be imported."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


class StandIns(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the libraries that are only imported."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name.split(".")[0] in STOOD_IN:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: Any) -> ModuleType:
        module = StandIn(spec.name)
        module.__path__ = []
        return module

    def exec_module(self, module: ModuleType) -> None:
        """A stand-in is empty."""


def reference(checkout: str) -> tuple[Any, Any]:
    """The reference's factory and its sampling, imported from the checkout."""
    sys.meta_path.insert(0, StandIns())
    sys.path.insert(0, checkout)
    diffusion = ModuleType("k_diffusion")
    found = importlib.machinery.PathFinder.find_spec("k_diffusion")
    assert found is not None and found.submodule_search_locations is not None
    diffusion.__path__ = list(found.submodule_search_locations)
    sys.modules["k_diffusion"] = diffusion
    for name in ("utils", "sampling", "external"):
        setattr(diffusion, name, importlib.import_module(f"k_diffusion.{name}"))
    factory = importlib.import_module("stable_audio_tools.models.factory")
    return factory, importlib.import_module("stable_audio_tools.inference.sampling")


def main(checkout: str, out: str) -> None:
    """Write the model, its config, the cases and what they give."""
    factory, sampling = reference(checkout)
    torch.manual_seed(0)
    model = factory.create_model_from_config(json.loads(json.dumps(CONFIG))).eval()
    for parameter in model.parameters():  # the reference starts some at zero
        parameter.data += 0.05 * torch.randn(parameter.shape)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    state = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "model_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
    (folder / "cases.json").write_text(json.dumps(CASES, indent=1) + "\n")
    golden = {"audio": 0.1 * torch.randn(2, 2112)}
    with torch.no_grad():
        for name, case in CASES.items():
            golden[f"gen.{name}"] = latents = run(model, sampling, dict(case), golden["audio"])
            golden[f"audio.{name}"] = model.pretransform.decode(latents)
    save_file(golden, folder / "golden.safetensors")


def run(model: Any, sampling: Any, case: dict[str, Any], audio: torch.Tensor) -> torch.Tensor:
    """What `generate_diffusion_uncond` would do: seed, noise, the encoder's draw, the sampler."""
    seed, batch, level = case.pop("seed"), case.pop("batch"), case.pop("init", None)
    torch.manual_seed(seed)
    noise = torch.randn([batch, model.io_channels, 33])
    start = None
    if level is not None:
        start = model.pretransform.encode(audio[None])
        case["sigma_max"] = level
    return sampling.sample_k(model.model, noise, start, **case, device="cpu")


if __name__ == "__main__":
    main(*sys.argv[1:])
