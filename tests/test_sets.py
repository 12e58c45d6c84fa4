"""Sets: tables of prompts, exactly one sound for each, whatever the batch size, the order, or a kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

import numpy as np
import pytest
import soundfile
import torch
from certificates import make_identity

from auralith import GenerationRequest
from auralith.cli.main import run
from auralith.cli.options import Sampling
from auralith.errors import InvalidRequest, NonFiniteError
from auralith.pipeline import Audio, Auralith, load
from auralith.provenance import read_provenance
from auralith.sets import COLUMNS, Made, Problem, SetSettings, make_set, plan_set, read_rows
from auralith.sets.plan import batches, prompt_seed
from auralith.sets.table import SHORT_NAMES
from auralith.sound.reading import read
from auralith.sound.writing import write
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
QUICK = {"steps": 2, "seconds_total": 0.3, "window": "fit"}
OPTIONS = ("--model", MODEL, "--steps", "2", "--seconds", "0.3", "--window", "fit")


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def table(text: str, name: str = "prompts.csv") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def made(model: Auralith, path: Path, folder: str = "set", **settings: Any) -> list[Made]:
    """The sounds of a set, in the order of their rows; there must be no problem."""
    settings = {"defaults": QUICK} | settings
    events = list(make_set(model, read_rows(path), folder, SetSettings(**settings)))
    sounds = [event for event in events if isinstance(event, Made)]
    assert len(sounds) == len(events), events
    return sorted(sounds, key=lambda event: event.entry.row)


def samples(name: str | Path) -> np.ndarray:
    return soundfile.read(name, dtype="int16")[0]


def manifest(folder: str = "set") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "manifest.jsonl").read_text().splitlines()]


# What a table can say


def test_every_field_of_a_request_and_every_option_is_a_column() -> None:
    options = set(get_args(Sampling)[1].sets) | {"seconds", "start", "output_seconds"}
    for name in options:
        assert SHORT_NAMES.get(name, name) in COLUMNS
    assert set(asdict(GenerationRequest("x"))) <= set(COLUMNS)


def test_every_field_can_be_set_in_a_row(model: Auralith) -> None:
    given: dict[str, Any] = {
        "prompt": "rain, heavy",
        "negative_prompt": "wind",
        "seconds_total": 1.5,
        "seconds_start": 0.25,
        "seconds_output": 0.5,
        "steps": 3,
        "cfg_scale": 2.5,
        "cfg_rescale": 0.5,
        "cfg_interval": (0.2, 0.9),
        "apg_eta": 0.25,
        "apg_norm_threshold": 4.0,
        "apg_momentum": -0.5,
        "sampler": "k-heun",
        "sigma_min": 0.5,
        "sigma_max": 90.0,
        "seed": 11,
        "fade_in": 0.25,
        "fade_out": 0.5,
        "window": "fit",
        "noise": "reference",
        "conditions": {},  # of a model that has some: test_conditions
        "schedule": "karras",
        "rho": 5.0,
        "sigmas": None,  # in place of others: test_schedules
        "mix": ((0.25, "thunder"),),
        "normalize": False,
        "fast": None,  # stands for others
        "cache_threshold": 0.125,
    }
    assert set(given) == set(asdict(GenerationRequest("x")))
    cells = {name: str(v or "") for name, v in given.items()}
    cells |= {"cfg_interval": "0.2-0.9", "mix": "0.25:thunder", "normalize": "false"}
    row = ",".join(f'"{cell}"' for cell in cells.values())
    as_csv = table(",".join(cells) + "\n" + row + "\n")
    as_json = table(json.dumps(given) + "\n", "prompts.jsonl")
    for path in (as_csv, as_json):
        (item,) = plan_set(model, read_rows(path)).items
        assert asdict(item.request) == given


def test_the_names_of_the_command_line_do_too(model: Auralith) -> None:
    path = table("prompt,seconds,--cfg,Negative,apg-eta,interval\nrain,0.5,3,wind,0.5,0.1-0.8\n")
    (item,) = plan_set(model, read_rows(path)).items
    request = item.request
    assert (request.seconds_total, request.cfg_scale, request.negative_prompt) == (0.5, 3.0, "wind")
    assert (request.apg_eta, request.cfg_interval) == (0.5, (0.1, 0.8))


def test_a_text_has_a_prompt_per_line_and_empty_cells_take_the_options(model: Auralith) -> None:
    (first, second) = read_rows(table("\ufeffrain\n\n  a bell  \n", "prompts.txt")).rows
    assert (first.values["prompt"], second.values["prompt"]) == ("rain", "a bell")
    assert second.place == "prompts.txt, line 3"
    path = table("prompt,steps,seed\nrain,,4\nrain,5,\n")
    first, second = plan_set(model, read_rows(path), {"steps": 3, "seed": 9}).items
    assert (first.request.steps, first.request.seed) == (3, 4)
    assert (second.request.steps, second.request.seed) == (5, 9)


def test_seeds_follow_from_prompts_wherever_they_stand(model: Auralith) -> None:
    def seeds(text: str) -> list[tuple[str, int | None]]:
        items = plan_set(model, read_rows(table(text, "p.txt")), QUICK).items
        return [(str(item.request.prompt), item.request.seed) for item in items]

    assert sorted(seeds("rain\nbell\nrain\n")) == sorted(seeds("bell\nrain\nrain\n"))
    assert len({seed for _, seed in seeds("rain\nbell\nrain\n")}) == 3
    assert seeds("rain\n") == [("rain", prompt_seed("rain"))]


def test_n_makes_as_many_of_a_row_with_the_seeds_after_it(model: Auralith) -> None:
    path = table("prompt,seed,n\nrain,5,3\nbell,7,\n")
    items = plan_set(model, read_rows(path), QUICK, n=2).items
    assert [(i.row.number, i.request.seed) for i in items] == [
        (1, 5),
        (1, 6),
        (1, 7),
        (2, 7),
        (2, 8),
    ]


# The same row, the same audio


def test_a_row_is_the_same_audio_whatever_the_batch_size_and_order(model: Auralith) -> None:
    rows = ["rain,1", "a bell,2", "wind,3"]
    path = table("\n".join(["prompt,seed", *rows]) + "\n")
    turned = table("\n".join(["prompt,seed", *rows[::-1]]) + "\n", "turned.csv")
    sets = {
        "one": made(model, path, "one", batch_size=1),
        "eight": made(model, path, "eight", batch_size=8),
        "turned": made(model, turned, "turned", batch_size=2)[::-1],
    }
    alone = [model.generate(e.entry.origin.settings).leveled() for e in sets["one"]]
    for name, events in sets.items():
        for event, expected in zip(events, alone, strict=True):
            found = samples(Path(name, event.entry.file))
            assert np.array_equal(
                found, np.rint(expected.numpy().T * 2**15).clip(-(2**15), 2**15 - 1)
            )


def test_computed_together_it_is_the_same_up_to_rounding(model: Auralith) -> None:
    """What a GPU does with a batch; the tags say the batch's size."""
    path = table("prompt,seed\nrain,1\na bell,2\nwind,3\n")
    alone = made(model, path, "alone", subtype="float")
    together = made(model, path, "together", subtype="float", batch_size=2, together=True)
    for one, other in zip(alone, together, strict=True):
        assert one.entry.key == other.entry.key
        found, expected = (
            read(Path(name, event.entry.file))[0]
            for name, event in (("together", other), ("alone", one))
        )
        assert float((found - expected).abs().max()) <= 1e-4
    assert [event.entry.origin.batch_size for event in together] == [2, 2, 1]


