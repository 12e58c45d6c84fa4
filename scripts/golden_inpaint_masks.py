"""Record statistics of the masks that stable-audio-tools trains inpainting with, for the tests.

    python scripts/golden_inpaint_masks.py STABLE_AUDIO_TOOLS tests/golden/inpaint_masks.json

STABLE_AUDIO_TOOLS is a checkout; its `models/inpainting.py` is run by itself, as it needs nothing else of it.
"""

import importlib.util
import json
import random
import sys
from pathlib import Path

import torch

DRAWS = 40_000
CASES = (
    (24, 32, (0.1, 0.8, 0.1)),
    (24, 32, (1.0, 0.0, 0.0)),
    (24, 32, (0.0, 0.0, 1.0)),
    (3, 16, (1.0, 0.0, 0.0)),
    (0, 8, (0.5, 0.0, 0.5)),
)


def main(checkout: str, out: str) -> None:
    """Write how often each frame is kept, and how often none is."""
    path = Path(checkout, "stable_audio_tools", "models", "inpainting.py")
    spec = importlib.util.spec_from_file_location("inpainting", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    random.seed(0)
    cases = []
    for sounding, frames, probabilities in CASES:
        padding = (torch.arange(frames) < sounding).long().repeat(DRAWS, 1)
        latents = torch.ones(DRAWS, 1, frames)
        _, mask = module.random_inpaint_mask(
            latents, padding, mask_type_probabilities=list(probabilities)
        )
        kept = mask[:, 0]
        cases.append(
            {
                "sounding": sounding,
                "frames": frames,
                "probabilities": probabilities,
                "kept": [round(share, 5) for share in kept.mean(0).tolist()],
                "nothing_kept": round(float((kept.sum(1) == 0).float().mean()), 5),
            }
        )
    Path(out).write_text(json.dumps({"draws": DRAWS, "cases": cases}, indent=1) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
