"""A server without HTTP: jobs are taken and made, and shown as JSON."""

import re
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from auralith.adapter_effect import AdapterEffect
from auralith.checkpoints import Files, config_to_json, read_adapter
from auralith.errors import Field, InvalidRequest, ResourceError, shown
from auralith.files import canonical_json
from auralith.jobs.lanes import Attempts, Lanes
from auralith.jobs.names import FORMATS
from auralith.jobs.orders import (
    LONGEST_SECONDS,
    MOST_ADAPTERS,
    MOST_SOUNDS,
    Order,
    cost,
    read_order,
    resolved,
)
from auralith.jobs.records import Job, Json, Limits, Stored, Unknown
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import ModelPlace, WorkerSettings
from auralith.numbers import limit_of
from auralith.pipeline.describing import Description, describe
from auralith.resolution import Resolver
from auralith.resources import choose_device
from auralith.server.bell import Bell
from auralith.server.cards import read_card
from auralith.server.keys import ApiKey, Caller
from auralith.server.models import view_model
from auralith.server.remaking import remaking
from auralith.server.webhooks import Webhooks, WebhookSettings
from auralith.server.words import KnownWords, prompts_of
from auralith.sound.extent import SoundInfo
from auralith.tensor_files import sha256_of

if TYPE_CHECKING:
    from auralith.server.nearest import NearestSounds

SWEEP_SECONDS = 60.0
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_hash_of = cache(sha256_of)


@dataclass(frozen=True)
class ServiceSettings:
    """Settings of a service."""

    data: Path
    """Folder of jobs and sounds."""
    models: tuple[ModelPlace, ...]
    """Models by name, the default first."""
    devices: tuple[str, ...] = ("auto",)
    """Devices, each of which gets a process."""
    dtype: str = "auto"
    compile: str = "off"
    """Says whether torch compiles the transformers, as `load` takes it."""
    adapters: Path | None = None
    """Folder of the adapters that requests may name."""
    limits: Limits = field(default_factory=Limits)
    attempts: Attempts = field(default_factory=Attempts)
    memory_bytes: int | None = None
    """Most bytes of weights that each process keeps; see `WorkerSettings`."""
    batch: int = 1
    preload: bool = False
    database: str | None = field(default=None, repr=False)
    """URL of the database that several servers share, which may hold a password; None for a file in the folder."""
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)


@dataclass(frozen=True)
class Submission:
    """Request of a caller that was read, and is not a job yet."""

    order: Order
    body: Json
    caller: Caller
    key: str | None
    """Idempotency key."""

    @property
    def owner(self) -> str:
        """Return whose the job will be; empty without API keys."""
        return self.caller.owner or ""


