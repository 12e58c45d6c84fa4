"""License and card of a model: what lies beside its weights, as text."""

import re
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from stat import S_ISREG

from auralith.jobs.records import Json

MOST_CHARACTERS = 200_000
"""Length at which a text is cut."""
MOST_KEPT = 64
"""Models whose texts are kept."""
CARDS = ("README.md", "MODEL_CARD.md", "model_card.md")
LICENSES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING")
_Version = tuple[Path, int, int]
"""A file with the time of its last change, in ns, and its size."""
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_NAMED = re.compile(r"^(license_name|license):[ \t]*[\"']?([^\"'\r\n#]+)", re.MULTILINE)


def read_card(folder: Path) -> Json:
    """Return the name of the license, its text, and the card, of a folder of weights; null where there is none.

    The name is what the card's metadata has, as on the Hub. Files are read again where they have changed.
    """
    return dict(_card(_first(folder, CARDS), _first(folder, LICENSES)))


@lru_cache(MOST_KEPT)
def _card(card_file: _Version | None, license_file: _Version | None) -> Json:
    card, license_text = _text(card_file), _text(license_file)
    front = _FRONT.match(card or "")
    return {
        "license": _name(front[1]) if front else None,
        "license_text": license_text,
        "card": card[front.end() :].strip() if card and front else card,
    }


def _first(folder: Path, names: tuple[str, ...]) -> _Version | None:
    for name in names:
        with suppress(OSError):
            found = (folder / name).stat()
            if S_ISREG(found.st_mode):
                return folder / name, found.st_mtime_ns, found.st_size
    return None


def _text(version: _Version | None) -> str | None:
    if version is None:
        return None
    with version[0].open(encoding="utf-8", errors="replace") as file:
        return file.read(MOST_CHARACTERS)


def _name(front: str) -> str | None:
    """Return the license of a card's metadata: its own name, where it is called "other"."""
    named = {key: value.strip() for key, value in _NAMED.findall(front)}
    return named.get("license_name") or named.get("license")
