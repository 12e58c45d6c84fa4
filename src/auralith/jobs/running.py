"""Making the sounds of a job, on one device."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from auralith.errors import AuralithError, ResourceError, is_out_of_memory
from auralith.files import file_hash
from auralith.jobs.orders import FORMATS, Order, read_order
from auralith.jobs.problems import problem
from auralith.jobs.tasks import OUT_OF_MEMORY, Json, Task, WorkerSettings

Send = Callable[[Json], None]


class _Cancelled(Exception):
    """A job is no longer wanted."""


class JobRunner:
    """Makes one job after another, and sends what becomes of each."""

    def __init__(self, settings: WorkerSettings, send: Send) -> None:
        self._settings, self._send = settings, send
        self._models: dict[str, Any] = {}
        self._adapted: tuple[Any, Any] = (None, None)
        self.cancelled: set[str] = set()

    def run(self, task: Task) -> None:
        """Make the sounds of a job and say how that ended."""
        try:
            self._make(task, read_order(task.order))
            self._send({"kind": "done"})
        except _Cancelled:
            self._send({"kind": "cancelled"})
        except ResourceError as error:
            full = "disk space" in str(error)
            self._send({"kind": "full" if full else "failed", "problem": problem(error)})
        except AuralithError as error:
            self._send({"kind": "failed", "problem": problem(error)})
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            os._exit(OUT_OF_MEMORY)
        finally:
            self.cancelled.discard(task.job)

    def _make(self, task: Task, order: Order) -> None:
        suffix, subtype = FORMATS[order.making.format]
        names = [f"{task.job}-{index}.{suffix}" for index in range(order.making.n)]
        for index, (name, request) in enumerate(zip(names, order.numbered(), strict=True)):
            if name in task.made:
                continue
            self._progress(task, "loading", index)
            model = self._model(order, task.adapters)
            path = Path(task.folder) / name
            sound = self._sound(task, order, request, model, index)
            sound.save(path, subtype)
            self._send({"kind": "output", "file": name, "facts": _facts(sound, path)})

    def _sound(self, task: Task, order: Order, request: Any, model: Any, index: int) -> Any:
        from auralith.editing import apply, longest_clip, read_clip

        def on_step(step: Any) -> None:
            self._progress(task, "denoising", index, step=step.index + 1, of=step.total)

        if order.edit is None:
            return model.generate(request, on_step)
        clip = None
        if task.source is not None:
            clip = read_clip(task.source, longest_clip(order.edit, model))
        return apply(model, request, clip, order.edit, on_step)

    def _progress(self, task: Task, stage: str, index: int, **more: Any) -> None:
        if task.job in self.cancelled:
            raise _Cancelled
        self._send({"kind": "step", "progress": {"stage": stage, "sound": index + 1, **more}})

    def _model(self, order: Order, adapters: tuple[tuple[str, float], ...]) -> Any:
        """Return a model with its adapters, loaded at its first use; the adapters that were used last stay merged."""
        from auralith.pipeline import load

        name = order.making.model
        place = next(place for place in self._settings.models if place.name == name)
        if place.name not in self._models:
            self._models[place.name] = load(
                place.source,
                device=self._settings.device,
                dtype=self._settings.dtype,
                text_encoder=place.text_encoder,
                weights=place.weights,
                config=place.config,
            )
        if not adapters:
            return self._models[place.name]
        key = (place.name, adapters)
        if self._adapted[0] != key:
            self._adapted = (None, None)  # two of them need not fit
            self._adapted = (key, self._models[place.name].with_adapters(adapters))
        return self._adapted[1]


def _facts(sound: Any, path: Path) -> Json:
    from auralith.sound.levels import peak_db

    waveform = sound.leveled()
    peak = peak_db(waveform)
    return {
        "seconds": waveform.shape[-1] / sound.sample_rate,
        "sample_rate": sound.sample_rate,
        "channels": waveform.shape[0],
        "num_samples": waveform.shape[-1],
        "seed": sound.request.seed,
        "sha256": file_hash(path),
        "peak_dbfs": round(peak, 2) if math.isfinite(peak) else None,
        "warnings": list(sound.warnings),
    }