def test_batches_hold_what_can_be_made_together(model: Auralith) -> None:
    write("in.wav", torch.rand(2, 9000) - 0.5, 44100)
    header = "prompt,seed,seconds,steps,negative,sampler,noise,init_audio,strength\n"
    rows = (
        "a,1,0.3,2,,,,,",
        "b,2,0.4,3,,,,,",  # other steps
        "c,3,0.3,2,,,,,",
        "d,4,0.3,2,wind,,,,",  # a negative prompt
        "e,5,0.3,2,,k-dpm-adaptive,,,",  # steps that depend on the batch
        "f,6,0.3,2,,k-dpm-adaptive,,,",
        "g,7,0.3,2,,,reference,,",  # noise that depends on the batch
        "h,7,0.3,2,,,reference,,",
        "i,8,,2,,,,in.wav,0.3",
        "j,9,,2,,,,in.wav,0.6",  # another strength
        "k,10,,2,,,,in.wav,0.3",
        "l,11,0.3,2,,,,,",
    )
    path = table(header + "\n".join(rows) + "\n")
    items = plan_set(model, read_rows(path), {"window": "fit"}).items

    def shape(size: int) -> list[str]:
        return [
            "".join(str(i.request.prompt) for i in batch) for batch in batches(model, items, size)
        ]

    assert shape(8) == ["acl", "b", "d", "e", "f", "g", "h", "ik", "j"]
    assert shape(2) == ["ac", "b", "d", "e", "f", "g", "h", "ik", "j", "l"]
    assert shape(1) == [*"abcdefghijkl"]


