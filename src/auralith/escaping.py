"""Text from outside, put where it could mean something: into a shell's line, Markdown, JSON and YAML.

Each has its one function here. Terminals have `errors.printable`, which these use too; HTML has `html.escape`.
"""

import html
import json
import re
import shlex
from collections.abc import Iterable

from auralith.errors import is_visible, one_line

_MARKDOWN = re.compile(r"[\\`*_{}\[\]|~!$]")
_AT_START = re.compile(r"^(\d{1,9}(?=[.)])|(?=[#+=-]))")
"""Lists, headings and rules: what means something at the beginning of a line alone."""
_WORD = re.compile(r"([\s<>`|]+)")
_LINK = re.compile(r"://|www\.|\w@\w|mailto:|xmpp:", re.IGNORECASE)
"""In words that renderers turn into a link by themselves, even where they are escaped."""
MOST_SHOWN = 500
"""Characters of a text in a card or a command."""


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
