"""Auralith: open text-to-audio; an independent implementation of the Stable Audio Open model family.

    import auralith
    model = auralith.load()
    model.generate(auralith.GenerationRequest("rain on a tin roof")).save("rain.wav")

This is the public door. Each name is imported from its home when it is first asked for, so that `import auralith`
costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from auralith.pipeline import Auralith, generate, load
    from auralith.request import GenerationRequest

__version__ = "0.1.0"
__all__ = ["Auralith", "GenerationRequest", "__version__", "generate", "load"]

_HOMES = {
    "Auralith": "auralith.pipeline",
    "GenerationRequest": "auralith.request",
    "generate": "auralith.pipeline",
    "load": "auralith.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auralith' has no attribute '{name}'")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
