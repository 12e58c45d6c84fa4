"""Messages and help on any terminal, and names of any bytes: text or an escape, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ENCODINGS = [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"LC_ALL": "C"}]


def auralith(*arguments: str | bytes, **changed: str) -> tuple[int, str]:
    """Run the command; gives its exit code and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "auralith", *arguments],
        env={**os.environ, **changed},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    return done.returncode, done.stdout.decode("utf-8", "replace")


@pytest.mark.parametrize("encoding", ENCODINGS, ids=lambda one: "".join(one.values()))
def test_help_and_messages_in_any_encoding(encoding: dict[str, str]) -> None:
    code, said = auralith("generate", "--help", **encoding)
    assert code == 0 and "Traceback" not in said and "--seconds" in said
    code, said = auralith("info", "鐘/é.wav", **encoding)
    assert code == 2 and said.count("\n") == 1 and "Traceback" not in said


def test_a_prompt_that_is_not_utf8_is_one_line() -> None:
    code, said = auralith("generate", b"caf\xe9", "--seconds", "0.1", "--steps", "1")
    assert (code, said.count("\n")) == (2, 1) and "not UTF-8" in said


def test_a_file_whose_name_is_not_utf8_is_read(tmp_path: Path) -> None:
    import numpy as np
    import soundfile

    soundfile.write(tmp_path / "a.wav", np.zeros(100), 8_000)
    name = os.fsencode(tmp_path) + b"/k\x83b.wav"
    try:
        os.rename(tmp_path / "a.wav", name)
    except OSError:
        pytest.skip("this file system has only UTF-8 names")
    code, said = auralith("info", name)
    assert code == 0 and "8000" in said.replace(",", "")