class Service:
    """Jobs of a folder, made on some devices."""

    def __init__(self, settings: ServiceSettings, training: "NearestSounds | None" = None) -> None:
        """Find the models and take the folder. Raises as `locate` and `JobStore` do.

        `training` are sounds that outputs are compared with.
        """
        self.settings, self.training, self.bell = settings, training, Bell()
        found = {place.name: described(place) for place in settings.models}
        self.models = {
            name: Resolver(facts.config, is_export=facts.is_export) for name, facts in found.items()
        }
        self._files = {name: facts.files for name, facts in found.items()}
        self._words = {name: KnownWords(facts.tokenizer) for name, facts in found.items()}
        self.store = JobStore(settings.data, settings.limits, database=settings.database)
        self.store.listeners.append(self.bell.changed)
        self.store.watchers.append(self.bell.ring)
        self._lanes = Lanes(
            self.store, worker_settings(settings), self._adapter_files, settings.attempts
        )
        self.previews = self._lanes.previews
        self.webhooks = Webhooks(self.store, settings.webhooks)
        self._is_over = threading.Event()
        self._sweeper = threading.Thread(target=self._sweep, daemon=True)

    def start(self) -> None:
        """Begin to make jobs, and to delete what is old."""
        self._lanes.start()
        self._sweeper.start()
        self.webhooks.start()

    def stop(self, seconds: float) -> None:
        """Finish what is done within so many seconds, queue the rest again, and leave the folder."""
        self.bell.close()
        self._lanes.stop(seconds)
        self._is_over.set()
        self._sweeper.join()
        self.webhooks.stop()
        self.store.close()

    def trouble(self) -> str | None:
        """Return why no jobs are taken or made, if so. Raise `StorageFull` where the disk is, `Unreachable`."""
        if self.bell.is_closed:
            return "the server stops"
        if self._lanes.are_broken:
            return "a defect ended the work on a device; the log says where, start the server anew"
        self.store.require_room()
        self.store.count("queued")
        return self._lanes.trouble

    def loaded_models(self) -> list[Json]:
        """Return the models that are in memory now, with their device, adapters and bytes."""
        return self._lanes.models

    def read(self, body: Any, caller: Caller, key: str | None) -> Submission:
        """Return what a parsed body and its idempotency key ask for, without a look at the database or the disk.

        Raises:
            InvalidRequest: the request can't be one of any model.
            QueueFull: the queue is known to be full, and no key could have given a job before.
        """
        if key is not None and not _KEY.fullmatch(key):
            raise InvalidRequest(
                "the Idempotency-Key is not 1 to 255 printable characters; choose such"
            )
        order = read_order(body)
        if caller.key is not None:
            _require_few(order, caller.key)
        found = Submission(order, body, caller, key)
        if key is None:
            self.store.refusals.require_none(found.owner)
        return found

    def submit(self, asked: Submission) -> tuple[Job, bool]:
        """Return the job of what was read, and whether it is new. Raises `AuralithError` where it is not accepted."""
        order, caller, owner = asked.order, asked.caller, asked.owner
        scoped = None if asked.key is None else (owner, asked.key)
        body_hash = sha256(canonical_json(asked.body).encode()).hexdigest()
        known = None if scoped is None else self.store.replay(scoped, body_hash)
        if known is not None:  # though its source or its adapter may be gone
            return known, False
        self.store.refusals.require_none(owner)
        request, cost_of_it = self._resolved(order, caller)
        return self.store.accept(
            request,
            cost_of_it,
            order.making.source,
            scoped,
            body_hash,
            owner=owner,
            owner_queue=None if caller.key is None else caller.key.queue,
            webhook=order.making.webhook,
        )

    def estimate(self, body: Any, caller: Caller) -> Json:
        """Return what a parsed body would take, without a job. Raises as `submit` does."""
        order = read_order(body)
        if caller.key is not None:
            _require_few(order, caller.key)
        request, cost_of_it = self._resolved(order, caller)
        found = self.store.forecast(request["model"], cost_of_it)
        return {
            "request": request,
            "seconds": found.seconds,
            "wait_seconds": found.wait_seconds,
            "position": found.position,
            "peak_memory_bytes": found.peak_memory_bytes,
            "unknown_words": self._words[request["model"]].unknown(prompts_of(request)),
        }

    def _resolved(self, order: Order, caller: Caller) -> tuple[Json, float]:
        """Return a request with all defaults filled in, and its cost."""
        if order.making.webhook is not None:
            self.webhooks.require_allowed(order.making.webhook)
        place = order.making.model or self.settings.models[0].name
        if place not in self.models:
            known = ", ".join(self.models)
            raise InvalidRequest(
                Field("model"),
                f" {shown(place)} is unknown; choose one of {known}",
                limit={"enum": list(self.models)},
            )
        self._require_adapters(order)
        if order.making.adapters and self.models[place].is_export:
            raise InvalidRequest(
                Field("adapters"),
                f" can't be merged into {place}, which is an export; leave them out, or export a model that has them",
                limit={"maxItems": 0},
            )
        source_id = order.making.source
        source = None if source_id is None else self._info(source_id, caller.owner)
        model = self.models[place]
        done = resolved(order, model, source)
        return done.to_json() | {"model": place}, cost(done, model, source)

    def view(self, job: Job) -> Json:
        """Return a job as clients see it."""
        return self._view(job, self.store.outputs(job.id))

    def view_all(self, jobs: Sequence[Job]) -> list[Json]:
        """Return jobs as clients see them."""
        outputs = self.store.outputs_of([job.id for job in jobs])
        return [self._view(job, outputs[job.id]) for job in jobs]

    def _view(self, job: Job, outputs: Sequence[Stored]) -> Json:
        found: Json = {"id": job.id, "status": job.status}
        if not job.is_final:
            estimate = self.store.estimate(job)
            found |= {"position": estimate.position, "eta_seconds": estimate.seconds}
        return found | {
            "progress": job.progress,
            "is_cancelled": job.is_cancelled,
            "request": job.request,
            "outputs": [self.view_output(one) for one in outputs],
            "error": job.error,
            "created_at": _time(job.created),
            "started_at": _time(job.started),
            "finished_at": _time(job.finished),
        }

    def view_output(self, one: Stored) -> Json:
        """Return a sound as clients see it."""
        return {
            "id": one.id,
            "url": f"/v1/audio/{one.id}",
            "is_starred": one.is_starred,
            **one.facts,
        }

    def remaking(self, one: Stored) -> Json | None:
        """Return the request that an upload says it was made by; see `remaking`."""
        return remaking(one.path, one.facts["codec"], self.models)

    def view_models(self) -> list[Json]:
        """Return what each model makes, and its license."""
        return [
            view_model(name, model) | {"license": read_card(self._files[name][0].parent)["license"]}
            for name, model in self.models.items()
        ]

    def card(self, name: str) -> Json:
        """Return license and card of a model, as `read_card` does. Raise `Unknown`."""
        return {"id": name, **read_card(self._known_model(name)[0].parent)}

    def model_config(self, name: str) -> Json:
        """Return the config of a model and the hash of its files, by which others resolve requests as it does. Raise `Unknown`."""
        files = self._known_model(name)
        config = config_to_json(self.models[name].config)
        return {"id": name, "model_hash": _hash_of(files), "config": config}

    def _known_model(self, name: str) -> tuple[Path, ...]:
        """Return the files of a model."""
        if name not in self._files:
            raise Unknown("there is no model of this name")
        return self._files[name]

    def view_limits(self) -> Json:
        """Return the limits of requests and of what is kept."""
        return {
            "n": MOST_SOUNDS,
            "adapters": MOST_ADAPTERS,
            "upload_seconds": LONGEST_SECONDS,
            "extension_seconds": LONGEST_SECONDS,
            "formats": list(FORMATS),
            "training_sounds": None if self.training is None else len(self.training),
            **asdict(self.settings.limits),
        }

    def adapters(self) -> dict[str, Path]:
        """Return the adapters of the folder by their id, the name without suffix."""
        folder = self.settings.adapters
        found = [] if folder is None else sorted(folder.glob("*.safetensors"))
        return {path.stem: path for path in found if path.is_file()}

    def adapter(self, name: str) -> Json:
        """Return an adapter, and the hash of its file. Raise `Unknown`; as `read_adapter`."""
        known = self.adapters()
        if name not in known:
            raise Unknown("there is no adapter of this name")
        return {"id": name, "file_hash": read_adapter(known[name]).file_hash}

    def _require_adapters(self, order: Order) -> None:
        known = self.adapters()
        for one in order.making.adapters:
            if one.id not in known:
                names = ", ".join(known) or "none"
                raise InvalidRequest(
                    Field("adapters"),
                    f": {shown(one.id)} is unknown; there are {names:.500}",
                    limit={"enum": list(known)},
                )

    def _adapter_files(self, request: Json) -> tuple[tuple[str, AdapterEffect], ...]:
        if not request.get("adapters"):
            return ()
        order = read_order(request)
        self._require_adapters(order)
        known = self.adapters()
        return tuple((str(known[one.id].absolute()), one.effect) for one in order.making.adapters)

    def _info(self, sound_id: str, owner: str | None) -> SoundInfo:
        facts = self.store.sound(sound_id, owner).facts
        return SoundInfo(facts["num_samples"], facts["sample_rate"], facts["channels"])

    def _sweep(self) -> None:
        while not self._is_over.wait(SWEEP_SECONDS):
            with suppress(ResourceError):  # a full disk: the next time
                self.store.sweep()


