"""Blocks of a transformer compiled by torch, which fuses what lies between their products (torch.compile, inductor).

The blocks of a network are alike, so what is compiled for one serves all of them. Lengths are symbols there, so another
length is no reason to compile again; another number of conditioned rows is: the first batch, the first negative prompt.
What was compiled lies in a folder of the user's caches. A new process finds it there and compiles nothing.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

from auralith.errors import Field, InvalidRequest, ResourceError, shown
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.quantized import quantized_layers
from auralith.weights.pins import cache_folder

CHOICES = ("off", "auto", "on")
"""Never; where the machine can, else a warning; or an error where it can't."""
VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable that moves torch's cache of compiled code."""


def check_choice(choice: str) -> None:
    """Raise `InvalidRequest` unless it is one of `CHOICES`."""
    if choice not in CHOICES:
        raise InvalidRequest(Field("compile"), f" {shown(choice)} is unknown; use off, auto or on")


def refuse_int8(is_int8: bool) -> None:
    """Raise `InvalidRequest` for a model in int8, whose products are compiled already."""
    if is_int8:
        raise InvalidRequest(Field("compile"), " is for floats; leave it out in int8")


def compiled_folder() -> Path:
    """Return the folder of compiled code."""
    given = os.environ.get(VARIABLE)
    return cache_folder() / "compiled" if given is None else Path(given)


def require_compiler(device: torch.device) -> None:
    """Raise `ResourceError` where torch can't compile for a device."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    found = shutil.which("cl" if sys.platform == "win32" else name)
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise ResourceError("compiling for cuda needs triton, which is not installed")
    if found is None:
        raise ResourceError(
            f"compiling needs a C++ compiler, and {name} is not there; install one, name it in CXX, or leave --compile out"
        )


def compile_blocks(dit: DiffusionTransformer[Any], device: torch.device) -> None:
    """Let a network's blocks be compiled when they are first called.

    Raises:
        ResourceError: torch can't compile on this machine.
        InvalidRequest: the network computes in int8.
    """
    refuse_int8(bool(quantized_layers(dit)))
    require_compiler(device)
    os.environ.setdefault(VARIABLE, str(compiled_folder()))
    for block in dit.blocks:
        block.compile(dynamic=True)


def leave_uncompiled(dit: DiffusionTransformer[Any]) -> None:
    """Let a network's blocks compute as they are written again."""
    for block in dit.blocks:
        block._compiled_call_impl = None  # torch has no name for it
