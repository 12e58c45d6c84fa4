"""The tiny checkpoints of Stable Audio 3, written as folders in the published layout."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

SA3 = Path(__file__).parent / "golden" / "sa3"
AUTOENCODERS = {"small": "same_s_tiny", "medium": "same_l_tiny"}
SIZES = tuple(AUTOENCODERS)
PRETRANSFORM = "pretransform.model."


def sa3_cases(group: str) -> list[dict[str, Any]]:
    """Return the golden cases whose names begin with a group's."""
    cases = json.loads((SA3 / "cases.json").read_text())
    return [case for case in cases if case["name"].startswith(f"{group}/")]


def sa3_tensors() -> dict[str, Tensor]:
    """Return inputs and outputs of all cases by name."""
    return load_file(SA3 / "cases.safetensors")


def write_sa3(size: str, folder: Path, sample_rate: int = 640, **diffusion: Any) -> Path:
    """Write a whole model with its text encoder; `diffusion` changes values of that section of its config.

    Sound files of the published rate, 640 Hz, are too slow to be read.
    """
    folder.mkdir(parents=True)
    codec = load_file(SA3 / AUTOENCODERS[size] / "model.safetensors")
    whole = load_file(SA3 / f"{size}_tiny" / "transformer.safetensors")
    whole |= {PRETRANSFORM + name: tensor for name, tensor in codec.items()}
    save_file(whole, folder / "model.safetensors")
    config = json.loads((SA3 / f"{size}_tiny" / "model_config.json").read_text())
    config["sample_rate"] = sample_rate
    config["model"]["diffusion"] |= diffusion
    (folder / "model_config.json").write_text(json.dumps(config))
    shutil.copytree(SA3 / "t5gemma", folder / "t5gemma")
    return folder
