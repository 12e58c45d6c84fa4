"""Text from outside, put where it could mean something: on a terminal, into a shell's line, Markdown, JSON and YAML.

Each has its one function here; HTML has `html.escape`.
"""

import html
import json
import re
import shlex
import unicodedata
from collections.abc import Iterable

_MARKDOWN = re.compile(r"[\\`*_{}\[\]|~!$]")
_AT_START = re.compile(r"^(\d{1,9}(?=[.)])|(?=[#+=-]))")
"""Lists, headings and rules: what means something at the beginning of a line alone."""
_WORD = re.compile(r"([\s<>`|]+)")
_PASSWORD = re.compile(r"(://[^/?#:@]*:)[^/?#]*(?=@)|([?&]password=)[^&]*")
_LINK = re.compile(r"://|www\.|\w@\w|mailto:|xmpp:", re.IGNORECASE)
"""In words that renderers turn into a link by themselves, even where they are escaped."""
MOST_SHOWN = 500
"""Characters of a text in a card or a command."""


def printable(text: str) -> str:
    """Return a text that any UTF-8 terminal can show: controls and bytes that are not UTF-8 become escapes."""
    if text.isprintable():
        return text
    return "".join(c if is_visible(c) else c.encode("unicode_escape").decode() for c in text)


def without_password(text: str) -> str:
    """Return a text in which "…" stands for the password of a URL, if it is one that has a password."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}…", text)


def is_visible(sign: str) -> bool:
    """Return whether a character shows itself and does nothing else: no control, no mark of direction, no line end."""
    return sign.isprintable() or unicodedata.category(sign) == "Zs"


def one_line(text: str, limit: int = 2_000) -> str:
    """Return a text as one line for a terminal: blanks joined, the rest `printable`; a long one keeps its beginning and end."""
    if len(text) > limit:
        text = f"{text[: limit * 2 // 3]} … {text[-(limit // 3) :]}"
    return printable(" ".join(text.split()))


def shell_command(words: Iterable[str]) -> str:
    """Return a command in one line that a POSIX shell takes as these words, whatever they hold.

    Line ends and controls become blanks: a terminal acts on them when a line is pasted, inside of quotes too.
    """
    return " ".join(shlex.quote(_typed(word)) for word in words)


def _typed(word: str) -> str:
    """Return what a person could type: one line without controls, of at most `MOST_SHOWN` characters."""
    line = "".join(sign if is_visible(sign) else " " for sign in word[: 2 * MOST_SHOWN])
    return (" ".join(line.split()) if line != word else line)[:MOST_SHOWN]


def markdown(text: str, limit: int = MOST_SHOWN) -> str:
    """Return a text as one line of Markdown that looks like what it says: no markup, no HTML, no link.

    Words that renderers would link by themselves become code spans, inside of which nothing is read.
    """
    words = _WORD.split(one_line(text, limit))
    shown = (f"`{word}`" if _LINK.search(word) else _escaped(word) for word in words)
    return _AT_START.sub(r"\1\\", "".join(shown))


def _escaped(text: str) -> str:
    return _MARKDOWN.sub(r"\\\g<0>", html.escape(text, quote=False))


def json_line(value: object) -> str:
    """Return a value as one line of JSON that is YAML, too, and that any terminal can show."""
    text = json.dumps(value, ensure_ascii=False)
    if text.isprintable():
        return text
    return "".join(sign if is_visible(sign) else json.dumps(sign)[1:-1] for sign in text)
