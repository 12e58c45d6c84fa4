"""The `auralith` command: its verbs, and how errors become text and exit codes.

0 done; 2 the input or the machine is at fault, one line on stderr says how; 3 a set was made without some of its rows,
which stderr names; 130 interrupted, 143 terminated, 129 hung up, and one line says how to go on. Anything else that
goes wrong is a defect and shows its traceback. Verbs import heavy libraries when they run, so `--help` answers at once.
"""

import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import auralith
from auralith.cli.adapter import adapter
from auralith.cli.batch import batch
from auralith.cli.convert import convert
from auralith.cli.curate import curate
from auralith.cli.encode import encode
from auralith.cli.evaluate import evaluate
from auralith.cli.export import export
from auralith.cli.extend import extend
from auralith.cli.fields import name_options
from auralith.cli.finetune import finetune
from auralith.cli.generate import generate
from auralith.cli.info import info
from auralith.cli.inpaint import inpaint
from auralith.cli.inspect import inspect
from auralith.cli.lines import LineFormatter
from auralith.cli.loop import loop
from auralith.cli.memorization import attribute, memorization
from auralith.cli.plan import plan
from auralith.cli.serve import serve
from auralith.cli.train import train
from auralith.cli.vary import vary
from auralith.cli.weights import weights
from auralith.cli.words import words
from auralith.errors import AuralithError, Interrupted, is_out_of_memory
from auralith.escaping import one_line, without_password
from auralith.extras import quiet_libraries
from auralith.signals import leave, raised_signals

RESUMED = (
    "finetune",
    "train",
    "encode",
    "batch",
    "curate",
    "weights",
    "memorization",
    "attribute",
    "serve",
)
"""Verbs that go on where they were stopped when they are run again."""


class _Ended(Exception):
    """Carries an interruption past typer, which would forget which signal it was and what was kept."""

    def __init__(self, interruption: KeyboardInterrupt) -> None:
        self.interruption = interruption


class _Verbs(TyperGroup):
    """The verbs, whose interruptions typer leaves alone."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Ended(error) from error


app = typer.Typer(
    cls=_Verbs,
    help="Generate sound from a prompt, and look after the models that do it.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for sounds in (generate, batch, vary, inpaint, extend, loop, serve):
    app.command()(sounds)
for models in (info, inspect, words, convert, export, encode, finetune, plan, train):
    app.command()(models)
for judges in (evaluate, memorization, attribute):
    app.command()(judges)
app.add_typer(adapter)
app.add_typer(curate)
app.add_typer(weights)


def _print_version(wanted: bool | None) -> None:
    if wanted:
        print(auralith.__version__)
        raise typer.Exit()


@app.callback()
def options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_print_version, help="Show the version.")
    ] = None,
) -> None:
    """Generate sound from a prompt, and look after the models that do it."""


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what a terminal's encoding lacks becomes an escape
            stream.reconfigure(errors="backslashreplace")
    leave(run(sys.argv[1:]))


def run(arguments: Sequence[str], app: typer.Typer = app, program: str = "auralith") -> int:
    """Run one command of `app`, which its help calls `program`, and return its exit code."""
    _log_to_stderr()
    name_options(app)
    try:
        with raised_signals():
            code = _code(app, arguments, program)
    except (AuralithError, typer.TyperException) as error:
        return _fail(
            str(error.format_message() if isinstance(error, typer.TyperException) else error)
        )
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        return _fail("out of memory; make fewer or shorter sounds at once")
    except (
        BrokenPipeError
    ):  # the reader of our output left; Python would complain once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except KeyboardInterrupt as error:
        return _interrupted(error, arguments)
    return code


def _code(app: typer.Typer, arguments: Sequence[str], program: str) -> int:
    try:
        code = app(list(arguments) or ["--help"], prog_name=program, standalone_mode=False)
    except _Ended as ended:
        raise ended.interruption from None
    return code if isinstance(code, int) else 0


def _interrupted(error: KeyboardInterrupt, arguments: Sequence[str]) -> int:
    what = str(error) or "interrupted"
    if arguments and arguments[0] in RESUMED:
        print(f"auralith: {what}; to go on, type", file=sys.stderr)
        print(_command(arguments), file=sys.stderr)
    else:
        print(f"auralith: {what}; no half-written file is left", file=sys.stderr)
    number = error.signal_number if isinstance(error, Interrupted) else signal.SIGINT
    return 128 + number


def _command(arguments: Sequence[str]) -> str:
    """Return the command line that started this process, as a shell takes it; passwords are left out."""
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if processes > 1:
        program = ["torchrun", "--nproc-per-node", str(processes), "-m", "auralith"]
    elif sys.orig_argv[1:3] == ["-m", "auralith"]:
        program = [*sys.orig_argv[:3]]
    else:
        program = ["auralith" if _is_on_path(sys.argv[0]) else sys.argv[0]]
    given = (without_password(a) for a in arguments if a != "--no-resume")
    return shlex.join([*program, *given])


def _is_on_path(script: str) -> bool:
    found = shutil.which("auralith")
    return found is not None and os.path.realpath(found) == os.path.realpath(script)


def _fail(message: str) -> int:
    print("auralith: error:", one_line(message), file=sys.stderr)
    return 2


def _log_to_stderr() -> None:
    """Warnings of the library, one line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.getLogger("auralith").handlers = [handler]
    quiet_libraries()
