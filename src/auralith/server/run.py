"""Running a server: bind, serve until a signal comes, and put away what runs."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from auralith.errors import Field, InvalidRequest, ResourceError
from auralith.exports import is_export
from auralith.extras import require
from auralith.files import size_text
from auralith.jobs.model_cache import needed_bytes
from auralith.models.compiled import check_choice, refuse_int8, require_compiler
from auralith.pipeline.loading import require_computable
from auralith.resources import INT8_NAME, choose_device, choose_format
from auralith.server.guard import Rules, allowed_hosts, is_loopback
from auralith.server.keys import plain_key, read_keys
from auralith.server.service import Service, ServiceSettings

if TYPE_CHECKING:
    from auralith.server.nearest import NearestSounds

KEY_VARIABLE = "AURALITH_API_KEY"
CLOSING_SECONDS = 5
"""Time that answers in progress have, once a signal came."""


@dataclass(frozen=True)
class Address:
    """Address that a server listens at, and who may ask."""

    host: str = "127.0.0.1"
    port: int = 8765
    """Port; 0 takes one that is free."""
    hosts: tuple[str, ...] = ()
    """More names that it goes by."""
    is_insecure: bool = False
    """Let everybody in who reaches it."""
    grace_seconds: float = 10.0
    """Time that the running job has, once a signal came."""
    keys: Path | None = None
    """TOML file of API keys."""


def serve(
    settings: ServiceSettings,
    address: Address,
    announce: Callable[[str], None],
    review: Path | None = None,
    training: "NearestSounds | None" = None,
) -> None:
    """Serve until a signal comes.

    `announce` gets the URL once requests are taken, `review` is the folder of a curation, `training` are sounds that outputs
    are compared with.

    Raises:
        InvalidRequest: it would be open to others without a key, or the folder can't be used.
        ResourceError: the address can't be had.
        MissingExtra: the libraries of the extra are missing.
    """
    uvicorn: Any = require("uvicorn", "serve")
    rules = rules_of(address)
    from auralith.server.app import make_app
    from auralith.server.protocol import Protocol

    bound = _bound(address)
    try:
        service = Service(settings, training)
        config = uvicorn.Config(
            make_app(service, rules, review=review),
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=CLOSING_SECONDS,
            lifespan="off",
            http=Protocol,
            ws="none",
        )

        class Server(uvicorn.Server):
            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                service.bell.close()  # ends the streams, which would never end by themselves
                super().handle_exit(sig, frame)

        try:
            service.start()
            announce(url_of(address, bound.getsockname()[1]))
            Server(config).run([bound])
        finally:
            service.stop(address.grace_seconds)
    finally:
        bound.close()


def rules_of(address: Address) -> Rules:
    """Return the rules for requests to an address; raise `InvalidRequest` if it would be open to others without a key."""
    secrets = os.environ.get(KEY_VARIABLE, "").split(",")
    keys = tuple(plain_key(key.strip()) for key in secrets if key.strip())
    if address.keys is not None:
        keys += read_keys(address.keys)
    is_local = is_loopback(address.host)
    if not (is_local or keys or address.is_insecure):
        raise InvalidRequest(
            Field("host"),
            f" {address.host} lets others in without a key; put one into {KEY_VARIABLE} or --keys, or say --insecure",
        )
    return Rules(allowed_hosts(address.host, address.hosts), not is_local, keys)


def url_of(address: Address, port: int) -> str:
    """Return the URL of a server."""
    name = f"[{address.host}]" if ":" in address.host else address.host
    return f"http://{name}:{port}"


def free_port(address: Address) -> int:
    """Return the port of an address, for another process to take. Raise `ResourceError` if it can't be had."""
    with _bound(address) as bound:
        return bound.getsockname()[1]


def _bound(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    bound = socket.socket(family)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address.host, address.port))
        bound.listen(2_048)  # who comes before the first request is taken waits
    except OSError as error:
        bound.close()
        raise ResourceError(
            f"{address.host}:{address.port} can't be had ({error.strerror or error}); choose another --host or --port"
        ) from error
    return bound


def chosen_devices(names: Sequence[str], dtype: str) -> tuple[str, ...]:
    """Return the devices of a server; raise as `choose_device` and `choose_format` do."""
    for name in names:
        choose_format(dtype, choose_device(name))
    return tuple(names)


def require_compilable(settings: ServiceSettings) -> None:
    """Raise `InvalidRequest` for an unknown choice and in int8, `ResourceError` if there is no compiler where one is asked for."""
    check_choice(settings.compile)
    if settings.compile != "off":
        refuse_int8(settings.dtype == INT8_NAME)
    if settings.compile == "on":
        for name in settings.devices:
            require_compiler(choose_device(name))


def require_loadable(settings: ServiceSettings) -> None:
    """Raise `InvalidRequest` for a device or setting that a model is not computed on or with, as an export's are."""
    for place in settings.models:
        if place.source is not None and is_export(Path(place.source)):
            others = (place.text_encoder, place.weights, place.config)
            for device in settings.devices:
                require_computable(
                    Path(place.source), device, settings.dtype, settings.compile, others
                )


def require_fitting(settings: ServiceSettings) -> None:
    """Raise `InvalidRequest` if a model can't be loaded within the limit of memory that was asked for."""
    most = settings.memory_bytes
    if most is None:
        return
    for place in settings.models:
        for device in settings.devices:
            needed = needed_bytes(place, device, settings.dtype)
            if needed > most:
                raise InvalidRequest(
                    Field("memory"),
                    f" is {size_text(most)}; the weights of {place.name} take {size_text(needed)}: raise it",
                )
