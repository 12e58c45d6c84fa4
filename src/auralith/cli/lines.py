"""Lines for people: what comes from files and from elsewhere can't act on the terminal, and is not longer than it helps."""

import logging
import sys

from auralith.escaping import one_line

MOST_SHOWN = 1_000
"""Characters of one value in a table for people; JSON has all of it."""


def warn(message: object) -> None:
    """Print one line of warning on stderr."""
    print("auralith: warning:", one_line(str(message)), file=sys.stderr)


def note(message: object) -> None:
    """Print one line on stderr."""
    print(one_line(str(message)), file=sys.stderr)


def cell(value: object) -> str:
    """Return a value for a table; what is missing is a dash."""
    return "-" if value is None else one_line(str(value), MOST_SHOWN)


class LineFormatter(logging.Formatter):
    """Warnings of the library, one line each."""

    def format(self, record: logging.LogRecord) -> str:
        return f"auralith: warning: {one_line(record.getMessage())}"
