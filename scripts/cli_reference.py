"""Write docs/cli.md: the help of every verb, as it's printed. `make docs` runs it, a test compares."""

import io
import os
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

from auralith.cli.main import run

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
INTRO = """# The command line

What `--help` prints, for every verb (written by `make docs`).

Exit codes: 0 done; 2 the input or the machine is at fault, and one line on stderr says how; 3 a set was made without
some of its rows, which stderr names; 130 interrupted.
"""


def reference() -> str:
    """The page."""
    overview = _help()
    return "\n".join([INTRO, _block(overview), *_sections(overview)])


def _sections(overview: str, *group: str) -> Iterator[str]:
    """A section for every verb of an overview, and for the verbs of a group of verbs."""
    for line in overview.split("Commands:\n")[1].splitlines():
        if line.startswith("   "):
            continue  # a description that goes on
        verb = (*group, line.split()[0])
        text = _help(*verb)
        yield f"## auralith {' '.join(verb)}\n\n{_block(text)}"
        if "Commands:\n" in text:
            yield from _sections(text, *verb)


def _block(text: str) -> str:
    return f"```text\n{text}```\n"


def _help(*verb: str) -> str:
    """Return what a verb's --help prints on a page of 100 columns."""
    with patch.dict(os.environ, {"COLUMNS": "100"}), redirect_stdout(io.StringIO()) as printed:
        assert run([*verb, "--help"]) == 0
    return printed.getvalue()


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
