"""Device, number format and memory of the machine, asked once when a model is loaded."""

import ctypes
import logging
import os
import platform
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from auralith.errors import Field, InvalidRequest, ResourceError, shown
from auralith.files import size_text

try:
    import resource
except ImportError:  # Windows
    resource = None

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
DEVICES = ("cpu", "cuda", "mps")
INT8_NAME = "int8"
GIB = 2**30
MIB = 2**20
CPU_INFO = Path("/proc/cpuinfo")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of options of glibc's mallopt."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NumberFormat:
    """Numbers that a model computes in: floats, and int8 for the large products of its transformer if `int8` is true."""

    dtype: torch.dtype
    int8: bool = False

    @property
    def name(self) -> str:
        """The name by which `choose_format` knows it."""
        return INT8_NAME if self.int8 else dtype_name(self.dtype)


INT8 = NumberFormat(torch.float32, int8=True)


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" takes cuda, then mps, then cpu."""
    if name == "auto":
        if torch.cuda.is_available():
            # under torchrun and accelerate launch every process has a GPU of its own
            local = os.environ.get("LOCAL_RANK")
            return torch.device("cuda") if local is None else torch.device("cuda", int(local))
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except (RuntimeError, ValueError, OverflowError):
        device = None
    if device is None or device.type not in DEVICES:  # such as "meta", which holds no values
        raise InvalidRequest(
            Field("device"), f" {shown(name)} is unknown; use auto, cpu, cuda, cuda:1 or mps"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ResourceError(Field("device"), f" {name!r} is not there; use auto or cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ResourceError(Field("device"), " 'mps' is not there; use auto or cpu")
    return device


def choose_format(name: str, device: torch.device, stored_int8: bool = False) -> NumberFormat:
    """Return what a model computes in by name: int8, which takes a CPU, or a dtype as `choose_dtype`.

    "auto" is int8 on a CPU for weights that are stored so. Raise as `choose_dtype` does.
    """
    if name == "auto" and stored_int8 and device.type == "cpu":
        return INT8
    if name != INT8_NAME:
        return NumberFormat(choose_dtype(name, device, (INT8_NAME,)))
    if device.type != "cpu":
        raise InvalidRequest(
            Field("dtype"),
            f" int8 is for CPUs; use bfloat16 or float32 on {device.type}, or the device cpu",
        )
    return INT8


def choose_dtype(name: str, device: torch.device, others: tuple[str, ...] = ()) -> torch.dtype:
    """Return a dtype by name; "auto" is bfloat16 where the device computes with it, else float32.

    Warn once if bfloat16 is asked for on a CPU or GPU without instructions for it. Raise InvalidRequest for unknown
    names, which the message tells from known ones and `others`, and for float16 without CUDA.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    if name == INT8_NAME:
        raise InvalidRequest(
            Field("dtype"), " int8 is for generating alone; use float32 or bfloat16 here"
        )
    if name not in DTYPES:
        known = ", ".join((*DTYPES, *others))
        raise InvalidRequest(Field("dtype"), f" {shown(name)} is unknown; use auto, {known}")
    if DTYPES[name] is torch.float16 and device.type != "cuda":
        raise InvalidRequest(
            Field("dtype"), f" float16 is slow or noisy on {device.type}; use float32 or bfloat16"
        )
    if name == "bfloat16" and device.type in ("cpu", "cuda") and not _has_bfloat16(device):
        _warn_of_slow_bfloat16(device.type)
    return DTYPES[name]


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name by which `choose_dtype` knows a number format."""
    return str(dtype).removeprefix("torch.")


def _has_bfloat16(device: torch.device) -> bool:
    if (
        device.type == "cuda"
    ):  # a plan may be for a GPU that is not in this machine: then it is taken to be a recent one
        return not torch.cuda.is_available() or torch.cuda.is_bf16_supported(
            including_emulation=False
        )
    return device.type == "cpu" and cpu_has_bfloat16()


@cache
def _warn_of_slow_bfloat16(device: str) -> None:
    name = {"cpu": "CPU", "cuda": "GPU"}[device]
    log.warning(f"bfloat16 is slow on this {name}, which has no instructions for it; use float32")


def cpu_has_bfloat16() -> bool:
    """Return whether the CPU multiplies bfloat16 in hardware (AVX-512 BF16, AMX, or Arm's bf16)."""
    if platform.system() != "Linux" or not CPU_INFO.exists():
        return False
    flags = set(CPU_INFO.read_text(errors="replace").split())
    return bool(flags & {"avx512_bf16", "amx_bf16", "bf16"})


def available_memory(device: torch.device) -> int | None:
    """Bytes that can still be taken on the device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return _machine_memory("MemAvailable", "SC_AVPHYS_PAGES")


def total_memory(device: torch.device) -> int | None:
    """Return the bytes that a device has, free or not; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return _machine_memory("MemTotal", "SC_PHYS_PAGES")


def peak_memory(device: torch.device) -> int | None:
    """Return the most bytes that this process has had on a device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if resource is None:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def empty_cache(device: torch.device) -> None:
    """Give memory back to a device that torch keeps for later."""
    if device.type == "cuda":
        torch.cuda.empty_cache()


@cache
def give_large_blocks_back() -> None:
    """Let glibc give blocks of 16 MiB back when they are freed; other C libraries do as they do.

    It raises that limit to 32 MiB by itself, and keeps what is smaller: a decoder's maps, which then lie in memory as
    holes that the next ones don't fit into.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return
    mallopt(M_MMAP_THRESHOLD, 16 * MIB)
    mallopt(M_TRIM_THRESHOLD, 32 * MIB)  # naming one leaves the other at 128 KiB


def _machine_memory(field: str, pages: str) -> int | None:
    info = Path("/proc/meminfo")
    if info.exists():
        fields = dict(line.split(":", 1) for line in info.read_text().splitlines())
        return int(fields[field].split()[0]) * 1024
    if hasattr(os, "sysconf") and pages in os.sysconf_names:
        return os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    return None


def require_memory(needed: int, device: torch.device, purpose: str, remedy: str) -> None:
    """Raise `ResourceError` if `needed` bytes are more than there are."""
    free = available_memory(device)
    if free is not None and needed > free:
        raise ResourceError(
            f"{purpose} needs {size_text(needed)} of memory on {device}, "
            f"{size_text(free)} are free; {remedy}"
        )
