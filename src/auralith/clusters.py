"""Clusters of Ray: this process joins one, or says in one line why it can't."""

import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from auralith.errors import Field, InvalidRequest, ResourceError, shown
from auralith.extras import require
from auralith.signals import ENDING

ADDRESS_VARIABLE = "RAY_ADDRESS"
LOCAL = "local"
"""Address that starts Ray on this machine, as long as the process lives."""
_TRIAL = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print('answers')"


def join_cluster(address: str, timeout_s: float = 60.0) -> Any:
    """Join the cluster at `address` ("host:6379", "ray://host:10001", "auto" or "local"), and return the library.

    Raises:
        InvalidRequest: the address is malformed.
        ResourceError: the cluster does not answer in time.
        MissingExtra: Ray is not installed.
    """
    ray: Any = require("ray", "ray")
    if not ray.is_initialized():
        place = place_of(address)
        if place is not None:
            _check_port(address, place, timeout_s)
        if address != LOCAL:
            _check_answer(address, timeout_s)
        with _own_handlers():
            ray.init(address, log_to_driver=False)
    return ray


@contextmanager
def _own_handlers() -> Iterator[None]:
    """Put back what takes the signals that end a process: Ray takes SIGTERM, and ends it without more ado."""
    former = {number: signal.getsignal(number) for number in ENDING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in former.items():
                if handler is not None:
                    signal.signal(number, handler)


def place_of(address: str) -> tuple[str, int] | None:
    """Return host and port of an address, None for "auto" and "local". Raise `InvalidRequest` for a malformed one."""
    if address in (LOCAL, "auto"):
        return None
    parts = urlsplit(address if "//" in address else f"//{address}")
    try:
        host, port, is_ray = parts.hostname, parts.port, parts.scheme in ("", "ray")
    except ValueError:  # the port is not a number
        host, port, is_ray = None, None, False
    if not (host and port and is_ray):
        raise InvalidRequest(
            Field("ray"), f" is {shown(address)}, not the address of a Ray cluster; write HOST:PORT"
        )
    return host, port


def _check_port(address: str, place: tuple[str, int], timeout_s: float) -> None:
    """Raise at once if nothing listens at the address, as with most wrong addresses."""
    try:
        socket.create_connection(place, min(timeout_s, 10.0)).close()
    except OSError as error:
        raise _silence(address, timeout_s, error.strerror or str(error)) from error


def _check_answer(address: str, timeout_s: float) -> None:
    try:
        trial = subprocess.run(
            [sys.executable, "-c", _TRIAL, address],
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _silence(address, timeout_s, "something listens there") from error
    if trial.returncode:
        lines = trial.stderr.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")
        raise _silence(address, timeout_s, reason[:200])


def _silence(address: str, timeout_s: float, reason: str) -> ResourceError:
    return ResourceError(
        f"no Ray cluster answers at {address} within {timeout_s:g} s ({reason}); start one there,"
        f" or leave --ray and {ADDRESS_VARIABLE} out"
    )
