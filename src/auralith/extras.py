"""Optional libraries: imported where they are used, and missed with one line that says how to get them."""

import json
import logging
from contextlib import suppress
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from auralith.errors import MissingExtra


def require(module: str, extra: str) -> ModuleType:
    """Import a library that comes with an extra.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"this needs {module}, of the extra auralith[{extra}]; {how_to_install(extra)}"
        ) from error


class LazyModule:
    """A library of an extra that a whole module works with: imported when something of it is first used.

    Reading an attribute raises `MissingExtra` if the library is not installed.
    """

    def __init__(self, module: str, extra: str) -> None:
        self._module, self._extra = module, extra

    def __getattr__(self, name: str) -> Any:
        return getattr(require(self._module, self._extra), name)


def quiet_libraries() -> None:
    """Keep libraries from warning about what nobody asked for.

    transformers imports torchao where it is installed, which complains about GPUs that are not there.
    """
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, for the way in which this package was installed.

    A package from an index is asked for by its name, one from a clone by the clone's folder.
    """
    clone = _clone()
    if clone is None:
        return f"pip install 'auralith[{extra}]'"
    return f"pip install '.[{extra}]'" + ("" if clone == Path.cwd() else f" in {clone}")


@cache
def _clone() -> Path | None:
    """The folder this package was installed from; None if an index had it (PEP 610 tells them apart)."""
    folders = [Path(__file__).parents[2]]
    with suppress(metadata.PackageNotFoundError):
        installed = metadata.distribution("auralith").read_text("direct_url.json")
        url = urlsplit(json.loads(installed)["url"]) if installed else None
        if url is not None and url.scheme == "file":
            folders.append(Path(url2pathname(url.path)))
    return next((folder for folder in folders if (folder / "pyproject.toml").is_file()), None)
