"""OpenL3 and PaSST as others have written them, and weights that are the same everywhere, for goldens and benchmarks.

    pip install librosa resampy==0.2.2 && pip download --no-deps torchopenl3==1.0.1 torchaudio   # unpack both wheels
    git clone https://github.com/kkoutini/passt_hear21

Of torchaudio only `compliance/kaldi.py` is run, by itself. What else the peers import, they do not use here: empty
stand-ins take its place.
"""

import contextlib
import importlib
import importlib.util
import io
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

SEED = 2407


def fill(network: nn.Module, seed: int = SEED) -> None:
    """Give a network weights that depend on names, shapes and the seed alone, so that activations stay near one."""
    for name, values in network.state_dict().items():
        if not values.is_floating_point() or "speclayer" in name:
            continue
        # `random` of PCG64 is the same on every machine; normal numbers are not
        drawn = np.random.default_rng([seed, zlib.crc32(name.encode())]).random(tuple(values.shape))
        uniform = torch.from_numpy(np.asarray(2 * drawn - 1))
        if values.ndim in (2, 4):
            uniform *= (4.5 / values[0].numel()) ** 0.5
        elif name.endswith(("running_var", "weight")):
            uniform = 1 + 0.3 * uniform
        elif name == "batch_normalization_1.running_mean":
            uniform = uniform - 40
        else:
            uniform *= 0.3
        if name == "batch_normalization_1.running_var":
            uniform *= 400
        values.copy_(uniform)


def sound(seconds: float, sample_rate: int) -> Tensor:
    """Return a sweep, a chord, clicks and noise (sample,), the same on every machine but for rounding."""
    t = torch.arange(round(seconds * sample_rate), dtype=torch.float64) / sample_rate
    sweep = torch.sin(2 * torch.pi * (60 * t + 1_500 * t**2 / max(seconds, 1)))
    chord = sum(torch.sin(2 * torch.pi * hz * t) / 3 for hz in (220.0, 277.2, 3_520.0, 9_000.0))
    clicks = (torch.arange(len(t)) % (sample_rate // 7) == 0).double()
    noise = torch.from_numpy(np.random.default_rng(SEED).random(len(t)) - 0.5)
    return (0.3 * sweep * torch.exp(-t % 0.5) + 0.1 * chord + 0.2 * clicks + 0.02 * noise).float()


def torchopenl3(unpacked: Path) -> nn.Module:
    """Return torchopenl3's mel256 network with its front end of kapre 0.1.4."""
    package = ModuleType("torchopenl3")
    package.__path__ = [str(unpacked / "torchopenl3")]
    sys.modules |= {"torchopenl3": package, "torchopenl3.core": ModuleType("torchopenl3.core")}
    models = importlib.import_module("torchopenl3.models")
    network = models.PytorchOpenl3("env", "mel256", 512).eval()
    with torch.no_grad():
        fill(network)
    return network


class HearPasst(nn.Module):
    """PaSST of hear21passt: `mel` and `net`; `mel` answers in the old form of `torch.stft` that it was written for."""

    def __init__(self, checkout: Path, kaldi: Path, **sizes: int) -> None:
        super().__init__()
        _stand_ins(checkout, kaldi)
        preprocess: Any = importlib.import_module("hear21passt.models.preprocess")
        preprocess.torch = _OldTorch()
        passt = importlib.import_module("hear21passt.models.passt")
        with contextlib.redirect_stdout(io.StringIO()):
            self.mel = preprocess.AugmentMelSTFT(fmin_aug_range=10, fmax_aug_range=2_000)
            self.net = passt.PaSST(stride=10, distilled=True, img_size=(128, 998), **sizes)
        self.eval()
        with torch.no_grad():
            fill(self.net)

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and features."""
        with contextlib.redirect_stdout(io.StringIO()):
            return self.net(self.mel(waveform)[:, None])


class _OldTorch:
    """torch, whose `stft` returns real and imaginary part as a last axis."""

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)

    def stft(self, *args: Any, return_complex: bool, **options: Any) -> Tensor:
        assert not return_complex
        return torch.view_as_real(torch.stft(*args, **options, return_complex=True))


class _Nothing(nn.Module):
    """Stands in for masks of the training."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()


def _stand_ins(checkout: Path, kaldi: Path) -> None:
    names = ("timm", "timm.models", "timm.models._hub", "torchaudio", "torchaudio.transforms")
    modules: dict[str, Any] = {name: ModuleType(name) for name in (*names, "torchaudio.compliance")}
    sys.modules |= modules
    modules["timm.models._hub"].download_cached_file = None
    transforms = modules["torchaudio.transforms"]
    transforms.FrequencyMasking = transforms.TimeMasking = _Nothing
    spec = importlib.util.spec_from_file_location("torchaudio.compliance.kaldi", kaldi)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    modules["torchaudio.compliance"].kaldi = module
    modules["torchaudio"].compliance = modules["torchaudio.compliance"]
    modules["torchaudio"].transforms = transforms
    package = ModuleType("hear21passt")
    package.__path__ = [str(checkout / "hear21passt")]
    sys.modules["hear21passt"] = package
