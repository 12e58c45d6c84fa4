"""The server on a cluster of Ray: Ray Serve runs replicas of the application, each with one device.

Replicas share their jobs through PostgreSQL and a folder, so that it makes no difference which of them is asked. Ray starts
those that died again, somewhere; their jobs are made by the others meanwhile.
"""

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from auralith.clusters import join_cluster, place_of
from auralith.errors import Field, InvalidRequest, ResourceError
from auralith.extras import require
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import ModelPlace
from auralith.server.guard import Asgi, Message, Receive, Rules, Scope, Send
from auralith.server.run import Address, free_port, require_loadable, rules_of, url_of
from auralith.server.service import Service, ServiceSettings, described

NAME = "auralith"
"""Name of the application in Ray Serve: another one of this name is replaced."""
MOST_REQUESTS = 1_000
"""Requests that a replica has at a time, streams of events included."""
ENDING_SECONDS = 10.0


class Replica:
    """An ASGI application around that of a service, which begins and ends with it."""

    def __init__(self, settings: ServiceSettings, rules: Rules, grace_seconds: float) -> None:
        from auralith.server.app import make_app

        self._service, self._grace = Service(settings), grace_seconds
        self._app: Asgi = make_app(self._service, rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or begin and end."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        while True:
            message: Message = await receive()
            if message["type"] == "lifespan.startup":
                self._service.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                self._service.stop(self._grace)
                await send({"type": "lifespan.shutdown.complete"})
                return


def serve_on_cluster(
    settings: ServiceSettings,
    address: Address,
    cluster: str,
    replicas: int,
    announce: Callable[[str], None],
) -> None:
    """Serve on a cluster until a signal comes. `announce` gets the URL once requests are taken.

    Raises:
        InvalidRequest: the cluster's address is malformed, there is no database for all, or a device is named that only one machine has; as `locate`, `JobStore`.
        ResourceError: the cluster does not answer, or has too few GPUs; the address can't be had.
        MissingExtra: the libraries of the extras are missing.
    """
    place_of(cluster)  # refused before all that depends on it
    rules = rules_of(address)
    _check(settings)
    port = free_port(address)
    require("fastapi", "serve")
    ray, serve = join_cluster(cluster), _serve_library()
    try:
        device = _device(settings.devices[0], _num_gpus(ray), replicas)
        try:
            serve.start(http_options={"host": address.host, "port": port})
        except ray.exceptions.RayError as error:
            raise ResourceError(
                "Ray's proxies can't be started; Ray's logs say why, and `ray status` what is free"
            ) from error
        build = _builder(_everywhere(replace(settings, devices=(device,))), rules, address)
        deployment = serve.deployment(
            serve.ingress(build)(),
            name=NAME,
            num_replicas=replicas,
            max_ongoing_requests=MOST_REQUESTS,
            graceful_shutdown_timeout_s=address.grace_seconds + ENDING_SECONDS,
            ray_actor_options={"num_gpus": int(device == "cuda")},
            logging_config={"enable_access_log": False},
        )
        try:
            serve.run(deployment.bind(), name=NAME, route_prefix="/")
        except RuntimeError as error:
            raise ResourceError(
                "the replicas can't be started; Ray's logs say why, and `ray status` what is free"
            ) from error
        try:
            announce(url_of(address, port))
            threading.Event().wait()
        finally:
            serve.delete(NAME)
    finally:
        ray.shutdown()


def _check(settings: ServiceSettings) -> None:
    """Raise here what would else be raised in a replica, where nobody reads it."""
    if settings.database is None:
        raise InvalidRequest(
            Field("database"),
            " is missing; replicas share their jobs through one, as postgresql://USER@HOST/NAME",
        )
    if settings.devices not in (("auto",), ("cpu",), ("cuda",)):
        raise InvalidRequest(
            Field("device"),
            " must be auto, cpu or cuda on a cluster: each replica gets one device from Ray",
        )
    for place in settings.models:
        described(place)
    require_loadable(settings)
    JobStore(settings.data, settings.limits, database=settings.database).close()


def _serve_library() -> Any:
    serve: Any = require("ray.serve", "ray")
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    return serve


def _num_gpus(ray: Any) -> int:
    return int(ray.cluster_resources().get("GPU", 0))


def _builder(settings: ServiceSettings, rules: Rules, address: Address) -> Callable[[], Asgi]:
    """Return a function that makes the application where Ray runs it."""

    def build() -> Asgi:
        return Replica(settings, rules, address.grace_seconds)

    return build


def _device(name: str, gpus: int, replicas: int) -> str:
    if name == "auto":
        name = "cuda" if gpus else "cpu"
    if name == "cuda" and gpus < replicas:
        raise InvalidRequest(
            Field("replicas"), f" is {replicas}, but the cluster has {gpus} GPUs; ask for fewer"
        )
    return name


def _everywhere(settings: ServiceSettings) -> ServiceSettings:
    """Return settings whose paths don't depend on where a process was started."""

    def absolute(path: str | None) -> str | None:
        return str(Path(path).absolute()) if path is not None and Path(path).exists() else path

    models = tuple(
        ModelPlace(
            place.name,
            absolute(place.source),
            absolute(place.text_encoder),
            absolute(place.weights),
            absolute(place.config),
        )
        for place in settings.models
    )
    adapters = None if settings.adapters is None else settings.adapters.absolute()
    return replace(settings, data=settings.data.absolute(), models=models, adapters=adapters)
