"""Record what peers of the embedders compute with weights of `embedder_peers.fill`, for the tests.

    python -m scripts.golden_embedders TORCHOPENL3 PASST_HEAR21 KALDI.PY tests/golden/embedders.json

The first three are as `embedder_peers` says. PaSST is recorded in a small size. Every value is a float32 of the peers
(float64 for resampy), in the sounds of `embedder_peers.sound`.
"""

import json
import sys
from pathlib import Path

import resampy  # pyright: ignore[reportMissingImports]
import torch
from torch import Tensor

from scripts.embedder_peers import HearPasst, sound, torchopenl3

PASST = {"embed_dim": 24, "depth": 2, "num_heads": 3}


def main(openl3: str, passt: str, kaldi: str, out: str) -> None:
    torch.set_num_threads(1)
    with torch.inference_mode():
        golden = {
            "openl3": _openl3(Path(openl3)),
            "passt": _passt(HearPasst(Path(passt), Path(kaldi), **PASST)),
            "kaiser_best": _kaiser_best(),
        }
    Path(out).write_text(json.dumps(golden, indent=1) + "\n")


def _openl3(unpacked: Path) -> dict[str, list]:
    network = torchopenl3(unpacked)
    window = sound(1, 48_000)[None, None]
    return {
        "spectrogram": _numbers(network.get_submodule("speclayer")(window)[0, ::8, ::10, 0]),
        "embedding": _numbers(network(window)[0]),
    }


def _passt(network: HearPasst) -> dict[str, dict[str, list]]:
    golden = {}
    for seconds in (10, 1):
        window = sound(seconds, 32_000)[None]
        logits, features = network(window)
        golden[str(seconds)] = {
            "log_mel": _numbers(network.mel(window)[0, ::8, ::40]),
            "logits": _numbers(logits[0]),
            "features": _numbers(features[0]),
        }
    return golden


def _kaiser_best() -> list[float]:
    made = resampy.resample(sound(0.01, 44_100).double().numpy(), 44_100, 48_000)
    return [float(f"{value:.12g}") for value in made.tolist()]


def _numbers(values: Tensor) -> list:
    if values.ndim > 1:
        return [_numbers(row) for row in values]
    return [float(f"{value:.7g}") for value in values.tolist()]


if __name__ == "__main__":
    main(*sys.argv[1:])
