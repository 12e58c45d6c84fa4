"""The models of a worker: loaded at their first use, and kept as long as their weights fit into a limit of memory."""

import gc
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from auralith.adapter_effect import AdapterEffect
from auralith.checkpoints import Files
from auralith.errors import ResourceError
from auralith.exports.openvino import CompiledGraph
from auralith.files import size_text
from auralith.jobs.tasks import Json, ModelPlace, WorkerSettings
from auralith.models.quantized import QuantizedLinear
from auralith.resources import choose_device, empty_cache, total_memory

if TYPE_CHECKING:
    from torch import nn

    from auralith.pipeline import Auralith

MEMORY_SHARE = 0.5
"""Share of a device's memory that weights may take unless a limit is given: activations need the rest."""
Adapters = tuple[tuple[str, AdapterEffect], ...]
"""Files and their effects."""


class ModelCache:
    """Models by name and adapters. What was used longest ago goes first."""

    def __init__(self, settings: WorkerSettings, on_change: Callable[[list[Json]], None]) -> None:
        """`on_change` gets what `summary` returns, each time that a model comes or goes."""
        self._settings, self._on_change = settings, on_change
        self._places = {place.name: place for place in settings.models}
        self._models: OrderedDict[tuple[str, Adapters], Auralith] = OrderedDict()
        self._device = choose_device(settings.device)
        self._limit = settings.memory_bytes
        if self._limit is None:
            total = total_memory(self._device)
            self._limit = None if total is None else int(total * MEMORY_SHARE / settings.sharers)

    def get(self, name: str, adapters: Adapters = ()) -> "Auralith":
        """Return a model with its adapters merged.

        Raises:
            ResourceError: its weights take more than the limit.
            CheckpointError, InvalidRequest: as `load` does.
        """
        key = (name, adapters)
        if key not in self._models:
            model = self._merged(name, adapters) if adapters else self._loaded(name)
            self._models[key] = model
            self._shrink(0, keep=key)
            self._require(name, weights_size([model]))
            self._on_change(self.summary())
        self._models.move_to_end(key)
        return self._models[key]

    def summary(self) -> list[Json]:
        """Return the loaded models, the one used last at the end: bytes are those that it does not share."""
        entries, seen = [], set[int]()
        for (name, adapters), model in self._models.items():
            storages = {
                place: size for place, size in _storages([model]).items() if place not in seen
            }
            seen |= storages.keys()
            entries.append({"id": name, "adapters": len(adapters), "bytes": sum(storages.values())})
        return entries

    def _loaded(self, name: str) -> "Auralith":
        from auralith.pipeline import load

        place, settings = self._places[name], self._settings
        needed = needed_bytes(place, settings.device, settings.dtype)
        self._require(name, needed)
        self._shrink(needed)
        return load(
            place.source,
            device=settings.device,
            dtype=settings.dtype,
            text_encoder=place.text_encoder,
            weights=place.weights,
            config=place.config,
            compile=settings.compile,
        )

    def _merged(self, name: str, adapters: Adapters) -> "Auralith":
        base = self.get(name)
        self._shrink(_size(_storages_of([base.dit])), keep=(name, ()))
        return base.with_adapters(adapters)

    def _require(self, name: str, needed: int) -> None:
        if self._limit is not None and needed > self._limit:
            for key in [key for key in self._models if key[0] == name]:
                del self._models[key]
            self._release()
            raise ResourceError(
                f"the weights of {name} take {size_text(needed)}, and models get {size_text(self._limit)} on this server; "
                "choose a smaller one, or start it with a higher --memory"
            )

    def _shrink(self, more: int, keep: tuple[str, Adapters] | None = None) -> None:
        """Let models go until so many bytes more fit, or only the one to keep is left."""
        gone = False
        while self._limit is not None and weights_size(self._models.values()) + more > self._limit:
            oldest = next((key for key in self._models if key != keep), None)
            if oldest is None:
                break
            del self._models[oldest]
            gone = True
        if gone:
            self._release()

    def _release(self) -> None:
        gc.collect()
        empty_cache(self._device)
        self._on_change(self.summary())


def needed_bytes(place: ModelPlace, device: str, dtype: str) -> int:
    """Return the bytes that the weights of a model take at least. Raises as `weight_bytes`."""
    from auralith.pipeline.describing import weight_bytes

    return weight_bytes(place.source, dtype, device, Files(place.weights, place.config))


def weights_size(models: "Iterable[Auralith]") -> int:
    """Return the bytes of the weights of models, those that several share counted once."""
    return _size(_storages(models))


def _storages(models: "Iterable[Auralith]") -> dict[int, int]:
    return _storages_of(
        module
        for model in models
        for module in (
            *model.transformers,
            model.autoencoder,
            model.checkpoint.numbers,
            model.checkpoint.text.model,
        )
    )


def _storages_of(modules: "Iterable[nn.Module]") -> dict[int, int]:
    """Return the sizes of the tensors of modules by their address."""
    sizes: dict[int, int] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.is_meta:  # an encoder that nothing was encoded with
                continue
            sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        sizes |= {
            id(one): one.num_bytes
            for one in module.modules()
            if isinstance(one, QuantizedLinear | CompiledGraph)
        }
    return sizes


def _size(storages: Mapping[int, int]) -> int:
    return sum(storages.values())