def test_rows_with_init_audio_are_variations_of_it(model: Auralith) -> None:
    Path("in").mkdir()
    write("in/a.wav", torch.rand(1, 9000) - 0.5, 22050)
    write("in/b.wav", torch.rand(2, 6000) - 0.5, 44100)
    path = table(
        "prompt,init_audio,strength,seed\nrain,in/a.wav,0.4,1\nwind,in/b.wav,0.4,2\nbell,,,3\n"
    )
    sounds = made(model, path, batch_size=4, together=True)
    assert [event.entry.seconds for event in sounds] == [
        pytest.approx(9000 / 22050, abs=1e-4), pytest.approx(6000 / 44100, abs=1e-4), 0.3
    ]  # fmt: skip
    names = [event.entry.origin.source and event.entry.origin.source.name for event in sounds]
    assert names == ["a.wav", "b.wav", None]
    assert not any(event.was_there for event in sounds)
    assert all(event.was_there for event in made(model, path))
    write("in/b.wav", torch.rand(2, 6000) - 0.5, 44100)
    assert [event.was_there for event in made(model, path)] == [True, False, True]


# Nothing lost, nothing made twice


def test_a_killed_run_goes_on_without_losing_or_repeating_anything() -> None:
    total = 9
    path = table("prompt,seed\n" + "".join(f"sound {i},{i}\n" for i in range(total)))
    command = [
        "batch",
        str(path),
        "-o",
        "set",
        "--model",
        MODEL,
        "--seconds",
        "0.5",
        "--steps",
        "20",
    ]
    arguments = [sys.executable, "-m", "auralith", *command, "--sampler", "k-dpm-2"]
    process = subprocess.Popen(arguments, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    lines = Path("set/manifest.jsonl")
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if lines.exists() and lines.read_bytes().count(b"\n") >= 2:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.002)
    assert process.wait() == -signal.SIGKILL
    before = {file.name: file.stat().st_mtime_ns for file in Path("set").glob("*.wav")}
    assert 2 <= len(before) < total
    assert run([*command, "--sampler", "k-dpm-2"]) == 0
    after = {file.name: file.stat().st_mtime_ns for file in Path("set").glob("*.wav")}
    assert len(after) == len(manifest()) == len({entry["key"] for entry in manifest()}) == total
    assert {name: after[name] for name in before} == before
    assert sorted(entry["seed"] for entry in manifest()) == list(range(total))
    assert len(list(Path("set/spectrograms").glob("*.png"))) == total
    assert not list(Path("set").rglob(".auralith-*"))


