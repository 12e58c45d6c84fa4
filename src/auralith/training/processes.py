"""The processes of a run, by `accelerate`: device, number format, replicas (DDP) or shards (FSDP2) of a network.

A run starts alone or under `accelerate launch` / `torchrun`. Shards are made by `fully_shard` itself, block by block,
because accelerate offers FSDP on accelerators only and this way a test on CPUs covers it.
"""

import gc
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch
from torch import Tensor, nn

from auralith.errors import InvalidRequest, MissingExtra
from auralith.extras import LazyModule, require
from auralith.resources import DTYPES, choose_device, choose_dtype, dtype_name

if TYPE_CHECKING:
    import accelerate
else:
    accelerate = LazyModule("accelerate", "train")

Precision = Literal["float32", "bfloat16", "float16"]
AnyPrecision = Literal["auto", Precision]


def choose_precision(name: AnyPrecision, device: torch.device) -> Precision:
    """Return what networks compute in on a device: `resources.choose_dtype`, by name. Raise as it does."""
    return cast(Precision, dtype_name(choose_dtype(name, device)))


def start_processes(
    device: str, precision: Precision, trackers: tuple[str, ...] = (), folder: Path | None = None
) -> "accelerate.Accelerator":
    """Find out the rank of this process among the others.

    Of the precisions accelerate only hears of float16, for which it scales the loss; autocast is the loop's.

    Raises:
        InvalidRequest: float16 was asked for beside a run of another precision.
        MissingExtra: accelerate or a tracker is not installed.
    """
    for tracker in trackers:
        if find_spec(tracker) is None:
            raise MissingExtra(f"tracker {tracker!r} needs its library; pip install {tracker}")
    on_cpu = choose_device(device).type == "cpu"
    try:
        return accelerate.Accelerator(
            cpu=on_cpu,
            mixed_precision="fp16" if precision == "float16" else "no",
            log_with=list(trackers) or None,
            project_dir=folder,
        )
    except ValueError as error:
        raise InvalidRequest(
            "float16 and another precision can't share a process; start another one"
        ) from error


def spread(accelerator: "accelerate.Accelerator", network: nn.Module, *, shard: bool) -> nn.Module:
    """The network as it is called in training: on the device, replicated or sharded."""
    if not shard:
        return accelerator.prepare_model(network)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    if accelerator.num_processes < 2:
        raise InvalidRequest("shard needs several processes; start with torchrun, or leave it out")
    network.to(accelerator.device)
    mesh = init_device_mesh(accelerator.device.type, (accelerator.num_processes,))
    for name, blocks in network.named_modules():
        if isinstance(blocks, nn.ModuleList) and name.endswith("blocks"):
            for block in blocks:
                fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return accelerator.prepare_model(network, evaluation_mode=True)


def autocast(accelerator: "accelerate.Accelerator", precision: Precision) -> torch.autocast:
    """The context in which networks compute in `precision`; losses leave it for float32."""
    enabled = precision != "float32"
    return torch.autocast(accelerator.device.type, DTYPES[precision] if enabled else None, enabled)


def mean_over_processes(accelerator: "accelerate.Accelerator", values: Tensor) -> Tensor:
    reduced = accelerator.reduce(values, reduction="mean")
    assert isinstance(reduced, Tensor)
    return reduced


def said_by_any(accelerator: "accelerate.Accelerator", *flags: bool) -> list[bool]:
    """Return for each flag whether it is set in any of the processes, the same in all of them."""
    if accelerator.num_processes == 1:
        return list(flags)
    values = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return [value > 0 for value in mean_over_processes(accelerator, values).tolist()]


def leave_processes() -> None:
    """Leave the group that the processes of a run are in; call it when nothing refers to the run any more.

    The last reference to the group frees it. Python frees it safely; a replica's reducer would keep Python's lock while
    it waits for a thread of gloo, which waits for that lock where it has not freed the last message yet (torch 2.13).
    """
    gc.collect()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def said_by_first(step: int | None) -> int | None:
    """Return the first process's value, in every process."""
    return require("accelerate.utils", "train").broadcast_object_list([step])[0]
