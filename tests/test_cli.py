"""The command line: what it writes, prints and refuses, on the tiny reference checkpoint."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
import torch

import auralith
from auralith.cli.main import run
from auralith.cli.options import REQUEST, Sampling
from auralith.cli.output import Output, slug
from auralith.config import SamplingDefaults
from auralith.diffusion import RectifiedFlow, VObjective
from auralith.documented import documented
from auralith.errors import InvalidRequest
from auralith.families.stable_audio_3 import STABLE_AUDIO_3
from auralith.provenance import Provenance, read_provenance
from auralith.request import GenerationRequest
from auralith.samplers import sampler_names
from auralith.samplers.schedules import SIGMA_SCHEDULES, TIME_SCHEDULES
from auralith.sound.writing import write
from tests.conftest import GOLDEN

MODEL = str(GOLDEN / "sao_tiny")
QUICK = ("--model", MODEL, "--steps", "2", "--seconds", "0.3", "--window", "fit")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that a command which must fail writes to stderr."""
    assert run(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("auralith: error: ") and captured.err.count("\n") == 1
    return captured.err


def samples(path: str | Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def test_a_prompt_becomes_a_file_named_after_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "Rain, on a Tin roof!", *QUICK, "--seed", "7"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "rain-on-a-tin-roof-7.wav\n" and "seed 7\n" in captured.err
    assert samples("rain-on-a-tin-roof-7.wav").shape == (13_230, 2)
    assert run(["generate", "Rain, on a Tin roof!", *QUICK, "--seed", "7"]) == 0
    assert capsys.readouterr().out == "rain-on-a-tin-roof-7-2.wav\n"


def test_every_setting_is_in_the_tags_and_makes_the_same_samples_again() -> None:
    options = ("--negative", "hiss", "--start", "0.5", "--output-seconds", "0.2", "--seed", "3")
    more = ("--cfg", "3", "--rescale", "0.4", "--sampler", "k-heun", "--sigma-max", "80")
    command = [
        "generate",
        "a bell",
        *QUICK,
        *options,
        *more,
        "--sigma-min",
        "0.1",
        "--seconds",
        "2",
    ]
    assert run([*command, "--dtype", "float32", "-o", "a.flac", "--subtype", "pcm24"]) == 0
    settings = read_provenance("a.flac").settings
    assert (settings.prompt, settings.negative_prompt, settings.seed) == ("a bell", "hiss", 3)
    assert (settings.seconds_start, settings.seconds_total, settings.seconds_output) == (
        0.5,
        2,
        0.2,
    )
    assert (settings.cfg_scale, settings.cfg_rescale, settings.sampler) == (3, 0.4, "k-heun")
    assert (settings.sigma_min, settings.sigma_max, settings.window) == (0.1, 80, "fit")
    again = ["generate", "--from", "a.flac", "--model", MODEL, "--subtype", "pcm24"]
    assert run([*again, "-o", "b.flac"]) == 0
    assert np.array_equal(samples("a.flac"), samples("b.flac"))
    assert read_provenance("b.flac") == read_provenance("a.flac")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_one_of_a_batch_is_made_again_bit_for_bit(dtype: str) -> None:
    command = ["generate", "a drum", *QUICK, "--n", "3", "--seed", "5", "--dtype", dtype]
    assert run([*command, "-o", "a.wav", "--subtype", "float"]) == 0
    for number in (1, 3):
        source = f"a-{number}.wav"
        assert read_provenance(source).settings.seed == 4 + number
        again = ["generate", "--from", source, "--model", MODEL, "--subtype", "float"]
        assert run([*again, "-o", "b.wav"]) == 0
        assert np.array_equal(samples(source), samples("b.wav"))


def test_options_beside_from_change_only_what_they_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a drum", *QUICK, "--seed", "5", "-o", "a.wav"]) == 0
    changed = ["generate", "--from", "a.wav", "--model", MODEL, "--seed", "6", "-o", "b.wav"]
    assert run(changed) == 0
    old, new = read_provenance("a.wav").settings, read_provenance("b.wav").settings
    assert (new.seed, new.prompt, new.steps) == (6, old.prompt, old.steps)
    assert not np.array_equal(samples("a.wav"), samples("b.wav"))
    other = ["--model", str(GOLDEN / "sao_small_tiny"), "--sampler", "euler", "-o", "c.wav"]
    capsys.readouterr()
    assert run(["generate", "--from", "a.wav", *other, "--sigma-min", "0", "--sigma-max", "1"]) == 0
    assert "made by another model than the original" in capsys.readouterr().err


def test_a_picture_and_every_format(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "a drum", *QUICK, "--seed", "1", "-o", "a.ogg", "--png"]) == 0
    assert capsys.readouterr().out == "a.png\na.ogg\n"
    assert Path("a.png").read_bytes().startswith(b"\x89PNG")
    Path("folder").mkdir()
    assert (
        run(["generate", "a drum", *QUICK, "--seed", "1", "-o", "folder", "--format", "mp3"]) == 0
    )
    assert Path("folder/a-drum-1.mp3").is_file()
    assert read_provenance("folder/a-drum-1.mp3").settings.prompt == "a drum"


def test_the_model_is_named_without_its_folder() -> None:
    """Files are shared; where their maker keeps models is nobody's business."""
    assert run(["generate", "a drum", *QUICK, "-o", "a.wav"]) == 0
    assert read_provenance("a.wav").model == "sao_tiny"
    assert str(GOLDEN).encode() not in Path("a.wav").read_bytes()


def test_peaks_are_at_full_scale_and_short_clips_have_every_sample() -> None:
    assert run(["generate", "x", *QUICK, "-o", "a.wav", "--subtype", "float", "--seed", "2"]) == 0
    assert np.abs(samples("a.wav")).max() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("",), "PROMPT is empty"),
        ((), "give a prompt or --from"),
        (("x", "--steps", "0"), "steps is 0"),
        (("x", "--steps", "many"), "--steps"),
        (("x", "--seconds", "-1"), "--seconds is -1 s"),
        (("x", "--seconds", "1e9"), "at most"),
        (("x", "--cfg", "nan"), "--cfg is nan"),
        (("x", "--sampler", "dpmpp-3m-sed"), "dpmpp-3m-sde"),
        (("x", "--window", "huge"), "full, fit"),
        (("x", "--device", "abacus"), "--device 'abacus'"),
        (("x", "--n", "0"), "--n"),
        (("x", "--wat"), "No such option"),
        (("x", "-o", "no/such/folder/a.wav"), "can't be written"),
        (("x", "-o", "a.xyz"), "no known suffix"),
        (("x", "-o", "a.wav", "--format", "mp3"), "is not a .mp3 file"),
        (("x", "--format", "mp3", "--subtype", "float"), "MP3 files can't be float"),
        (("x", "--model", "no-such-folder/model.safetensors"), "there is no file or folder"),
        (("--from", "nothing.wav"), "doesn't exist"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    model = () if "--model" in arguments else ("--model", MODEL)
    assert message in refused(capsys, "generate", *arguments, *model)
    assert not list(Path().iterdir())


def test_a_place_is_checked_before_the_model_is_loaded(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("loaded a model for nothing")

    monkeypatch.setattr("auralith.pipeline.load", load)
    assert "can't be written" in refused(capsys, "generate", "x", "-o", "no/such/folder/a.wav")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": None}, "settings must be a section"),
        ({"batch_size": 0}, "batch_index"),
        ({"batch_size": "many"}, "batch_size must be a whole number"),
        ({"model_hash": 3}, "model_hash must be text"),
        ({"extra": 3}, "extra is not a setting"),
        ({"model": "no-such-model"}, "give it with --model"),
        ({"model": "../of/another"}, "give it with --model"),
        ({"model": "https://a.example/model"}, "give it with --model"),
        ({"model": "somebody/else"}, "allow that with --yes"),
        ({"batch_size": 10**9}, "batch_size is 1000000000, more than 1,024"),
        ({"model": "embedded", "device": "meta"}, "device 'meta' is unknown"),
        ({"model": "embedded", "device": "x" * 10**5}, "is unknown"),
        ({"model": "embedded", "dtype": "\x1b[2J"}, "dtype '\\x1b[2J' is unknown"),
        ({"edit": {"kind": "extension", "seconds_total": 1e9}}, "an extension to 1e+09 s"),
    ],
)
def test_tags_that_were_tampered_with_are_refused(
    capsys: pytest.CaptureFixture[str], change: dict[str, object], message: str
) -> None:
    assert run(["generate", "a drum", *QUICK, "-o", "a.wav"]) == 0
    capsys.readouterr()
    tags = read_provenance("a.wav").to_tags() | change
    write("b.wav", torch.zeros(2, 9), 44_100, tags=tags)
    assert message in refused(capsys, "generate", "--from", "b.wav")


