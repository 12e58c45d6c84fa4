"""Commands that are killed, or find the disk full, anywhere: run again they leave what an undisturbed run leaves.

KILLS says how many kills there are, KILL_SEED which ones.
"""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from tests.training.test_finetune import content as tensors_of
from tests.training.test_finetune import write_dataset

ROOT = Path(__file__).parents[2]
MODEL = str(ROOT / "tests" / "golden" / "sao_tiny")
TUNING = "-o tuned --steps 4 --batch-size 2 --precision float32 --device cpu --no-checks --set loop.save_every=2 --model"
COMMANDS = {
    "convert": ["convert", MODEL, "converted", "--to", "diffusers"],
    "generate": [
        *["generate", "a drum", "--model", MODEL, "--seconds", "0.3", "--window", "fit"],
        *["--steps", "2", "--seed", "1", "--n", "2", "--png", "-o", "drum.wav"],
    ],
    "lora": ["finetune", "zaps/train_dataset.csv", *TUNING.split(), MODEL],
    "full": ["finetune", "zaps/train_dataset.csv", "--full", *TUNING.split(), MODEL],
    "encode": ["encode", "zaps/train_dataset.csv", "-o", "latents", "--model", MODEL],
    "batch": [
        *["batch", "prompts.csv", "-o", "set", "--model", MODEL, "--seconds", "0.3"],
        *["--window", "fit", "--steps", "2", "--batch-size", "2"],
    ],
    "memorization": [
        *[
            "memorization",
            "-o",
            "copies",
            "--audio",
            "zaps",
            "--training",
            "zaps/train_dataset.csv",
        ],
        *["--null", "zaps"],
    ],
}
SIGNALS = (signal.SIGKILL, signal.SIGINT, signal.SIGTERM)
KILLS = int(os.environ.get("KILLS", str(3 * len(COMMANDS))))
SEED = int(os.environ.get("KILL_SEED", "0"))
FINISHING = (
    "auralith: warning: stopping after this step; a second Ctrl-C stops at once and loses it"
)
"""What a training says when a signal comes, before its last line."""
OPERATIONS = 40
"""About how many operations on files a command takes."""
# pictures of curves have the seconds of each step in them; states in between depend on where a run was stopped
UNEQUAL = re.compile(r"curves\.png|state-0*[0-3]\.pt.*|\.lock|.*\.sqlite|exported\.json")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    """Its exit code; a signal that ended it is negative."""
    text: str
    """What it wrote."""


class Zygote:
    """The warm process, as `zygote.py` describes it."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "tests.kills.zygote"]
        self.log = folder / "log"
        self.process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(
        self,
        folder: Path,
        command: str,
        *,
        operation: int = 0,
        number: int = signal.SIGKILL,
        after: float = 0.0,
        most_bytes: int = 0,
    ) -> Ended:
        """Run a command; it gets the signal before an operation on a file, or so many seconds after its beginning."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.log.write_text("")
        request = {
            "folder": str(folder),
            "log": str(self.log),
            "arguments": COMMANDS[command],
            "operation": operation,
            "signal": int(number),
            "most_bytes": most_bytes,
        }
        print(json.dumps(request), file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        if after:
            time.sleep(after)
            with suppress(ProcessLookupError):  # it may have ended by itself
                os.kill(pid, number)
        status = json.loads(self.process.stdout.readline())
        return Ended(os.waitstatus_to_exitcode(status), self.log.read_text())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_dataset(folder / "zaps", 4)
    rows = [f"{prompt},{seed}" for seed, prompt in enumerate(("a drum", "rain", "a bell"))]
    (folder / "prompts.csv").write_text("\n".join(["prompt,seed", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    made = Zygote(tmp_path_factory.mktemp("zygote"))
    yield made
    made.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def undisturbed(
    zygote: Zygote, inputs: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, object]]:
    """What each command leaves."""

    @cache
    def left(command: str) -> dict[str, object]:
        folder = fresh(tmp_path_factory.mktemp(command) / "run", inputs)
        ended = zygote.run(folder, command)
        assert ended.code == 0, ended.text
        return contents(folder)

    return left


def fresh(folder: Path, inputs: Path) -> Path:
    """A folder with what the commands read."""
    folder.mkdir()
    for path in inputs.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, folder / path.name)
    return folder


def contents(folder: Path) -> dict[str, object]:
    """Return what each file holds that must be the same again; raise an error for one that is half-written."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {str(path.relative_to(folder)): content(path) for path in files}
    return {name: held for name, held in found.items() if not UNEQUAL.fullmatch(Path(name).name)}


def content(path: Path) -> object:
    """Return the bytes of a file, of a log its lines without seconds; raise an error where a reader of its kind would."""
    if path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "run/seconds"} for line in lines]
    if path.name.startswith("."):
        return path.read_bytes()
    if path.suffix == ".json":
        json.loads(path.read_text())
    if path.suffix == ".png":
        Image.open(path).load()
    if path.suffix == ".wav":
        soundfile.read(path)
    if path.suffix == ".safetensors":
        return tensors_of(path)
    return path.read_bytes()


def check_again(zygote: Zygote, folder: Path, command: str, expected: dict[str, object]) -> None:
    """Run the command again, an hour later, and compare all files with those of an undisturbed run."""
    for path in folder.rglob(".auralith-*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    again = zygote.run(folder, command)
    assert again.code in (0, 2), again.text  # 2: all was there, and is not written over
    left = contents(folder)
    assert left.keys() == expected.keys(), again.text
    assert [n for n, held in left.items() if held != expected[n]] == [], again.text


@pytest.mark.parametrize("kill", range(KILLS))
def test_a_killed_command_is_done_by_running_it_again(
    kill: int,
    zygote: Zygote,
    inputs: Path,
    undisturbed: Callable[[str], dict[str, object]],
    tmp_path: Path,
) -> None:
    rng = random.Random(f"{SEED} {kill}")
    command = list(COMMANDS)[kill % len(COMMANDS)]
    number = SIGNALS[kill // len(COMMANDS) % len(SIGNALS)]
    folder = fresh(tmp_path / "run", inputs)
    if rng.random() < 0.7:
        operation = rng.randint(1, OPERATIONS)
        ended = zygote.run(folder, command, operation=operation, number=number)
    else:
        ended = zygote.run(folder, command, after=rng.uniform(0.01, 2), number=number)
    assert ended.code in (0, -9 if number == signal.SIGKILL else 128 + number), ended.text
    assert "Traceback" not in ended.text
    if ended.code > 128:
        lines = re.findall("^auralith: .*", ended.text, re.MULTILINE)
        assert len([line for line in lines if line != FINISHING]) == 1, ended.text
    contents(folder)
    check_again(zygote, folder, command, undisturbed(command))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_one_line_and_loses_nothing(
    command: str,
    zygote: Zygote,
    inputs: Path,
    undisturbed: Callable[[str], dict[str, object]],
    tmp_path: Path,
) -> None:
    """A limit on the size of files stands in for the disk."""
    folder = fresh(tmp_path / "run", inputs)
    ended = zygote.run(folder, command, most_bytes=random.Random(SEED).randint(200, 3_000))
    assert ended.code == 2, ended.text
    assert "Traceback" not in ended.text
    (line,) = re.findall("^auralith: error: .*", ended.text, re.MULTILINE)
    assert "choose a place you can write to" in line or "no disk space" in line, line
    assert not list(folder.rglob(".auralith-*"))
    contents(folder)
    check_again(zygote, folder, command, undisturbed(command))
