"""Making the sounds of a job, on one device."""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.errors import AuralithError, ResourceError, is_out_of_memory
from auralith.files import file_hash
from auralith.jobs.model_cache import ModelCache
from auralith.jobs.names import FORMATS
from auralith.jobs.orders import Order, read_order
from auralith.jobs.previews import DecodingSpeed, Previews, preview_path
from auralith.jobs.problems import problem
from auralith.jobs.tasks import OUT_OF_MEMORY, Json, Task, WorkerSettings
from auralith.request import GenerationRequest
from auralith.sound.peaks import outline
from auralith.stages import measured, stage

if TYPE_CHECKING:
    from auralith.pipeline import Audio, Auralith
    from auralith.samplers import Step

NUM_PEAKS = 256
"""Stretches of the outline of a preview."""
Send = Callable[[Json], None]
Numbered = tuple[int, GenerationRequest]
"""Place of a sound among those of its job, and its request."""


class _Cancelled(Exception):
    """A job is no longer wanted."""


class JobRunner:
    """Makes one job after another, and sends what becomes of each."""

    def __init__(self, settings: WorkerSettings, send: Send) -> None:
        self._settings, self._send = settings, send
        self._models = ModelCache(settings, self._tell_models)
        self._speeds: dict[str, DecodingSpeed] = {}
        self._num_previews = 0
        self.cancelled: set[str] = set()

    def preload(self) -> None:
        """Load the models, the default last. Raises as `ModelCache.get` does."""
        for place in reversed(self._settings.models):
            self._models.get(place.name)

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
        self._num_previews = 0
        with measured() as loading, stage("loading"):
            self._progress(task, "loading", 0)
            model = self._models.get(order.making.model or "", task.adapters)
            self._send({"kind": "loaded", "model_hash": model.checkpoint.model_hash})
        for group in self._groups(order):
            names = [f"{task.job}-{index}.{suffix}" for index, _ in group]
            if all(name in task.made for name in names):
                continue
            with measured() as seconds:
                sounds = self._sounds(task, order, group, model)
            shares = {name: taken / len(group) for name, taken in seconds.items()}
            for name, sound in zip(names, sounds, strict=True):
                if name not in task.made:
                    self._save(sound, Path(task.folder) / name, subtype, model, loading | shares)
                    loading = {}  # the first sound waited for it

    def _save(
        self,
        sound: "Audio",
        path: Path,
        subtype: str | None,
        model: "Auralith",
        shares: Mapping[str, float],
    ) -> None:
        """Write a sound and tell of it; `shares` are the seconds that its stages took so far."""
        with measured() as seconds, stage("writing"):
            sound.save(path, subtype)
        facts = _facts(sound, path)
        work = _work(model, facts["seconds"], {**shares, **seconds})
        self._send({"kind": "output", "file": path.name, "facts": facts | {"work": work}})

    def _groups(self, order: Order) -> Iterator[list[Numbered]]:
        """Yield the sounds of a job that are made at a time: always the same, whatever is there already."""
        numbered = list(enumerate(order.numbered()))
        size = 1 if order.edit is not None else self._settings.batch
        for first in range(0, len(numbered), size):
            yield numbered[first : first + size]

    def _sounds(
        self, task: Task, order: Order, group: list[Numbered], model: "Auralith"
    ) -> "list[Audio]":
        from auralith.editing import apply, longest_clip, read_clip

        index, request = group[0]
        previews = self._previews(task, order, index, model)

        def on_step(step: "Step") -> None:
            self._progress(task, "denoising", index, step=step.index + 1, of=step.total)
            if previews is not None:
                previews.on_step(step)

        if order.edit is None:
            return model.generate_batch([request for _, request in group], on_step)
        clip = None
        if task.source is not None:
            with stage("reading"):
                longest = longest_clip(order.edit, model)
                clip = read_clip(task.source, longest, task.source_name)
        return [apply(model, request, clip, order.edit, on_step)]

    def _previews(self, task: Task, order: Order, index: int, model: "Auralith") -> Previews | None:
        if task.previews is None:
            return None
        folder = Path(task.previews)
        num_frames = None
        if order.edit is None:
            settings = model.resolve(order.settings)
            num_frames = model.config.audio.num_frames(model.num_samples(settings))

        def send(said: Json, waveform: Any, sample_rate: int) -> None:
            from auralith.sound.writing import write

            number = self._num_previews + 1
            with suppress(ResourceError):  # a disk that is full: the sound itself will say so
                write(preview_path(folder, task.job, number), waveform, sample_rate)
                low, high = outline(waveform.numpy(), NUM_PEAKS)
                peaks = {"min": low, "max": high}
                about = {"number": number, "sound": index + 1, **said, "peaks": peaks}
                self._send({"kind": "preview", "preview": about})
                self._num_previews = number

        speed = self._speeds.setdefault(order.making.model or "", DecodingSpeed())
        return Previews(model, num_frames, task.preview_share, speed, send)

    def _progress(self, task: Task, stage: str, index: int, **more: Any) -> None:
        if task.job in self.cancelled:
            raise _Cancelled
        self._send({"kind": "step", "progress": {"stage": stage, "sound": index + 1, **more}})

    def _tell_models(self, loaded: list[Json]) -> None:
        self._send({"kind": "models", "models": loaded})


def _facts(sound: "Audio", path: Path) -> Json:
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
        "model_hash": sound.provenance.model_hash,
    }


def _work(model: "Auralith", sound_seconds: float, seconds: Mapping[str, float]) -> Json:
    """Return what making a sound took: on what, for how long in each stage, and with how much memory."""
    import torch

    from auralith.resources import peak_memory

    making = sum(taken for name, taken in seconds.items() if name != "loading")
    return {
        "device": str(model.device),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(taken, 4) for name, taken in seconds.items()},
        "real_time_factor": round(making / sound_seconds, 4),
        "peak_memory_bytes": peak_memory(model.device),
    }
