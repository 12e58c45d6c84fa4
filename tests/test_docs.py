"""The documentation tells the truth: its blocks run, its commands and files exist, its reference is what is printed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_reference import reference

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "docs/guide.md", "docs/training.md")
PAGES_WITH_BLOCKS = ("README.md", "docs/guide.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language and where they stand. `text` and `sh` blocks are shown, not run."""
    found = []
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[1] == language:
                line = text[: match.start()].count("\n") + 2
                found.append((f"{page}:{line}", match[2]))
    return found


RUN_BLOCKS = """
import json, os, sys, traceback, warnings
import soundfile, torch, tokenizers  # once for all: they take seconds

def run(place, code, folder):
    os.makedirs(folder)
    os.chdir(folder)
    try:
        exec(compile(code, place, "exec"), {"__name__": "__main__"})
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)

warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
for block in json.load(sys.stdin):
    pid = os.fork()
    if not pid:
        run(*block)
    if os.waitpid(pid, 0)[1]:
        sys.exit(block[0])
"""
RUN_LINES = """
import json, os, shlex, subprocess, sys
from auralith.cli.main import run

for place, code, folder in json.load(sys.stdin):
    os.makedirs(folder)
    os.chdir(folder)
    for line in code.splitlines():
        name, *arguments = shlex.split(line)
        if name != "auralith":
            subprocess.run(["bash", "-euo", "pipefail", "-c", line], check=True)
        elif run(arguments):
            sys.exit(f"{place}: {line}")
"""


def run_in_one_process(runner: str, found: list[tuple[str, str]], folder: Path) -> None:
    """Run the blocks where shapes are not checked, each in a folder of its own."""
    places = [(place, code, str(folder / str(i))) for i, (place, code) in enumerate(found)]
    command = [sys.executable, "-c", runner]
    done = subprocess.run(command, input=json.dumps(places), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS)
def test_python_blocks_run(page: str, tmp_path: Path) -> None:
    """Each in a process that has imported nothing of Auralith."""
    found = [block for block in blocks("python") if block[0].startswith(page)]
    assert found
    run_in_one_process(RUN_BLOCKS, found, tmp_path)


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS)
def test_shell_blocks_run(page: str, tmp_path: Path) -> None:
    """Lines that begin with `make` are looked up in the Makefile instead: they would install everything again.

    What is not a plain call of `auralith` is left to a shell.
    """
    found = []
    for place, code in blocks("bash"):
        lines = code.splitlines()
        targets = {line.split()[1] for line in lines if line.startswith("make ")}
        assert targets <= make_targets(), place
        commands = [line for line in lines if not line.startswith("make ")]
        calls = "".join(line for line in commands if line.startswith("auralith "))
        assert not set("|&;<>$`\\") & set(calls), f"{place}: this needs a shell"
        if place.startswith(page) and commands:
            found.append((place, "\n".join(commands)))
    assert found
    run_in_one_process(RUN_LINES, found, tmp_path)


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def test_the_command_reference_is_what_help_prints() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == reference(), "run `make docs`"


@pytest.mark.parametrize(
    "page",
    sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]),
)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        assert ((ROOT / page).parent / target).exists(), f"{page}: {target}"


def test_the_tree_of_the_readme_exists() -> None:
    tree = (ROOT / "README.md").read_text(encoding="utf-8").split("src/auralith/\n", 1)[1]
    tree = tree.split("```", 1)[0]
    package = ROOT / "src" / "auralith"
    for name in re.findall(r"^  (\S+)", tree, re.MULTILINE):
        assert (package / name).exists() or (package / f"{name}.py").exists(), name
    for name in re.findall(r"^(\w\S*)", tree, re.MULTILINE):
        assert (ROOT / name).exists(), name


def test_every_module_is_placed_in_the_architecture() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    layers = set(re.findall(r"\w+", text.split("## Imports go one way", 1)[1].split("```")[1]))
    package = ROOT / "src" / "auralith"
    modules = {p.stem for p in package.glob("*.py")} | {
        p.parent.name for p in package.glob("*/__init__.py")
    }
    assert modules - {"__init__", "auralith"} <= layers