def tagged(**changes: object) -> str:
    """A sound whose tags ask for the embedded model but for these changes."""
    made = GenerationRequest("a drum", seconds_total=0.3, steps=2, seed=1)
    origin = Provenance("test", "embedded", "0" * 64, "cpu", "float32", 0, 1, made)
    write("b.wav", torch.zeros(2, 9_000), 44_100, tags=origin.to_tags() | changes)
    return "b.wav"


def edit_of(name: str, file_hash: str = "0" * 64) -> dict[str, object]:
    return {"edit": {"kind": "variation"}, "source": {"name": name, "file_hash": file_hash}}


def with_adapter(name: str, file_hash: str = "0" * 64) -> dict[str, object]:
    return {"adapters": [{"name": name, "file_hash": file_hash, "strength": 1.0}]}


@pytest.fixture
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with odd things in it, and files beside it."""
    folder = tmp_path / "inside"
    for name in ("folder", "http:/127.0.0.1:9"):
        (folder / name).mkdir(parents=True)
    monkeypatch.chdir(folder)
    os.mkfifo("fifo")
    Path("device").symlink_to("/dev/zero")
    Path("to_fifo").symlink_to("fifo")
    Path("http:/127.0.0.1:9/x.wav").write_bytes(b"x")
    (tmp_path / "outside.wav").write_bytes(b"x")
    return folder


ODD_NAMES = (
    *("fifo", "to_fifo", "device", "folder", "/dev/zero", "..", "", "x" * 300, "$(id)", "a\0b"),
    *("\ud800", "http://127.0.0.1:9/x.wav", "http:/127.0.0.1:9/x.wav", "../outside.wav"),
    *("/etc/passwd", "file:///etc/passwd", "-", "concat:b.wav|b.wav", "nothing.wav"),
)


@pytest.mark.parametrize("kind", [edit_of, with_adapter])
@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("allowed", [(), ("--yes",)])
def test_tags_open_no_more_than_regular_files(
    capsys: pytest.CaptureFixture[str],
    inside: Path,
    kind: Callable[[str], dict[str, object]],
    name: str,
    allowed: tuple[str, ...],
) -> None:
    line = refused(capsys, "generate", "--from", tagged(**kind(name)), *allowed)
    assert "neither here nor beside it" in line and "--adapter $(" not in line


@pytest.mark.parametrize(
    "name", ["fifo", "to_fifo", "device", "folder", "http://127.0.0.1:9/none.wav", "nothing"]
)
@pytest.mark.parametrize(
    "command",
    [
        ("generate", "--from"),
        ("vary",),
        ("inpaint", "--range", "0-0.1"),
        ("extend", "--seconds", "1"),
        ("loop", "--seconds", "1", "--like"),
    ],
)
def test_only_regular_files_are_made_again_or_edited(
    capsys: pytest.CaptureFixture[str], inside: Path, command: tuple[str, ...], name: str
) -> None:
    assert "doesn't exist as a file" in refused(capsys, *command, name)


@pytest.mark.parametrize("kind", [edit_of, with_adapter])
def test_nothing_that_tags_name_is_opened_without_consent(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    kind: Callable[[str], dict[str, object]],
) -> None:
    Path("found").write_bytes(b"x")
    opened: list[object] = []

    def read(path: Path) -> None:
        opened.append(path)
        raise InvalidRequest("enough")

    for name in ("auralith.files.file_hash", "auralith.checkpoints.read_adapter"):
        monkeypatch.setattr(name, read)
    line = refused(capsys, "generate", "--from", tagged(**kind("far/away/found")))
    assert "ask to open the " in line and " found; allow that with --yes" in line
    assert not opened
    assert "enough" in refused(capsys, "generate", "--from", "b.wav", "--yes")
    assert opened == [Path("found")]


def test_all_that_tags_name_is_asked_for_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.safetensors", "two.safetensors", "a.wav"):
        Path(name).write_bytes(b"x")
    used = [
        {"name": name, "file_hash": "0" * 64, "strength": 1.0}
        for name in ("one.safetensors", "two.safetensors")
    ]
    tagged(model="somebody/else", adapters=used, **edit_of("a.wav"))
    every = [
        "fetch the model somebody/else and its text encoder from the Hub",
        *("open the adapter one.safetensors", "open the adapter two.safetensors"),
        "open the sound a.wav",
    ]
    assert f"ask to {', '.join(every)}; allow" in refused(capsys, "generate", "--from", "b.wav")
    given = ("--model", MODEL, "--adapter", "none.safetensors")
    line = refused(capsys, "generate", "--from", "b.wav", *given)
    assert f"ask to {every[-1]}; allow" in line


def test_edits_take_no_more_than_the_prompt_from_tags(
    capsys: pytest.CaptureFixture[str], inside: Path
) -> None:
    """And so have nothing to ask for."""
    tagged(model="somebody/else", device="cuda", **edit_of("fifo"), **with_adapter("fifo"))
    options = ("--model", MODEL, "--steps", "1", "-o", "c.wav")
    for command in (
        ("vary", "b.wav"),
        ("inpaint", "b.wav", "--range", "0.1-0.15"),
        ("extend", "b.wav", "--seconds", "0.3"),
        ("loop", "--like", "b.wav", "--seconds", "0.5"),
    ):
        assert run([*command, *options]) == 0
        made = read_provenance("c.wav")
        assert (made.settings.prompt, made.device, made.adapters) == ("a drum", "cpu", ())


def test_a_model_of_the_hub_is_fetched_with_consent(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[object] = []

    def load(model: str, **_: object) -> None:
        loaded.append(model)
        raise InvalidRequest("enough")

    monkeypatch.setattr("auralith.pipeline.load", load)
    path = tagged(model="somebody/else")
    assert "allow that with --yes" in refused(capsys, "generate", "--from", path)
    assert not loaded
    assert run(["generate", "--from", path, "--yes"]) == 2
    assert "loading somebody/else from the Hub" in capsys.readouterr().err
    assert run(["generate", "--from", path, "--model", MODEL]) == 2
    assert loaded == ["somebody/else", MODEL]


def test_a_file_without_tags_cannot_be_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    write("a.wav", torch.zeros(2, 9), 44_100)
    assert "has no tags of Auralith" in refused(capsys, "generate", "--from", "a.wav")


def test_info_shows_the_file_and_its_tags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "ein Glöckchen 🔔", *QUICK, "--seed", "9", "-o", "a.mp3"]) == 0
    capsys.readouterr()
    assert run(["info", "a.mp3"]) == 0
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert lines["prompt"] == "ein Glöckchen 🔔" and lines["seed"] == "9"
    assert lines["samples"] == "13230" and lines["model"] == "sao_tiny"
    assert run(["info", "a.mp3", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["tags"]["settings"]["prompt"] == "ein Glöckchen 🔔"
    write("silence.wav", torch.zeros(2, 9), 44_100)
    assert run(["info", "silence.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["peak_db"] is None
    assert "doesn't exist" in refused(capsys, "info", "nothing.wav")


def test_inspect_and_info_name_the_attribution_beside_the_weights(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shutil.copytree(MODEL, tmp_path / "model")
    assert run(["inspect", str(model)]) == 0
    assert "attribution" not in capsys.readouterr().out
    (model / "ATTRIBUTION").write_text("Ann\n")
    assert run(["inspect", str(model)]) == 0
    assert f"attribution {model / 'ATTRIBUTION'}\n" in capsys.readouterr().out
    monkeypatch.setattr("auralith.pipeline.EMBEDDED", model)
    tags = {"model": "embedded", "generator": "auralith"}
    monkeypatch.setattr("auralith.sound.tags.read_tags", lambda path: tags)
    write("a.wav", torch.zeros(2, 9), 44_100)
    assert run(["info", "a.wav"]) == 0
    assert re.search(rf"^attribution +{model / 'ATTRIBUTION'}$", capsys.readouterr().out, re.M)
    tags["model"] = "another"
    assert run(["info", "a.wav", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attribution"] is None


def test_inspect_and_convert(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", MODEL]) == 0
    assert "905,966" in capsys.readouterr().out
    assert run(["convert", MODEL, "out", "--to", "diffusers"]) == 0
    assert capsys.readouterr().out == "out\n" and Path("out/model_index.json").is_file()
    assert run(["inspect", "out", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total_parameters"] == 905_966
    assert "exists already" in refused(capsys, "convert", MODEL, "out")
    assert "--to" in refused(capsys, "convert", MODEL, "other", "--to", "onnx")
    assert "there is no" in refused(capsys, "inspect", "no-such-folder/model.ckpt")


def test_errors_of_the_system_and_interrupts_have_their_codes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, code in (
        (PermissionError(13, "Permission denied", "somewhere"), 2),
        (MemoryError(), 2),
        (KeyboardInterrupt(), 130),
    ):

        def fail(*arguments: object, error: BaseException = error, **options: object) -> None:
            raise error

        monkeypatch.setattr("auralith.checkpoints.convert", fail)
        assert run(["convert", MODEL, "out"]) == code
        assert "Traceback" not in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0 and capsys.readouterr().out == f"{auralith.__version__}\n"
    assert run([]) == 0 and "generate" in capsys.readouterr().out


def test_help_names_every_sampler_and_schedule_and_the_defaults() -> None:
    """The text is static, since help must not load torch; the registry and the configs are what it has to say."""
    texts = {
        name: documented(REQUEST, sets.field).doc
        for name, sets in get_args(Sampling)[1].sets.items()
    }
    names = texts["sampler"].split(". ")[0]
    by_sigma, along_t = names.split("; for flow models ")
    assert by_sigma.split(", ") == sampler_names(VObjective())
    assert along_t.split(", ") == sampler_names(RectifiedFlow())
    schedules = texts["schedule"].split(": ")[1].split(". ")[0]
    assert schedules.split("; for flow models ") == [
        ", ".join(SIGMA_SCHEDULES),
        ", ".join(TIME_SCHEDULES),
    ]
    published, embedded = SamplingDefaults(), auralith.load().config.sampling
    for name, option in (
        ("steps", "steps"),
        ("cfg_scale", "cfg"),
        ("sampler", "sampler"),
        ("sigma_min", "sigma_min"),
        ("sigma_max", "sigma_max"),
    ):
        first, second = (f"{getattr(of, name)}".removesuffix(".0") for of in (published, embedded))
        newest = STABLE_AUDIO_3.sampling["rf_denoiser"]
        other = f"; Stable Audio 3: {newest.sampler}" if name == "sampler" else ""
        assert texts[option].endswith(f" {first} (embedded model: {second}{other}).")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A drum loop, 120 BPM!", "a-drum-loop-120-bpm"),
        ("../../etc/passwd; $(rm -rf x)", "etc-passwd-rm-rf-x"),
        ("🎧🎧", "sound"),
        ("雨 の音", "雨-の音"),
        ("x" * 300, "x" * 40),
    ],
)
def test_file_names_from_prompts_are_harmless(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected
    assert Output(None, None, None, prompt).paths([3]) == [Path(f"{expected}-3.wav")]
