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


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo terminal")
@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        (b"y\n", 2, "loading somebody/else from the Hub"),
        (b"n\n", 2, "allow that with --yes"),
        (b"\n", 2, "allow that with --yes"),
        (b"\x04", 2, "allow that with --yes"),
        (b"\x03", 130, "auralith: interrupted; no half-written file is left"),
    ],
    ids=["yes", "no", "enter", "end", "interrupt"],
)
def test_consent_is_asked_for_at_a_terminal(
    typed: bytes, code: int, said: str, tmp_path: Path
) -> None:
    import pty

    import torch

    from auralith.provenance import Provenance
    from auralith.request import GenerationRequest
    from auralith.sound.writing import write

    made = GenerationRequest("a drum", seconds_total=0.3, steps=2, seed=1)
    origin = Provenance("test", "somebody/else", "0" * 64, "cpu", "float32", 0, 1, made)
    write(tmp_path / "a.wav", torch.zeros(2, 9), 44_100, tags=origin.to_tags())
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
        command = [sys.executable, "-m", "auralith", "generate", "--from", "a.wav"]
        os.execve(sys.executable, command, environment)
    shown = b""
    while b"[y/N]" not in shown:
        shown += os.read(terminal, 1_000)
    os.write(terminal, typed)
    try:
        while part := os.read(terminal, 1_000):
            shown += part
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    assert said in shown.decode() and "Traceback" not in shown.decode()