@pytest.fixture
def counted(model: Auralith, monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The seeds that were generated."""
    seeds: list[int | None] = []
    generate_batch = Auralith.generate_batch

    def counting(self: Auralith, requests: Any, on_step: Any = None) -> list[Audio]:
        seeds.extend(request.seed for request in requests)
        return generate_batch(self, requests, on_step)

    monkeypatch.setattr(Auralith, "generate_batch", counting)
    return seeds


def cut_last_line() -> None:
    """A kill after the sound, before its line."""
    path = Path("set/manifest.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def cut_in_line() -> None:
    path = Path("set/manifest.jsonl")
    path.write_bytes(path.read_bytes()[:-40])


def cut_picture_and_line() -> None:
    Path("set/spectrograms/0003-wind-3.png").unlink()
    cut_last_line()


@pytest.mark.parametrize("kill", [cut_last_line, cut_in_line, cut_picture_and_line])
def test_a_sound_without_its_line_is_known_by_its_tags(
    kill: Callable[[], None], model: Auralith, counted: list[int | None]
) -> None:
    path = table("prompt,seed\nrain,1\na bell,2\nwind,3\n")
    made(model, path)
    kill()
    again = made(model, path)
    assert counted == [1, 2, 3]
    assert all(event.was_there for event in again) and len(manifest()) == 3
    assert Path("set/spectrograms/0003-wind-3.png").is_file()


def test_only_what_is_new_or_gone_is_made(model: Auralith, counted: list[int | None]) -> None:
    made(model, table("prompt,seed\nrain,1\na bell,2\n"))
    longer = table("prompt,seed\nwind,3\nrain,1\na bell,2\n")
    assert [event.was_there for event in made(model, longer)] == [False, True, True]
    Path("set/0001-rain-1.wav").unlink()
    made(model, longer)
    made(model, table("prompt,seed,steps\nrain,1,3\n"))
    assert counted == [1, 2, 3, 1, 1]
    names = sorted(path.name for path in Path("set").glob("*.wav"))
    assert names == [
        "0001-rain-1.wav", "0001-wind-3.wav", "0002-a-bell-2.wav", "0002-rain-1.wav"
    ]  # fmt: skip


def test_no_file_is_replaced(model: Auralith) -> None:
    """Neither one that someone else put there, nor the sound of a row that has changed since."""
    Path("set").mkdir()
    Path("set/0001-rain-1.wav").write_bytes(b"mine")
    made(model, table("prompt,seed\nrain,1\n"))
    made(model, table("prompt,seed,steps\nrain,1,3\n"))
    assert Path("set/0001-rain-1.wav").read_bytes() == b"mine"
    steps = [read_provenance(f"set/0001-rain-1-{n}.wav").settings.steps for n in (2, 3)]
    assert steps == [2, 3]
    assert len(manifest()) == 2


def test_equal_rows_are_made_once(model: Auralith, counted: list[int | None]) -> None:
    events = list(
        make_set(
            model,
            read_rows(table("prompt,seed\nrain,1\nrain,1\n")),
            "set",
            SetSettings(defaults=QUICK),
        )
    )
    (problem,) = (event for event in events if isinstance(event, Problem))
    assert "same sound as row 1" in str(problem) and problem.is_made
    assert counted == [1]


def test_the_manifest_says_what_each_sound_is(model: Auralith) -> None:
    made(model, table("prompt,seed,cfg\nRegen über München,1,3\n"), format="flac")
    (entry,) = manifest()
    assert entry["prompt"] == "Regen über München" and entry["seed"] == 1
    assert entry["file"] == "0001-regen-über-münchen-1.flac"
    assert entry["seconds"] == pytest.approx(0.3) and entry["sample_rate"] == 44100
    assert entry["model_hash"] == model.checkpoint.model_hash
    assert entry["origin"]["settings"]["cfg_scale"] == 3.0
    assert read_provenance(Path("set", entry["file"])).settings.prompt == entry["prompt"]


# The page


class Page(HTMLParser):
    """The texts of a page by tag, and its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("img", "meta", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.append((self.open[-1], data))

    def of(self, tag: str) -> list[str]:
        return [text for name, text in self.texts if name == tag]

    def links(self) -> Iterator[str]:
        for _, attributes in self.attributes:
            yield from (
                value for name, value in attributes.items() if name in ("src", "href") and value
            )


def test_the_page_shows_every_sound_and_escapes_prompts(model: Auralith) -> None:
    prompts = ['<script>alert("x")</script> & "quotes"', "Regen #1 über 100 %", "rain"]
    lines = "".join(json.dumps({"prompt": p, "seed": i}) + "\n" for i, p in enumerate(prompts))
    made(model, table(lines, "prompts.jsonl"))
    text = Path("set/index.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.of("h3") == prompts
    assert "<script>alert" not in text
    for link in page.links():
        assert Path("set", unquote(link)).is_file(), link
        assert ":" not in link and not link.startswith("/")
    assert sum(tag == "audio" for tag, _ in page.attributes) == 3
    assert sum(tag == "img" for tag, _ in page.attributes) == 3
    assert "prefers-color-scheme: dark" in text
    assert "http" not in text.split("</style>")[0]


def test_the_page_is_there_after_an_interruption(model: Auralith) -> None:
    events = make_set(
        model,
        read_rows(table("prompt,seed\nrain,1\na bell,2\n")),
        "set",
        SetSettings(defaults=QUICK),
    )
    next(iter(events))
    events.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert Page(Path("set/index.html").read_text()).of("h3") == ["rain"]


def test_two_processes_do_not_make_a_set_at_once(model: Auralith) -> None:
    rows = read_rows(table("prompt,seed\nrain,1\na bell,2\n"))
    first = make_set(model, rows, "set", SetSettings(defaults=QUICK))
    next(first)
    Path("set/.auralith-0badcafe.part").write_bytes(b"the first one's")
    with pytest.raises(InvalidRequest, match="another process works on set"):
        next(make_set(model, rows, "set", SetSettings(defaults=QUICK)))
    assert Path("set/.auralith-0badcafe.part").exists()
    assert len(list(first)) == 1 and len(manifest()) == 2


# What bad input gets


def refused(
    capsys: pytest.CaptureFixture[str], *arguments: str, model: str = "no/such/model"
) -> str:
    assert run(["batch", *arguments, "-o", "set", "--model", model]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert not Path("set").exists()
    return captured.err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "has no rows"),
        ("a.csv", "prompt,seed\n", "has no rows"),
        ("a.txt", "\n  \n", "has no rows"),
        ("a.jsonl", "\n", "has no rows"),
        ("a.csv", "promt\nrain\n", "unknown column 'promt'; did you mean 'prompt'?"),
        ("a.csv", "prompt,cfgscale\nrain,3\n", "did you mean 'cfg_scale'?"),
        ("a.jsonl", '{"prompt": "rain", "sed": 3}\n', "did you mean 'seed'?"),
        ("a.csv", "seed\n3\n", "has no column 'prompt' (it has seed)"),
        ("a.csv", "prompt,seed,seed\nrain,1,2\n", "has the column 'seed' twice"),
        ("a.csv", "prompt,seconds,seconds_total\nrain,1,2\n", "which are the same"),
        ("a.csv", "prompt,seed\nrain, heavy,3\n", "line 2 has more cells than the header"),
        ("a.jsonl", "{rain}\n", "line 1 is not JSON"),
        ("a.jsonl", "[1]\n", "line 1 is not one JSON object"),
        ("a.toml", "x", "give a .csv, .jsonl or .txt file"),
    ],
)
def test_a_table_that_is_none_is_one_line(
    name: str, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    # the model is only looked at where a column may be one of its conditions
    model = MODEL if "did you mean" in message else "no/such/model"
    assert message in refused(capsys, str(table(text, name)), model=model)


def test_a_table_that_cannot_be_read_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "can't be read" in refused(capsys, "missing.csv")
    Path("latin.csv").write_bytes("prompt\nGlöckchen\n".encode("latin-1"))
    assert "save it as text in UTF-8" in refused(capsys, "latin.csv")
    Path("folder.txt").mkdir()
    assert "can't be read" in refused(capsys, "folder.txt")


def test_rows_that_cannot_be_made_are_named_and_the_others_done(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("noise.wav").write_bytes(b"no sound")
    path = table(
        "prompt,seed,seconds,steps,sampler,init_audio,strength,n\n"
        "rain,1,,,,,,\n"
        ",2,,,,,,\n"
        "bell,3,99,,,,,\n"
        "bell,4,,many,,,,\n"
        "bell,5,,0,,,,\n"
        "bell,6,,,dpmpp,,,\n"
        "bell,7,,,,gone.wav,,\n"
        "bell,8,,,,noise.wav,0.5,\n"
        "bell,9,,,,noise.wav,1.5,\n"
        "bell,10,,,,,0.5,\n"
        "bell,11,,,,,,0\n"
        "wind,12,,,,,,\n"
    )
    assert run(["batch", str(path), "-o", "set", *OPTIONS]) == 3
    captured = capsys.readouterr()
    assert captured.out == "set/manifest.jsonl\nset/index.html\n"
    assert [entry["seed"] for entry in manifest()] == [1, 12]
    for row, reason in (
        (2, "has no prompt"),
        (3, "99 s are asked for"),
        (4, "steps is 'many'; give a whole number"),
        (5, "steps is 0"),
        (6, "sampler"),
        (7, "gone.wav doesn't exist"),
        (8, "is not a readable sound file"),
        (9, "strength is 1.5; it must be at most 1"),
        (10, "no init_audio"),
        (11, "n is 0"),
    ):
        line = f"auralith: warning: row {row} (prompts.csv, line {row + 1}) "
        assert any(line in found and reason in found for found in captured.err.splitlines()), row
    assert "made 2, already there 0, rows left out 10" in captured.err
    page = Page(Path("set/index.html").read_text())
    assert any("row 2 (prompts.csv, line 3) has no prompt" in text for text in page.of("li"))
    assert run(["batch", str(path), "-o", "set", *OPTIONS]) == 3
    assert "made 0, already there 2, rows left out 10" in capsys.readouterr().err


def test_one_bad_sound_of_a_batch_takes_none_of_the_others_with_it(
    model: Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate_batch = Auralith.generate_batch

    def failing(self: Auralith, requests: Any, on_step: Any = None) -> list[Audio]:
        if any(request.seed == 2 for request in requests):
            raise NonFiniteError("latents became NaN")
        return generate_batch(self, requests, on_step)

    monkeypatch.setattr(Auralith, "generate_batch", failing)
    rows = read_rows(table("prompt,seed\nrain,1\na bell,2\nwind,3\n"))
    settings = SetSettings(defaults=QUICK, batch_size=3, together=True)
    events = list(make_set(model, rows, "set", settings))
    assert [entry["seed"] for entry in manifest()] == [1, 3]
    assert [str(e) for e in events if isinstance(e, Problem)] == [
        "row 2 (prompts.csv, line 3) can't be made: latents became NaN"
    ]


def test_a_folder_that_is_no_set_is_refused(
    model: Auralith, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(table("prompt\nrain\n"))
    Path("set").mkdir()
    Path("set/manifest.jsonl").write_text('{"other": 1}\n')
    assert run(["batch", path, "-o", "set", *OPTIONS]) == 2
    assert "set/manifest.jsonl, line 1 is not an entry of a set" in capsys.readouterr().err
    assert run(["batch", path, "-o", "prompts.csv", *OPTIONS]) == 2
    assert "prompts.csv can't be made" in capsys.readouterr().err
    assert run(["batch", path, "-o", "other", *OPTIONS, "--format", "aiff"]) == 2
    assert "--format is 'aiff'" in capsys.readouterr().err
    assert not Path("other/manifest.jsonl").exists()
    with pytest.raises(InvalidRequest, match="batch_size is 0"):
        SetSettings(batch_size=0)


def test_sounds_of_a_set_can_be_signed_and_made_again(model: Auralith) -> None:
    identity = make_identity(Path("identity"))
    signed = ("--c2pa-cert", str(identity.chain), "--c2pa-key", str(identity.key))
    path = str(table("prompt,seed\nrain,1\n"))
    assert run(["batch", path, "-o", "set", *OPTIONS, *signed, "--format", "flac", "--n", "2"]) == 0
    file = Path("set/0001-rain-2.flac")
    assert b"c2pa" in file.read_bytes()
    assert run(["generate", "--from", str(file), "--model", MODEL, "-o", "again.flac"]) == 0
    assert np.array_equal(samples(file), samples("again.flac"))
    assert run(["batch", path, "-o", "no", *OPTIONS, *signed, "--format", "ogg"]) == 2
    assert not os.path.exists("no")
