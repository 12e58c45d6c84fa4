"""Sounds of a set as jobs: rows of a database in its folder, made by a process for each device.

It is the server's engine without its doors. A process that dies costs its job an attempt; what was made when the set was
interrupted is found by its key at the next start.
"""

import queue
import shutil
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from auralith.adapter_effect import AdapterEffect
from auralith.content_credentials import ContentSigner, write_tagged
from auralith.errors import Field, InvalidRequest, ResourceError
from auralith.files import file_hash, whole_file
from auralith.jobs.lanes import Lanes
from auralith.jobs.names import FORMATS, Format
from auralith.jobs.orders import Making, Order, cost
from auralith.jobs.records import Job, Limits, Unknown
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import ModelPlace, WorkerSettings
from auralith.models.compiled import check_choice
from auralith.pipeline import Auralith
from auralith.resources import choose_device, choose_format
from auralith.sets.makers import Failed, Ready
from auralith.sets.plan import PlannedSound
from auralith.sound.extent import read_info

FOLDER = ".jobs"
LOOK_SECONDS = 1.0
"""Between two looks at whether the devices still work."""
OWNER = "set"
_UNLIMITED = Limits(queue=2**31, keep_days=36_500.0, keep_bytes=2**62)


@dataclass(frozen=True)
class Devices:
    """Devices that share a set, and the model that each of them loads."""

    names: tuple[str, ...]
    place: ModelPlace
    dtype: str = "auto"
    adapters: tuple[tuple[str, AdapterEffect], ...] = ()
    """Files and effects."""
    compile: str = "off"


def shared_devices(
    text: str,
    place: ModelPlace,
    dtype: str = "auto",
    adapters: tuple[tuple[str, AdapterEffect], ...] = (),
    compile: str = "off",
) -> Devices | None:
    """Return the devices that a text names, as "cuda:0,cuda:1"; None for one. Raises as `choose_device` and `choose_format` do."""
    names = tuple(text.split(","))
    if len(names) < 2:
        return None
    for name in names:
        choose_format(dtype, choose_device(name))
    check_choice(compile)
    return Devices(names, place, dtype, adapters, compile)


def job_format(format: str, subtype: str | None) -> Format:
    """Return what orders call a form of file; raise `InvalidRequest` for one that jobs don't write."""
    names: dict[tuple[str, str | None], Format] = {form: name for name, form in FORMATS.items()}
    if (format, subtype) not in names:
        samples = f" with {subtype} samples" if subtype else ""
        raise InvalidRequest(
            Field("format"),
            f" {format}{samples} is not written on several devices or by a server; choose one of {', '.join(FORMATS)}",
        )
    return names[format, subtype]


class JobMaker:
    """Makes sounds on several devices, one at a time on each."""

    def __init__(
        self,
        model: Auralith,
        folder: Path,
        devices: Devices,
        format: str,
        subtype: str | None = None,
        signer: ContentSigner | None = None,
    ) -> None:
        """Prepare jobs of a set's folder; `model` plans them. Raises as `job_format` does."""
        self.model, self.folder, self.devices, self.signer = model, folder / FOLDER, devices, signer
        self.format: Format = job_format(format, subtype)

    def make(
        self, items: Sequence[PlannedSound], on_step: Callable[[int, int | None], None]
    ) -> Generator[Ready | Failed]:
        """Yield the sounds as the devices make them.

        Raises `ResourceError` where a device fails for good.
        """
        if not items:
            return
        store = JobStore(self.folder, _UNLIMITED)
        news: queue.SimpleQueue[tuple[str, Job]] = queue.SimpleQueue()
        store.listeners.append(lambda kind, job: news.put((kind, job)))
        settings = [
            WorkerSettings(
                (self.devices.place,),
                name,
                self.devices.dtype,
                threads=torch.get_num_threads(),  # as in this process, for the same bits
                sharers=self.devices.names.count(name),
                previews=False,
                compile=self.devices.compile,
            )
            for name in self.devices.names
        ]
        lanes = Lanes(store, settings, lambda request: self.devices.adapters)
        try:
            waiting = {self._submit(store, item).id: item for item in items}
            lanes.start()
            while waiting:
                for job in self._ended(store, lanes, news, waiting, on_step):
                    yield self._outcome(store, job, waiting.pop(job.id))
                    store.delete(job.id)
        finally:
            lanes.stop(0.0)
            store.close()
        shutil.rmtree(self.folder)  # what it has made lies in the set now

    def _ended(
        self,
        store: JobStore,
        lanes: Lanes,
        news: "queue.SimpleQueue[tuple[str, Job]]",
        waiting: dict[str, PlannedSound],
        on_step: Callable[[int, int | None], None],
    ) -> list[Job]:
        """Return the jobs that have ended since the last call; wait a while for one."""
        if lanes.are_broken:
            raise ResourceError("a defect ended the work on a device; run it again to go on")
        try:
            kind, job = news.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            return [job for job in map(store.job, list(waiting)) if job.is_final]
        if kind == "step" and job.progress is not None and "step" in job.progress:
            on_step(job.progress["step"], job.progress["of"])
        return [job] if job.is_final and job.id in waiting else []

    def _submit(self, store: JobStore, item: PlannedSound) -> Job:
        """Return the job of a sound: the one that an earlier run accepted, unless it failed."""
        source = None if item.clip is None else self._asset(store, item.clip)
        making = Making(
            task="text" if item.variation is None else "vary",
            model=self.devices.place.name,
            source=source,
            format=self.format,
        )
        order = Order(item.request, item.variation, making)
        info = None if item.clip is None else read_info(item.clip)
        key, body = (OWNER, item.key), f"{item.key}.{self.format}"
        job, is_new = store.accept(
            order.to_json(), cost(order, self.model, info), source, key, body, owner=OWNER
        )
        if is_new or job.status in ("queued", "running", "succeeded"):
            return job
        store.delete(job.id)  # an earlier run's failure
        return self._submit(store, item)

    def _asset(self, store: JobStore, clip: Path) -> str:
        """Return the id of a source: a copy of the file, under its hash."""
        asset_id = file_hash(clip)[:32]
        with suppress(Unknown):
            return store.sound(asset_id).id
        with clip.open("rb") as source, whole_file(store.uploads / asset_id) as target:
            shutil.copyfileobj(source, target)
        return store.add_asset(asset_id, {"name": clip.name}).id

    def _outcome(self, store: JobStore, job: Job, item: PlannedSound) -> Ready | Failed:
        outputs = store.outputs(job.id)
        if job.status != "succeeded" or not outputs:
            reason = "it was cancelled" if job.error is None else str(job.error["detail"])
            return Failed(item, reason)
        write = partial(write_tagged, outputs[0].path.read_bytes(), self.signer)
        return Ready(item, write, tuple(outputs[0].facts["warnings"]))
