"""Texts that try to become something else, through every output: the shell, Markdown, HTML, terminals, JSON."""

import json
import shlex
import subprocess
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt

from auralith.cli.lines import cell, warn
from auralith.cli.main import run
from auralith.cli.progress import stage_progress
from auralith.errors import AudioError
from auralith.escaping import json_line, markdown, one_line, shell_command
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.sound.writing import write
from auralith.training.export import Card
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
TEXTS = {
    "shell": "rain $(touch PWNED) `touch PWNED`\" ; touch PWNED; echo ' \\' && touch PWNED !! #",
    "fence": "rain\n```\n# Heading\n```sh\ntouch PWNED\n",
    "option": "--from=/etc/passwd",
    "markdown": "# H\n[free](https://evil.example) ![x](//evil.example) <https://evil.example> | a | b |",
    "autolink": "see https://evil.example/a(b) www.evil.example me@evil.example [^1] $\\href{x}{y}$",
    "list": "12) first\n- second\n> third\n===\n---\n***\n",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)> &lt;b&gt; <!-- a --> </pre></title>",
    "ansi": "a\x1b[2J\x1b]0;owned\x07\x1b[201~\x9b31m\x08\x7f\r\u2028b",
    "bidi": "a\u202egpj.exe\u2066\u200e\u200b\ufeff",
    "nul": "a\0b\ud800",
    "formula": "=cmd|' /C calc'!A0;=1+1\t=1+1\r\n@SUM(1+1)",
    "full-width formula": "\uff1dcmd;\uff0b1",
    "quotes": "\",=1+1,\"';=1+1;'",
    "script": "</script><script>alert(1)</script>]]>",
    "template": "{{7*7}} {% raw %} ${7*7} #{7*7} <%= 7*7 %> %(x)s {0} {x!r}",
    "long": "x" * 100_000,
    "unclosed": "`[](" * 25_000,
}
CONTROLS = (*range(10), *range(11, 32), *range(127, 160), 0x2028, 0x202E, 0x2066, 0x200E, 0xFEFF)
BAD = set(map(chr, CONTROLS))


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    return TEXTS[request.param]


def plain(shown: str, limit: int = 3_000) -> None:
    """Nothing that a terminal acts on, and no line without end."""
    assert not BAD & set(shown)
    assert max(map(len, shown.splitlines()), default=0) <= limit
    shown.encode()


def elements(text: str) -> list[str]:
    """The kinds of what a text is rendered to, by CommonMark with tables."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    inline = [child for token in tokens for child in token.children or ()]
    return [token.type for token in (*tokens, *inline)]


def rendered(text: str) -> str:
    page = MarkdownIt("commonmark").render(text)
    return "".join(_Text(page))


class _Text(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.feed(page)

    def handle_data(self, data: str) -> None:
        self.parts.append(data)

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)


def test_markdown_says_what_the_text_says(text: str) -> None:
    line = markdown(text)
    plain(line)
    for placed in (line, f"- {line}", f"| a |\n| --- |\n| {line} |\n", f"x\n{line}\n"):
        found = set(elements(placed))
        assert not found & {"link_open", "image", "html_inline", "html_block", "fence", "hr"}
        assert not found & {"heading_open", "ordered_list_open", "blockquote_open", "code_block"}
    assert rendered(line).strip() == one_line(text, 500)


def test_a_shell_takes_a_command_as_its_words(text: str, tmp_path: Path) -> None:
    command = shell_command(["printf", "%s", text])
    plain(command)
    assert "\n" not in command and shlex.split(command)[:2] == ["printf", "%s"]
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout.decode() == shlex.split(command)[2]
    assert not list(tmp_path.iterdir())


def test_the_model_card_holds_its_command_and_no_more(text: str, tmp_path: Path) -> None:
    card = Card(text, text, markdown(text), 1, 1.0, {text: 1}, {text: text}, {text: 1.0}, text, {text: 1.0})  # fmt: skip
    shown = card.to_markdown(text)
    plain(shown)
    kinds = elements(shown)
    assert kinds.count("heading_open") == 5 and kinds.count("fence") == 1
    assert not {"link_open", "image", "html_inline", "html_block"} & set(kinds)
    (fence,) = [t for t in MarkdownIt("commonmark").parse(shown) if t.type == "fence"]
    script = f'auralith() {{ printf \'%s\\n\' "$#" "$1"; }}\n{fence.content}'
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, check=True)
    words = shlex.split(fence.content)
    assert done.stdout.decode().splitlines() == [str(len(words) - 1), "generate"]
    assert not list(tmp_path.iterdir())
    prompt = words[-1] if "--" in words else words[2]
    assert not prompt.startswith("-") or words[-2] == "--"


def test_json_is_whole_and_plain(text: str) -> None:
    line = json_line({text: [text]})
    assert not BAD & set(line) and json.loads(line) == {text: [text]}
    line.encode()


def test_lines_for_people_are_plain(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    warn(text)
    with stage_progress() as show:
        show("stage", 1, 1, text)
    captured = capsys.readouterr()
    plain(captured.err)
    plain(cell(text))
    assert captured.err.startswith("auralith: warning: ")


def test_commands_show_tags_and_errors_plainly(
    text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    prompt = text.replace("\ud800", "")  # which no prompt may hold
    request = GenerationRequest(prompt, negative_prompt=prompt, seconds_total=0.1, steps=1, seed=1)
    origin = Provenance(text, text, text, text, text, 0, 1, request)
    write("a.wav", torch.zeros(2, 9), 44_100, tags=origin.to_tags())
    started = time.perf_counter()
    assert run(["info", "a.wav"]) == 0
    plain(capsys.readouterr().out)
    assert run(["info", "a.wav", "--json"]) == 0
    found = capsys.readouterr().out
    assert not BAD & set(found) and json.loads(found)["tags"]["settings"]["prompt"] == prompt
    for arguments in (
        ("generate", "--from", "a.wav"),
        ("generate", "x", "--model", text),
        ("generate", "x", "--device", text),
        ("generate", "x", "--sampler", text, "--model", MODEL),
        ("inspect", text),
        ("info", text),
        ("adapter", "list", text),
    ):
        assert run(arguments) == 2, arguments[0]
        captured = capsys.readouterr()
        plain(captured.err, 3_000)
        assert captured.err.count("\n") == 1 and captured.out == ""
    assert time.perf_counter() - started < 60


def test_an_error_keeps_its_end() -> None:
    line = one_line(str(AudioError(f"{'x' * 10**5} can't be read; fetch it again")))
    assert line.endswith("fetch it again") and len(line) < 2_100