def _require_few(order: Order, key: ApiKey) -> None:
    """Raise `InvalidRequest` for more sounds than a key makes at a time."""
    if key.n is not None and order.making.n > key.n:
        raise InvalidRequest(
            Field("n"),
            f" is {order.making.n}; this API key makes at most {key.n} at a time",
            limit=limit_of(least=1, most=key.n),
        )


def worker_settings(settings: ServiceSettings) -> list[WorkerSettings]:
    """Return the settings of a worker for each device. Those that are on one kind of device share its memory and its cores."""
    kinds = [choose_device(name).type for name in settings.devices]
    return [
        WorkerSettings(
            settings.models,
            device,
            settings.dtype,
            threads=max(1, torch.get_num_threads() // kinds.count("cpu"))
            if kind == "cpu"
            else None,
            memory_bytes=settings.memory_bytes,
            sharers=kinds.count(kind) if kind == "cpu" else settings.devices.count(device),
            batch=settings.batch,
            preload=settings.preload,
            compile=settings.compile,
        )
        for device, kind in zip(settings.devices, kinds, strict=True)
    ]


def described(place: ModelPlace) -> Description:
    """Describe a model of a server. Raises as `describe` does."""
    files = Files(place.weights, place.config)
    return describe(place.source, text_encoder=place.text_encoder, files=files)


def _time(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


def model_places(sources: Sequence[str], text_encoder: str | None) -> tuple[ModelPlace, ...]:
    """Return the models of names on the Hub, folders and files; without any, the embedded one."""
    if not sources:
        return (ModelPlace("embedded"),)
    names = [Path(source).resolve().stem if Path(source).exists() else source for source in sources]
    if len(set(names)) < len(names):
        raise InvalidRequest(Field("model"), " names two models alike; rename the folder of one")
    return tuple(
        ModelPlace(name, source, text_encoder) for name, source in zip(names, sources, strict=True)
    )
