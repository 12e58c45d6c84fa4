"""Cells as they are meant: text, lists of text, numbers written as text, and the files that they name."""

import ast
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest, shown

_ITEM = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|None|nan|NaN|null)"""
_LIST = re.compile(
    rf"\s*+\[\s*+{_ITEM}(?:\s*+,\s*+{_ITEM}|\s++{_ITEM})*\s*+(?:,\s*+)?\]\s*+", re.DOTALL
)
"""Blanks are matched possessively: nothing else matches one, and trying fewer would take the square of their number."""
_ITEMS = re.compile(_ITEM, re.DOTALL)
_LONGEST_LIST = 100_000
"""Characters of a list in a cell."""
_ABSENT = ("nan", "NaN", "None", "<NA>")
"""Texts that Python and pandas write for a missing value."""


class NotText(InvalidRequest):
    """A value that is neither text nor a number stands where a text is wanted."""


def require_text(text: str, what: str) -> str:
    """The text, where it is Unicode; raises `InvalidRequest` for bytes that were not UTF-8, and for half characters."""
    if has_surrogates(text):
        raise InvalidRequest(
            f"{what} can't be read: {shown(text)} is not UTF-8; save it as text in UTF-8"
        )
    return text


def has_surrogates(text: str) -> bool:
    """Return whether a text holds a lone surrogate: half a character, or a byte that was not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def captions(value: object, what: str) -> tuple[str, ...] | None:
    """The texts of a cell for prompts: None if it is missing, several if it is a list, or a list written as text.

    Raises:
        NotText: the value is neither text nor a number nor a list of these; `what` names its place.
        InvalidRequest: it is not UTF-8.
    """
    members = value if isinstance(value, list | tuple) else written_list(value)
    if members is None:
        members = [value]
        if _is_absent(value):
            return None
    found = [_caption(member, what) for member in members if not _is_absent(member)]
    return tuple(dict.fromkeys(text for text in found if text)) or ("",)


def _caption(value: object, what: str) -> str:
    if isinstance(value, bool | list | tuple | Mapping):
        kind = {bool: "a truth value", dict: "an object"}.get(type(value), "a list of lists")
        raise NotText(f"{what} is {kind}: {shown(value)}; write text")
    return require_text(scalar_text(value).strip(), what)


def fields(values: Mapping[str, Any], what: str) -> dict[str, str]:
    """Cells as text by their names: lists are joined by commas, an object gives its own fields, what is missing or
    nested deeper is left out.

    Raises:
        InvalidRequest: a text is not UTF-8; `what` names its place.
    """
    found: dict[str, str] = {}
    for name, value in values.items():
        inner = value if isinstance(value, Mapping) else {name: value}
        for key, item in inner.items():
            if text := joined(item):
                label = require_text(str(key), what)
                found[label] = require_text(text, f"{shown(label)} of {what}")
    return found


def joined(value: object) -> str:
    """A value as one text: the members of a list, or of a list written as text, with commas between them."""
    members = value if isinstance(value, list | tuple) else written_list(value)
    if members is None:
        return "" if _is_absent(value) else scalar_text(value).strip()
    flat = [one for member in members for one in (member if isinstance(member, list) else [member])]
    texts = [scalar_text(one).strip() for one in flat if not _is_absent(one)]
    return ", ".join(text for text in texts if text)


def scalar_text(value: object) -> str:
    """A single value as text; whole numbers without ".0", "" for what holds other values."""
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping | list | tuple):
        return ""
    return str(value)


def written_list(value: object) -> list[Any] | None:
    """The members of a list that a text writes as Python, numpy or JSON would; None if it writes none."""
    if not isinstance(value, str) or len(value) > _LONGEST_LIST or "[" not in value[:9]:
        return None
    if not _LIST.fullmatch(value):
        return [] if value.strip() == "[]" else None
    return [_item(text) for text in _ITEMS.findall(value)]


def _item(text: str) -> object:
    if text.startswith(("'", '"')):
        try:
            return ast.literal_eval(text.replace("\n", "\\n"))
        except (ValueError, SyntaxError):
            return text[1:-1]
    return None


def _is_absent(value: object) -> bool:
    if isinstance(value, float):
        return value != value or value in (float("inf"), float("-inf"))
    return value is None or (isinstance(value, str) and value.strip() in _ABSENT)


def named_file(folder: Path, written: str) -> Path:
    """The file that a table in `folder` names; it needn't exist."""
    return folder / (existing_name(folder, written) or written.strip())


def existing_name(folder: Path, written: str) -> str | None:
    """The name under which a file exists: as it is written, else without the spaces around it, else with the
    separators of Windows replaced; None if it exists under none of these."""
    stripped = written.strip()
    names = (written, stripped, written.replace("\\", "/"), stripped.replace("\\", "/"))
    # unlike Path.exists, os.path.exists is false for impossible names
    return next((name for name in names if name and os.path.exists(folder / name)), None)
