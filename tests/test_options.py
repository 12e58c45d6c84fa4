"""Every option of every command: a value that is refused is refused by the name of its option."""

import csv
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.core import TyperOption

import auralith
from auralith.cli.fields import name_options
from auralith.cli.main import app
from auralith.errors import AuralithError
from auralith.sets.plan import plan_set
from auralith.sets.table import read_rows
from auralith.sound.writing import write
from auralith.training.finetune import LEARNING_RATES
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
BAD = ("-1", "0", "1e30", "nan", "none such", "3-1")
FREE = {
    *("negative", "model", "text_encoder", "adapter", "weights", "config", "path_column"),
    *("prompt_column", "reviewer", "reason", "note", "author", "url", "stage", "audio_prefix"),
    *(
        "name",
        "separator",
        "query",
        "filter",
        "fpcalc",
        "audible_magic",
        "source",
        "host",
        "allow_host",
        "prompts",
        "autoencoder",
        "server",
    ),
}
"""Options that take any text, or the name of something that is looked for."""
BASE = {
    "generate": "rain --model MODEL",
    "batch": "prompts.txt -o set --model MODEL",
    "vary": "sound.wav rain --model MODEL",
    "inpaint": "sound.wav rain --range 0.1-0.2 --model MODEL",
    "extend": "sound.wav rain --seconds 0.6 --model MODEL",
    "loop": "rain --seconds 0.5 --model MODEL",
    "evaluate": "--audio . --reference . --metric fd-mel -o report",
    "memorization": "--audio . --training . -o report",
    "attribute": "sound.wav --training . --work report",
    "serve": "--data jobs --device cpu --model MODEL",
    "encode": "table.csv -o latents --model MODEL",
    "finetune": "table.csv --model MODEL",
    "plan": "MODEL",
    "train": "recipe.toml",
    "convert": "MODEL out",
    "export": "MODEL out --to onnx",
    "curate probe": "curation --root .",
    "curate fingerprint": "curation --root .",
    "curate tag": "curation --root .",
    "curate identify": "curation --root .",
    "curate index": ". -o index",
    "curate licenses": "curation",
    "curate preferences": "curation",
    "curate guard": "curation",
    "curate ingest": "curation .",
    "curate run": "recipe.toml",
    "curate manifest": "curation",
    "curate card": "curation",
    "curate attribution build": "curation",
    "curate review list": "curation",
}
"""Arguments with which a command comes as far as its work, of all commands that have such options."""


class Begun(Exception):
    """The command has taken its values and begins to work."""


def begin(*arguments: object, **options: object) -> Any:
    raise Begun


def leaves(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    for key, one in getattr(command, "commands", {}).items():
        yield from leaves(one, f"{name} {key}".strip())
    if not hasattr(command, "commands"):
        yield name, command


name_options(app)
ROOT = typer.main.get_command(app)
COMMANDS = dict(leaves(ROOT))


def values(command: str) -> list[Any]:
    """The options of a command whose values can be wrong in themselves: numbers, choices and texts of a form."""
    parameters = inspect.signature(COMMANDS[command].callback).parameters
    return [
        one
        for one in COMMANDS[command].params
        if isinstance(one, TyperOption)
        and not one.is_flag
        and one.name in parameters
        and one.name not in FREE
        and "Path" not in str(parameters[one.name].annotation)
    ]


@pytest.fixture(autouse=True)
def _in_a_folder_with_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded: auralith.Auralith
) -> None:
    monkeypatch.chdir(tmp_path)
    write("sound.wav", np.linspace(-0.5, 0.5, 2 * 22_050).reshape(2, -1), 44_100)
    Path("table.csv").write_text("path,prompt\nsound.wav,rain\n")
    Path("prompts.txt").write_text("rain\n")
    Path("recipe.toml").write_text('kind = "transformer"\n')

    def load(*arguments: object, device: str, dtype: str, **options: object) -> Any:
        from auralith.models.compiled import check_choice
        from auralith.resources import choose_device, choose_format

        check_choice(str(options.get("compile", "off")))
        choose_format(dtype, choose_device(device))
        return loaded

    monkeypatch.setattr("auralith.pipeline.load", load)
    for place in (
        *("auralith.pipeline.Auralith._denoise", "auralith.sets.run._Run._made"),
        *(
            "auralith.training.finetune.start_processes",
            "auralith.training.encode.check_writable",
        ),
        *("auralith.training.scratch.train_transformer", "auralith.checkpoints.convert"),
        *("auralith.cli.curate.steps.run_one", "auralith.curation.run.curate"),
        *("auralith.server.run.serve", "auralith.exporting.export"),
        "auralith.evaluation.run.compare_systems",
        "auralith.memorization.training.prepare_training",
        *("auralith.curation.tagging.stage.pinned", "auralith.fingerprint.build_index"),
    ):
        monkeypatch.setattr(place, begin)


@pytest.fixture(scope="module")
def loaded() -> auralith.Auralith:
    return auralith.load(MODEL, device="cpu", dtype="float32")


def refusal(command: str, *arguments: str) -> str:
    """What a command says of arguments that it does not take; nothing if it takes them."""
    base = BASE[command].replace("MODEL", MODEL).split()
    try:
        ROOT([*command.split(), *base, *arguments], standalone_mode=False)
    except typer.TyperException as error:
        return error.format_message()
    except AuralithError as error:
        return str(error)
    except (Begun, typer.Exit):
        return ""
    return ""


