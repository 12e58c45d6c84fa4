"""From the shell: how fast help answers, what Ctrl-C leaves, and what a second process makes of tags."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sa3 import write_sa3

MODEL = Path(__file__).parents[1] / "golden" / "sao_tiny"
AURALITH = [sys.executable, "-m", "auralith"]
QUICK = ["--model", str(MODEL), "--seconds", "0.3", "--window", "fit"]


def test_help_answers_at_once() -> None:
    """The best of three: the machine may be busy, the import can't be."""
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([*AURALITH, "--help"], check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 0.7


@pytest.mark.parametrize("module", ["auralith", "auralith.cli.main"])
def test_nothing_heavy_is_imported_at_the_door(module: str) -> None:
    heavy = "{'torch', 'numpy', 'transformers', 'huggingface_hub', 'soundfile', 'jaxtyping'}"
    code = f"import sys, {module}; assert not {heavy} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


GENERATE = """
import runpy, sys
sys.argv = ["auralith", "generate", "rain", "--seconds", "1", "--steps", "1", *sys.argv[1:]]
try:
    runpy.run_module("auralith", run_name="__main__")
except SystemExit as end:
    assert not end.code
print(*sys.modules)
"""
UNNEEDED = {
    "transformers",
    "torch._dynamo",
    "torch._inductor",
    "sympy",
    "scipy",
    "torchao",
    "huggingface_hub",
}


@pytest.mark.parametrize("name", ["embedded", "t5", "t5gemma"])
def test_a_sound_needs_neither_transformers_nor_torchs_compiler(name: str, tmp_path: Path) -> None:
    """Importing them takes longer than making a second of sound."""
    path = tmp_path / "rain.wav"
    model: list[str] = []
    if name != "embedded":
        folder = MODEL if name == "t5" else write_sa3("small", tmp_path / "model", 8_000)
        model = ["--model", str(folder)]
    command = [sys.executable, "-c", GENERATE, *model, "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules = done.stdout.split()
    assert path.is_file() and {"torch", "tokenizers"} <= set(modules)
    assert not UNNEEDED & set(modules)


def test_the_public_door() -> None:
    code = (
        "import auralith; assert set(auralith.__all__) <= set(dir(auralith));"
        "print([getattr(auralith, name) for name in auralith.__all__])"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_ctrl_c_leaves_no_file(tmp_path: Path) -> None:
    command = [*AURALITH, "generate", "a drum", *QUICK, "--steps", "10000", "--sampler", "k-heun"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # a job in the background is born deaf to it
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stderr is not None
    assert any(line.startswith("seed ") for line in process.stderr)  # the loop has begun
    process.send_signal(signal.SIGINT)
    errors = process.stderr.read()
    assert process.wait(60) == 130
    assert errors.splitlines()[-1] == "auralith: interrupted; no half-written file is left"
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_another_process_makes_the_same_bytes_again(tmp_path: Path) -> None:
    first = [*AURALITH, "generate", "a drum", *QUICK, "--steps", "3", "--n", "2", "-o", "a.wav"]
    made = subprocess.run(first, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert made.stdout == "a-1.wav\na-2.wav\n" and made.stderr.startswith("seed ")
    again = [*AURALITH, "generate", "--from", "a-2.wav", "--model", str(MODEL), "-o", "b.wav"]
    subprocess.run(again, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "a-2.wav").read_bytes()


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """A limit on the size of files stands in for the disk."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        "from auralith.cli.main import run; sys.exit(run(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", code, "generate", "a drum", *QUICK, "--steps", "2"]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 2 and "can't be written" in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_number_of_thousands_of_digits_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_text("steps=" + "9" * 5_000)
    command = [*AURALITH, "curate", "run", "big.toml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    wanted = "auralith: error: big.toml is not TOML: a whole number has more than 4,300 digits\n"
    assert (done.returncode, done.stderr) == (2, wanted)


def test_a_panic_in_a_library_is_one_line(tmp_path: Path) -> None:
    """The tokenizers library panics over this normalizer, and writes about it to stderr itself."""
    model = tmp_path / "model"
    shutil.copytree(MODEL, model)
    path = model / "t5" / "tokenizer.json"
    damage = {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    command = [*AURALITH, "generate", "a drum", "--model", str(model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "holds no usable tokenizer: Precompiled" in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
