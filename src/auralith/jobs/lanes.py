"""Worker processes and their jobs: a lane for each device takes a job, gives it to its process, and notes what comes of it."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from auralith.adapter_effect import AdapterEffect
from auralith.errors import AuralithError, ResourceError
from auralith.jobs.database import Unreachable
from auralith.jobs.making import LEASE_SECONDS
from auralith.jobs.previews import BUSY_SHARE, SHARE, PreviewFolder
from auralith.jobs.problems import make_problem, problem
from auralith.jobs.process import WorkerProcess
from auralith.jobs.records import Job
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import OUT_OF_MEMORY, Json, Task, WorkerSettings

TICK_SECONDS = 0.1
RENEWAL_SECONDS = LEASE_SECONDS / 10
"""Between two renewals of a lease while a worker says nothing."""
ENDINGS = ("done", "cancelled", "failed", "full")
"""Kinds of the messages that end a job."""
PAUSE_SECONDS = 2.0
"""Between two attempts while the disk is full."""
log = logging.getLogger(__name__)
Noted = TypeVar("Noted")
FindAdapters = Callable[[Json], tuple[tuple[str, AdapterEffect], ...]]
"""Files and effects of the adapters of an order; raises `AuralithError`."""


@dataclass(frozen=True)
class Attempts:
    """Attempts at a job whose process dies, or hangs."""

    retries: int = 1
    """Attempts after the first one."""
    silent_seconds: float = 1_800.0
    """Time without a sign of life after which a process is ended: it is more than a step, or the loading of a model, takes."""


class Lane:
    """A thread that makes one job after another on one device."""

    def __init__(
        self,
        store: JobStore,
        settings: WorkerSettings,
        find_adapters: FindAdapters,
        attempts: Attempts,
        previews: PreviewFolder,
    ) -> None:
        self._store, self._settings, self._find = store, settings, find_adapters
        self._attempts, self._previews = attempts, previews
        self._worker: WorkerProcess | None = None
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._deadline = 0.0
        self._heard: str | None = None
        """Job whose previews are kept: whoever heard of one just before the end still gets it."""
        self._begun: Job | None = None
        """Job that the worker was given while the end of the one before was noted."""
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    @property
    def is_broken(self) -> bool:
        """Return whether a defect ended the lane."""
        is_started = self._thread.ident is not None
        return is_started and not self._thread.is_alive() and not self._stopping.is_set()

    @property
    def device(self) -> str:
        """Return the name of the device."""
        return self._settings.device

    @property
    def models(self) -> list[Json]:
        """Return the models that are loaded, as `ModelCache.summary` gives them."""
        worker = self._worker
        return [] if worker is None else worker.models

    @property
    def trouble(self) -> str | None:
        """Return why its process is not ready for jobs yet, if it should load models before the first one."""
        if not self._settings.preload:
            return None
        worker = self._worker
        if worker is None or not worker.is_ready:
            return f"models are being loaded on {self.device}"
        return worker.trouble

    def wake(self) -> None:
        """Look for a job now."""
        self._wake.set()

    def ask_to_stop(self, seconds: float) -> None:
        """Take no more jobs; one that is not done after so many seconds is queued again."""
        self._deadline = time.monotonic() + seconds
        self._stopping.set()
        self._wake.set()

    def join(self) -> None:
        """Wait until the lane has stopped, and its process with it."""
        self._thread.join()

    def _run(self) -> None:
        try:
            if self._settings.preload:
                self._worker = WorkerProcess(self._settings)
            while not self._stopping.is_set():
                self._work()
        finally:
            self._drop_worker()
            if self._begun is not None:
                with suppress(ResourceError):  # its lease ends by itself
                    self._store.release(self._begun, "the server stops")

    def _work(self) -> None:
        try:
            job = self._begun or self._begin()
            self._begun = None
            if job is None:
                self._wake.wait(1.0)
                self._wake.clear()
            else:
                self._make(job)
        except ResourceError as error:
            # the lease on the job ends by itself; when there is room again, it is made again
            log.warning("jobs wait: %s", error)
            self._begun = None
            self._drop_worker()
            self._stopping.wait(PAUSE_SECONDS)

    def _begin(self) -> Job | None:
        """Return a job that was claimed and given to the worker; None where none is."""
        job = self._store.claim() if self._store.has_room() else None
        if job is None:
            return None
        try:
            task = self._task(job)
        except AuralithError as error:
            self._store.finish(job, "failed", problem(error))
            self._wake.set()  # others may wait
            return None
        if self._worker is None:
            self._worker = WorkerProcess(self._settings)
        self._worker.send(task.to_json())
        return job

    def _make(self, job: Job) -> None:
        """Have a job made that the worker has."""
        assert self._worker is not None
        try:
            self._follow(job, self._worker)
        except EOFError:
            code = self._worker.end_code()
            self._drop_worker()
            self._crashed(job, code)
        finally:
            if self._heard is not None and self._heard != job.id:
                self._previews.drop(self._heard)
            self._heard = job.id

    def _task(self, job: Job) -> Task:
        source = None if job.source is None else self._store.sound(job.source)
        made = tuple(one.path.name for one in self._store.outputs(job.id))
        folder = str(self._store.sounds.absolute())
        return Task(
            job.id,
            job.request,
            folder,
            source=None if source is None else str(source.path.absolute()),
            source_name=None if source is None else source.facts.get("name", source.id),
            adapters=self._find(job.request),
            made=made,
            previews=str(self._previews.path.absolute()) if self._settings.previews else None,
            preview_share=BUSY_SHARE if self._store.count("queued") else SHARE,
        )

    def _follow(self, job: Job, worker: WorkerProcess) -> None:
        """Note what a worker says of a job, until the job has ended or the claim on it is lost."""
        is_told, renewed = False, time.monotonic()
        while True:
            message = worker.receive(TICK_SECONDS)
            if message is not None and message["kind"] in ENDINGS:
                if message["kind"] != "full" and not self._stopping.is_set():
                    with suppress(ResourceError):  # what is said of it next time
                        # begun before the end of this one is on the disk, so that the worker need not wait for that
                        self._begun = self._begin()
                self._insist(lambda message=message: self._ended(job, message))
                return
            if message is None and time.monotonic() < renewed + RENEWAL_SECONDS:
                current = self._insist(lambda: self._store.look(job))
            else:
                current = self._insist(lambda message=message: self._noted(job, message))
                renewed = time.monotonic()
            if current is None:
                self._drop_worker()
                return
            if current.is_cancelled and not is_told:
                worker.send({"cancel": job.id})
                is_told = True
            if worker.silent_seconds > self._attempts.silent_seconds:
                self._drop_worker()
                self._again(job, f"its worker said nothing for {worker.silent_seconds:.0f} s")
                return
            if self._stopping.is_set() and time.monotonic() > self._deadline:
                self._drop_worker()
                self._store.release(job, "the server stops")
                return

    def _insist(self, note: Callable[[], Noted]) -> Noted:
        """Note something, again and again while the database does not answer, as long as the claim on a job may last."""
        end = time.monotonic() + LEASE_SECONDS
        while True:
            try:
                return note()
            except Unreachable:
                if time.monotonic() > end or self._stopping.wait(PAUSE_SECONDS):
                    raise

    def _noted(self, job: Job, message: Json | None) -> Job | None:
        """Note what a worker says while it makes a job, or that it says nothing; return the job, None if the claim is lost."""
        if message is None:
            return self._store.renew(job)
        match message["kind"]:
            case "loaded":
                return self._store.loaded(job, message["model_hash"])
            case "step":
                return self._store.step(job, message["progress"])
            case "preview":
                about = message["preview"]
                url = f"/v1/jobs/{job.id}/preview/{about['number']}"
                return self._store.preview(job, {"url": url, **about})
            case "output":
                return self._store.add_output(job, message["file"], message["facts"])
            case kind:
                raise AssertionError(kind)

    def _ended(self, job: Job, message: Json) -> None:
        match message["kind"]:
            case "done":
                self._store.finish(job, "succeeded")
            case "cancelled":
                self._store.finish(job, "cancelled")
            case "failed":
                self._store.finish(job, "failed", message["problem"])
            case "full":
                self._store.release(job, "the disk is full")
                log.warning("jobs wait: the disk is full")
                self._stopping.wait(PAUSE_SECONDS)

    def _crashed(self, job: Job, code: int) -> None:
        what = f"signal {-code}" if code < 0 else f"code {code}"
        self._again(
            job, "memory was short" if code == OUT_OF_MEMORY else f"its worker ended ({what})"
        )

    def _again(self, job: Job, reason: str) -> None:
        """Queue a job again over which a process died or hung, or fail it after so many attempts."""
        if job.crashes < self._attempts.retries:
            self._store.release(job, reason, crashed=True)
            return
        detail = f"{reason}, {job.crashes + 1} times; ask for fewer or shorter sounds"
        self._store.finish(job, "failed", make_problem(503, "worker-ended", detail))

    def _drop_worker(self) -> None:
        if self._worker is not None:
            self._worker.stop()
            self._worker = None


class Lanes:
    """The lanes of a server."""

    def __init__(
        self,
        store: JobStore,
        settings: Sequence[WorkerSettings],
        find_adapters: FindAdapters,
        attempts: Attempts | None = None,
    ) -> None:
        self.previews = PreviewFolder(store.folder / "previews", store.is_left)
        self._lanes = [
            Lane(store, one, find_adapters, attempts or Attempts(), self.previews)
            for one in settings
        ]
        store.listeners.append(self._on_change)
        store.watchers.append(self._wake)

    def start(self) -> None:
        """Begin to take jobs."""
        for lane in self._lanes:
            lane.start()

    @property
    def are_broken(self) -> bool:
        """Return whether a defect ended one of them."""
        return any(lane.is_broken for lane in self._lanes)

    @property
    def trouble(self) -> str | None:
        """Return why one of them is not ready, if so."""
        return next((lane.trouble for lane in self._lanes if lane.trouble is not None), None)

    @property
    def models(self) -> list[Json]:
        """Return the models that are loaded, with their device."""
        return [{"device": lane.device, **one} for lane in self._lanes for one in lane.models]

    def stop(self, seconds: float) -> None:
        """Finish what is done within so many seconds, and queue the rest again."""
        for lane in self._lanes:
            lane.ask_to_stop(seconds)
        for lane in self._lanes:
            lane.join()

    def _on_change(self, kind: str, job: Job) -> None:
        if job.status == "queued":
            self._wake()

    def _wake(self) -> None:
        for lane in self._lanes:
            lane.wake()
