"""Optional libraries: imported where they are used, and missed with one line that says how to get them."""

from importlib import import_module
from types import ModuleType

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
        raise MissingExtra(f"this needs {module}; pip install 'auralith[{extra}]'") from error
