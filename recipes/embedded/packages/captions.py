"""Captions of recordings by their paths, as captions.toml lists them."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, lru_cache, partial
from typing import Any

from recipes.embedded.packages.fetch import HERE

_SLOTS = {"note": r"[A-G]#?\d", "animal": r"[a-z]+", "chord": r"[A-G](?:sharp|flat)? ?[a-z0-9]+"}
_CHORD = re.compile(r"([A-G])(sharp|flat)? ?([a-z0-9]+)")
_SHARPS = {"Db": "C", "Eb": "D", "Gb": "F", "Ab": "G", "Bb": "A"}


@dataclass(frozen=True)
class Named:
    """Caption of a recording, and whether it is for evaluation alone."""

    caption: str | None
    """None for a recording that nothing is said about."""
    held_out: bool


def named(source: str, path: str) -> Named:
    """Return what a recording of a source is called."""
    one = _tables().get(source, {})
    held_out = any(fnmatchcase(path, glob) for glob in one.get("held_out", ()))
    for glob, caption in one.get("captions", ()):
        if match := _pattern(glob).fullmatch(path):
            slots = match.groupdict()
            if "chord" in slots:
                slots["chord"] = chord(slots["chord"])
            return Named(caption.format(**slots) or None, held_out)
    return Named(None, held_out)


def chord(written: str) -> str:
    """Return a chord as captions have it, its root without a flat: "Asharp minro7b5" is "A sharp minor7b5"."""
    match = _CHORD.fullmatch(written)
    assert match
    root, sign, kind = match[1], match[2], match[3].replace("minro", "minor")
    if sign == "flat":
        root, sign = _SHARPS[f"{root}b"], "sharp"
    return f"{root} {sign} {kind}" if sign else f"{root} {kind}"


@lru_cache(maxsize=1)
def _tables() -> Mapping[str, Any]:
    return tomllib.loads((HERE / "captions.toml").read_text(encoding="utf-8"))


@cache
def _pattern(glob: str) -> re.Pattern[str]:
    """Return the regular expression of a glob with slots in braces."""
    return re.compile(re.sub(r"\{\w+\}|\[[^]]*\]|.", partial(_piece), glob), re.DOTALL)


def _piece(sign: re.Match[str]) -> str:
    text = sign[0]
    if text[0] == "{":
        return f"(?P<{text[1:-1]}>{_SLOTS[text[1:-1]]})"
    if len(text) > 1:
        return text
    return {"*": ".*", "?": "."}.get(text) or re.escape(text)
