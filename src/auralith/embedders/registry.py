"""The list of embedders, and how each is opened by its name."""

from collections.abc import Callable
from pathlib import Path

import torch

from auralith.embedders.clap import open_clap
from auralith.embedders.embedder import Embedder
from auralith.embedders.mel import MelStatistics
from auralith.embedders.musicnn import open_musicnn
from auralith.embedders.openl3_weights import open_openl3
from auralith.embedders.passt import open_passt
from auralith.errors import Field, InvalidRequest, shown
from auralith.resources import choose_device, choose_dtype
from auralith.weights import find_weights, weights_manifest

Opener = Callable[[str, Path | None, torch.device, torch.dtype], Embedder]
"""Takes the name, where its weights are (None for the default), the device and the number format."""

EMBEDDERS: dict[str, Opener] = {
    "openl3-env": open_openl3,
    "openl3-music": open_openl3,
    "passt": open_passt,
    "mel": lambda name, weights, device, dtype: MelStatistics(),
    "clap-fused": open_clap,
    "clap-unfused": open_clap,
    "musicnn-mtt": open_musicnn,
    "musicnn-msd": open_musicnn,
}


def find_embedder(name: str, weights: Path | None = None) -> None:
    """Verify that an embedder's weights are there, without opening them. Raises as `open_embedder`."""
    _opener(name)
    if name in weights_manifest():
        find_weights(name, weights)


def open_embedder(
    name: str, weights: Path | None = None, device: str = "auto", dtype: str = "float32"
) -> Embedder:
    """Return an embedder, ready to use.

    `weights` is its file, its folder, or a folder of several as `auralith weights` keeps it, which is also where they are
    looked for by default; "mel" needs none. bfloat16 is another protocol.

    Raises:
        InvalidRequest: the name, the device or the number format is unknown.
        ResourceError: the device is not there.
        CheckpointError: the weights are missing, damaged, or of another network.
    """
    opener, chosen = _opener(name), choose_device(device)
    return opener(name, weights, chosen, choose_dtype(dtype, chosen))


def _opener(name: str) -> Opener:
    if name not in EMBEDDERS:
        raise InvalidRequest(
            Field("embedder"), f" {shown(name)} is unknown; use {', '.join(EMBEDDERS)}"
        )
    return EMBEDDERS[name]
