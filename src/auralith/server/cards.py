"""License and card of a model: what lies beside its weights, as text."""

import re
from pathlib import Path

from auralith.jobs.records import Json

MOST_CHARACTERS = 200_000
"""Length at which a text is cut."""
CARDS = ("README.md", "MODEL_CARD.md", "model_card.md")
LICENSES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "COPYING")
_FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
_NAMED = re.compile(r"^(license_name|license):[ \t]*[\"']?([^\"'\r\n#]+)", re.MULTILINE)


def read_card(folder: Path) -> Json:
    """Return the name of the license, its text, and the card, of a folder of weights; null where there is none.

    The name is what the card's metadata has, as on the Hub.
    """
    card, license_text = _first(folder, CARDS), _first(folder, LICENSES)
    front = _FRONT.match(card or "")
    return {
        "license": _name(front[1]) if front else None,
        "license_text": license_text,
        "card": card[front.end() :].strip() if card and front else card,
    }


def _first(folder: Path, names: tuple[str, ...]) -> str | None:
    for name in names:
        path = folder / name
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                return file.read(MOST_CHARACTERS)
    return None


def _name(front: str) -> str | None:
    """Return the license of a card's metadata: its own name, where it is called "other"."""
    named = {key: value.strip() for key, value in _NAMED.findall(front)}
    return named.get("license_name") or named.get("license")
