"""The published file of PANNs' weights: its hash, its names and shapes, its fixed tables, all checked.

The clip-level network Cnn14 has the same names and shapes, so that its file would load and mean nothing here. Only the
hash tells them apart: a file must have a known one, or the one that was asked for.
"""

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auralith.curation.tagging.panns import Cnn14DecisionLevelMax, fixed_tensors
from auralith.errors import CheckpointError, InvalidRequest, ResourceError
from auralith.files import whole_file
from auralith.foreign import PICKLE_ERRORS, SHAPE_ERRORS, parse_json

FILE_NAME = "Cnn14_DecisionLevelMax_mAP=0.385.pth"
WHERE = "https://zenodo.org/records/3987831"
KNOWN_SHA256: frozenset[str] = frozenset()
"""Of published files. None has been verified yet."""
PIN_NAME = "tagger_weights.json"
"""In a curation's folder: the hash of the unpublished file that was trusted at its first use."""
FIXED_TOLERANCE = 1e-4


def existing_weights(path: Path | None) -> Path:
    """The file that was named.

    Raises:
        CheckpointError: there is no such file; the message says which one is needed and where it is.
    """
    if path is None or not path.is_file():
        given = "no weights are given" if path is None else f"{path} is not a file"
        raise CheckpointError(
            f"{given}; the music tagger needs {FILE_NAME} (about 327 MB, published at {WHERE}):"
            " download it and name it with --weights"
        )
    return path


def check_hash(path: str, found: str, wanted: str | None, allow_unknown: bool) -> None:
    """Raise CheckpointError unless a file's hash is the wanted one or, where none is, a known one."""
    if wanted:
        if len(wanted) != 64:
            raise InvalidRequest(f"{wanted!r} is not a SHA-256; give its 64 hexadecimal digits")
        if found != wanted.lower():
            raise CheckpointError(
                f"{path} has the SHA-256 {found}, not {wanted}; fetch the file again"
            )
    elif found not in KNOWN_SHA256 and not allow_unknown:
        raise CheckpointError(
            f"{path} has the unknown SHA-256 {found}; if you trust the file, give that hash with"
            " --weights-sha256, or allow any with --allow-unknown-weights"
        )


def check_pin(folder: Path, path: Path | None, found: str, allow_unknown: bool) -> None:
    """Compare the hash of a file that nobody published with the one that this curation trusted first.

    With `allow_unknown` and no pin yet, the hash becomes the pin; `PIN_NAME` in the folder holds it.

    Raises:
        CheckpointError: the file is unknown and not allowed, or another one was trusted before.
        ResourceError: the pin can't be read or written.
    """
    pin = folder / PIN_NAME
    trusted = _read_pin(pin)
    if trusted == found:
        return
    if trusted:
        raise CheckpointError(
            f"{path} has the SHA-256 {found}, but this curation trusts {trusted}; use that file, or remove"
            f" {pin} to trust another"
        )
    check_hash(str(path), found, None, allow_unknown)
    if found not in KNOWN_SHA256:
        with whole_file(pin) as file:
            file.write(json.dumps({"panns": found}).encode() + b"\n")


def _read_pin(pin: Path) -> str | None:
    if not pin.is_file():
        return None
    try:
        trusted = parse_json(pin.read_bytes())["panns"]
    except (OSError, *SHAPE_ERRORS) as error:
        raise ResourceError(f"{pin} can't be read ({error}); remove it to pin again") from error
    if not re.fullmatch(r"[0-9a-f]{64}", str(trusted)):
        raise ResourceError(f"{pin} holds no SHA-256; remove it to pin again")
    return trusted


def read_panns(path: Path) -> Cnn14DecisionLevelMax:
    """The network with a file's weights, on the CPU, in eval mode. Check the file's hash first.

    Raises:
        CheckpointError: not readable as tensors alone, other names or shapes, or front-end tables that are not the
            analytic ones.
    """
    state = _read(path)
    with torch.device("meta"):
        network = Cnn14DecisionLevelMax()
    _check_names(path, state, network.state_dict())
    _check_fixed(path, state)
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: beside tensors it holds objects that could run code when read, or"
            f" it is no checkpoint; get {FILE_NAME} from {WHERE}"
        ) from None
    except PICKLE_ERRORS:
        raise CheckpointError(f"{path} is not a readable torch file; get it again") from None
    state = data.get("model") if isinstance(data, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} has no weights under 'model'; use {FILE_NAME}")
    return state


def _numpy_globals() -> list[Any]:
    """Arrays of numbers, which checkpoints of PANNs' own training keep beside the weights, under both names that
    numpy's versions give their constructors."""
    makers = {"_reconstruct": np.zeros(1).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
    constructors = [
        (maker, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, maker in makers.items()
    ]
    numbers = [type(np.dtype(code)) for code in "?bhilBHILfd"]
    return [*constructors, np.ndarray, np.dtype, *numbers]


def _check_names(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    if wrong := sorted(state.keys() ^ expected.keys()):
        missing = f"{len(wrong)} names differ, the first: {wrong[0]}"
        raise CheckpointError(f"{path} is of another network ({missing}); use {FILE_NAME}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            found, wanted = tuple(state[name].shape), tuple(tensor.shape)
            raise CheckpointError(
                f"{path} is of another network ({name} has the shape {found}, not {wanted});"
                f" use {FILE_NAME}"
            )


def _check_fixed(path: Path, state: Mapping[str, Tensor]) -> None:
    for name, analytic in fixed_tensors().items():
        error = float((state[name] - analytic).abs().max())
        if not error <= FIXED_TOLERANCE:
            raise CheckpointError(
                f"{path} was trained with another front end ({name} differs by {error:.2g},"
                f" {FIXED_TOLERANCE:g} at most); use {FILE_NAME}"
            )