@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_value_is_refused_by_the_name_of_its_option(command: str) -> None:
    wrong = []
    for option in values(command):
        name = max(option.opts, key=len)
        for value in BAD:
            said = refusal(command, f"{name}={value}")
            if said and name not in said:
                wrong.append(f"{name}={value}: {said}")
            assert "\n" not in said
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("command", "arguments", "names"),
    [
        ("inpaint", "--range 0.3-0.2", "--range: 0.3 to 0.2 s"),
        ("inpaint", "--range 0.15-0.3", "--range: 0.1 to 0.2 s and 0.15 to 0.3 s overlap"),
        ("inpaint", "--range 0.4-9", "--range: 0.4 to 9 s ends after the sound"),
        ("extend", "--seconds 0.3", "--seconds is 0.3 s; it must be above the sound's own"),
        ("extend", "--prompt 1:rain --prompt 1:hail", "--prompt: two begin at the same second"),
        ("loop", "--bpm 120", "a loop needs its --seconds, or its --bpm and --bars"),
        ("loop", "--seconds 0.000001", "choose other --seconds, --bars or --bpm"),
        (
            "generate",
            "--sigma-min 5 --sigma-max 4",
            "--sigma-min is 5; it must be below --sigma-max, 4",
        ),
        ("generate", "--seconds 2 --start 3", "--start is 3 s; it must be before --seconds, 2 s"),
        ("generate", "--seconds 500", "shorten --seconds, or set --output-seconds"),
        ("generate", "--sigmas 4,2,1 --steps 9", "--steps is 9 beside --sigmas"),
        ("generate", "--rho 3 --schedule exponential", "--rho is 3, but the schedule"),
        ("generate", "--condition bpm=3", "unknown --condition 'bpm'"),
        (
            "generate",
            "--format mp3 --subtype pcm24",
            "--subtype: MP3 files can't be pcm24",
        ),
        ("encode", "--part 3 --parts 2", "--part is 3; it must be from 0 to below --parts, 2"),
        ("finetune", "--batch-size 9", "lower --batch-size"),
        ("finetune", "--set loop.steps=0", "--set loop.steps is 0; it must be at least 1"),
        ("finetune", "--settings settings.toml", "loop.steps in settings.toml is -3"),
        ("finetune", "--optimizer sgd", "--optimizer must be 'adamw' or"),
        ("batch", "--cfg -2", "--cfg is -2; it must be at least 0"),
        ("curate identify", "--provider shazam", "--provider"),
        ("curate identify", "--set alpha=2", "--set alpha is 2; it must be below 1"),
    ],
)
def test_options_that_do_not_agree_are_named(command: str, arguments: str, names: str) -> None:
    Path("settings.toml").write_text("[loop]\nsteps = -3\n")
    assert names in refusal(command, *arguments.split())


def test_a_column_is_named_as_the_table_has_it(tmp_path: Path) -> None:
    Path("prompts.csv").write_text("Text,CFG,Seconds\nrain,-1,\nrain,,x\nrain,3,\n")
    table = read_rows("prompts.csv")
    planned = plan_set(auralith.load(MODEL, device="cpu", dtype="float32"), table)
    assert [str(problem) for problem in planned.problems] == [
        "row 1 (prompts.csv, line 2) can't be made: CFG is -1; it must be at least 0",
        "row 2 (prompts.csv, line 3) can't be used: Seconds is 'x'; give a number",
    ]


@pytest.mark.parametrize("column", ["1", "true", "2026-03-31", "a=b", 'it\'s "ä" \\n', "[x]"])
def test_a_column_may_have_any_name(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with open("named.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["path", column], ["sound.wav", "rain"]])
    prompts: list[Any] = []

    def run(model: Any, recordings: Any, output: Any, settings: Any, *more: Any) -> None:
        prompts.extend([settings.prompt_column, *recordings[0].prompts])
        raise Begun

    monkeypatch.setattr("auralith.training.finetune.finetune", run)
    base = ["named.csv", "--model", MODEL]
    for options in (["--prompt-column", column], ["--set", f"prompt_column={column}"]):
        with pytest.raises(Begun):
            ROOT(["finetune", *base, *options], standalone_mode=False)
        assert prompts == [column, "rain"]
        prompts.clear()


def test_a_settings_file_says_what_no_option_says(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("settings.toml").write_text('mode = "full"\nprompt_column = "text"\nloop.steps = 7\n')
    Path("named.csv").write_text("path,text\nsound.wav,rain\n")
    found: list[Any] = []

    def run(model: Any, recordings: Any, output: Any, settings: Any, *more: Any) -> None:
        found.append(settings)
        raise Begun

    monkeypatch.setattr("auralith.training.finetune.finetune", run)
    for options in ([], ["--lora", "--steps", "8"]):
        with pytest.raises(Begun):
            ROOT(
                ["finetune", "named.csv", "--settings", "settings.toml", *options],
                standalone_mode=False,
            )
    full, lora = found
    assert (full.mode, full.prompt_column, full.loop.steps) == ("full", "text", 7)
    assert full.optimizer.learning_rate == LEARNING_RATES["full"]
    assert (lora.mode, lora.loop.steps) == ("lora", 8)
    assert lora.optimizer.learning_rate == LEARNING_RATES["lora"]
