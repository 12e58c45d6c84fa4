"""Numbers beyond the seconds that a model is conditioned on: by id, everywhere, against the reference's `bpm` model."""

import csv
import json
import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from auralith.checkpoints import Spec, config_from_json, config_to_json, inspect_checkpoint
from auralith.checkpoints.transform import published_weights
from auralith.cli.main import run
from auralith.compat import diffusers
from auralith.compat.stable_audio_tools import generate_diffusion_cond, get_pretrained_model
from auralith.config import ModelConfig, NumberCondition
from auralith.data.latent_header import CacheHeader
from auralith.data.latents import LatentCache
from auralith.errors import CheckpointError, InvalidRequest
from auralith.models.embedders import IntegerEmbedder, NumberEmbedder
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest
from auralith.sets import read_rows
from tests.conftest import GOLDEN, relative_error

MODEL = str(GOLDEN / "v_bpm")
CONFIG = json.loads((GOLDEN / "v_bpm" / "model_config.json").read_bytes())
QUICK = ("--model", MODEL, "--steps", "2", "--seed", "1")
ITEMS: tuple[dict[str, Any], ...] = (
    {"prompt": "a low bell 128 bpm", "seconds_start": 0, "seconds_total": 30, "bpm": 128},
    {
        "prompt": "rain on tin roof far thunder soft",
        "seconds_start": 3.5,
        "seconds_total": 11,
        "bpm": 90,
    },
)


@pytest.fixture(scope="module")
def model() -> Auralith:
    return load(MODEL, device="cpu", dtype="float32")


def request(item: dict[str, Any], **changes: Any) -> GenerationRequest:
    return GenerationRequest(
        item["prompt"],
        seconds_total=item["seconds_total"],
        seconds_output=0.05,
        conditions={"bpm": item["bpm"]},
        **changes,
    )


def test_the_references_run_is_reproduced(model: Auralith) -> None:
    expected = load_file(GOLDEN / "v_bpm" / "golden.safetensors")["gen.3m"]
    settings = {"seed": 1, "steps": 6, "cfg_scale": 5.0, "noise": "reference"}
    found = model.denoise([request(item, **settings) for item in ITEMS])
    assert relative_error(found, expected) <= 1e-4
    theirs, _ = get_pretrained_model(MODEL)
    found = generate_diffusion_cond(
        theirs, 6, 5, ITEMS, batch_size=2, sample_size=2_560, seed=1, device="cpu",
        sampler_type="dpmpp-3m-sde", sigma_min=0.3, sigma_max=500, return_latents=True,
    )  # fmt: skip
    assert relative_error(found, expected) <= 1e-4


def test_a_number_is_embedded_over_its_own_range(model: Auralith) -> None:
    """[u, sin 2πuw, cos 2πuw] in float64, with u the place in 20 to 300, after the text in the context."""
    embedder = model.checkpoint.numbers["bpm"]
    assert isinstance(embedder, NumberEmbedder)
    unit = torch.tensor([(item["bpm"] - 20) / 280 for item in ITEMS], dtype=torch.float64)[:, None]
    angles = 2 * math.pi * unit * embedder.frequencies.detach().double()
    features = torch.cat((unit, angles.sin(), angles.cos()), dim=-1)
    weight, bias = embedder.linear.weight.detach(), embedder.linear.bias.detach()
    expected = features @ weight.double().T + bias.double()
    numbers = {name: [float(item[name]) for item in ITEMS] for name in ("bpm", "seconds_total")}
    made = model.conditioner([item["prompt"] for item in ITEMS], numbers)
    # 257 products, each rounded by 2^-24 of a row's size
    bound = 257 * 2**-24 * float(expected.abs().max())
    assert (made.context[:, 16].detach().double() - expected).abs().max() <= bound
    assert torch.equal(made.context[:, 16], made.global_embed[:, :32])


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({}, "'bpm' is missing; give a number from 20 to 300"),
        ({"bpm": 301}, "'bpm' is 301; give a number from 20 to 300"),
        ({"bpm": math.nan}, "'bpm' is nan; give a finite number"),
        ({"bpm": "fast"}, "'bpm' is 'fast'; give a finite number"),
        ({"bpm": True}, "'bpm' is True"),
        ({"bpm": None}, "'bpm' is None"),
        ({"bpm": 100, "key": 3}, "unknown condition 'key'; this model takes bpm"),
        ({"bpm": 100, "seconds_total": 3}, "give it as seconds_total itself"),
        ({1: 2}, "ids are text"),
        ([128], "give numbers by id"),
    ],
)
def test_what_cannot_be_conditioned_on(model: Auralith, conditions: Any, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as refused:
        model.resolve(GenerationRequest("a bell", conditions=conditions))
    assert "\n" not in str(refused.value)


def test_numbers_of_numpy_and_requests_as_keys() -> None:
    given: dict[str, Any] = {"b": np.float32(2), "a": np.int64(1)}
    made = GenerationRequest("a bell", conditions=given)
    assert made.conditions == {"a": 1.0, "b": 2.0} and type(made.conditions["b"]) is float
    assert len({made, GenerationRequest("a bell", conditions={"a": 1, "b": 2})}) == 1


def test_a_model_without_others_takes_none() -> None:
    with pytest.raises(InvalidRequest, match="takes none but the prompt"):
        ModelConfig().checked_conditions({"bpm": 128})


def test_a_file_tells_its_conditions_and_is_made_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again, other = (tmp_path / f"{name}.wav" for name in ("first", "again", "other"))
    sound = ("generate", "a bell", "--seconds", "0.05", *QUICK)
    assert run([*sound, "--condition", "bpm=128", "-o", str(first)]) == 0
    assert read_provenance(first).settings.conditions == {"bpm": 128.0}
    repeat = ("generate", "--model", MODEL, "--from", str(first))
    assert run([*repeat, "-o", str(again)]) == 0
    assert again.read_bytes() == first.read_bytes()
    assert run([*repeat, "--condition", "bpm=60", "-o", str(other)]) == 0
    assert read_provenance(other).settings.conditions == {"bpm": 60.0}
    capsys.readouterr()
    for given in ((), ("--condition", "bpm"), ("--condition", "bpm=x"), ("--condition", "bpm=9")):
        assert run([*sound, *given]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    twice = ("--condition", "bpm=60", "--condition", "bpm=61")
    assert run([*sound, *twice]) == 2 and "given twice" in capsys.readouterr().err


def test_every_edit_takes_conditions(tmp_path: Path) -> None:
    source = tmp_path / "source.wav"
    soundfile.write(source, np.random.default_rng(0).normal(0, 0.1, (2_205, 2)), 44_100)
    edits = {
        "vary": [str(source), "a bell"],
        "inpaint": [str(source), "a bell", "--range", "0.01-0.02"],
        "extend": [str(source), "a bell", "--seconds", "0.08"],
        "loop": ["a bell", "--seconds", "0.05"],
    }
    for verb, arguments in edits.items():
        made = tmp_path / f"{verb}.wav"
        command = [verb, *arguments, *QUICK, "-o", str(made)]
        assert run(command) == 2
        assert run([*command, "--condition", "bpm=100"]) == 0
        assert read_provenance(made).settings.conditions == {"bpm": 100.0}


def test_a_column_of_a_table_is_a_condition(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table, out = tmp_path / "table.csv", tmp_path / "set"
    table.write_text("prompt,BPM,seconds\na bell,100,0.05\na drum,,0.05\nrain,fast,0.05\n")
    with pytest.raises(InvalidRequest, match="unknown column 'BPM'"):
        read_rows(table)
    rows = read_rows(table, ["bpm"])
    assert rows.rows[0].values["conditions"] == {"bpm": 100.0}
    assert "condition 'bpm' is 'fast', not a number" in rows.problems[0].reason
    command = ["batch", str(table), "-o", str(out), "--model", MODEL, "--steps", "2"]
    assert run(command) == 3
    assert "row 2 (table.csv, line 3) can't be made: condition 'bpm' is missing" in (
        capsys.readouterr().err
    )
    assert run([*command, "--condition", "bpm=90"]) == 3  # for rows without one
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    found = [line["origin"]["settings"]["conditions"] for line in lines]
    assert found == [{"bpm": 100.0}, {"bpm": 90.0}]
    for name, text in {
        "whole.csv": "prompt,conditions\na bell,bpm=100\n",
        "lines.jsonl": '{"prompt": "a bell", "conditions": {"bpm": 100}}\n',
        "both.jsonl": '{"prompt": "a bell", "bpm": 100, "conditions": {}}\n',
    }.items():
        (tmp_path / name).write_text(text)
        values = read_rows(tmp_path / name, ["bpm"]).rows[0].values
        assert values["conditions"] == {"bpm": 100.0}


def write_dataset(folder: Path, tempos: list[str]) -> tuple[Path, Path]:
    """A table with a column bpm, and a folder with JSON beside each sound."""
    (folder / "sounds").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = []
    for index, tempo in enumerate(tempos):
        name = f"sounds/{index}.wav"
        soundfile.write(folder / name, rng.normal(0, 0.1, (2_560, 2)), 44_100)
        rows.append([name, "a bell", tempo])
        fields = {"prompt": "a bell", "bpm": int(tempo) if tempo.isdigit() else tempo}
        (folder / f"sounds/{index}.json").write_text(json.dumps(fields))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "prompt", "bpm"], *rows])
    return folder / "table.csv", folder / "sounds"


@pytest.mark.parametrize("form", [0, 1], ids=["table", "json"])
def test_fine_tuning_trains_with_conditions(tmp_path: Path, form: int) -> None:
    data = write_dataset(tmp_path / "data", ["60", "90", "120", "150"])[form]
    out = tmp_path / "model"
    command = f"finetune {data} --model {MODEL} -o {out} --steps 2 --batch-size 2 --set mode=full"
    assert run([*command.split(), "--demo-every", "2", "--set", 'checks="none"']) == 0
    latents = tmp_path / "model_run" / "latents"
    metadata = LatentCache(latents, CacheHeader.read(latents)).record(3).metadata
    assert float(metadata["bpm"]) == 150
    before, after = (load_file(Path(folder) / "model.safetensors") for folder in (MODEL, out))
    name = "conditioner.conditioners.bpm.embedder.embedding.1.weight"
    assert not torch.equal(before[name], after[name])
    assert inspect_checkpoint(out).spec == inspect_checkpoint(MODEL).spec
    assert "--condition bpm=60" in (out / "MODEL_CARD.md").read_text()
    assert list((tmp_path / "model_run" / "demos").glob("*.wav"))


@pytest.mark.parametrize("tempo", ["", "fast", "nan", "1000"])
def test_a_recording_without_its_condition_stops_before_encoding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tempo: str
) -> None:
    table, _ = write_dataset(tmp_path / "data", ["60", tempo])
    out = tmp_path / "model"
    assert run(["finetune", str(table), "--model", MODEL, "-o", str(out), "--steps", "1"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "sounds/1.wav: condition 'bpm' is" in error and "column or JSON key 'bpm'" in error
    assert not (tmp_path / "model_run" / "latents").exists() and not out.exists()


def test_inspect_and_convert_keep_conditions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["inspect", MODEL]) == 0
    assert "    bpm\n      minimum              20.0\n" in capsys.readouterr().out
    assert run(["convert", MODEL, str(tmp_path / "copy")]) == 0
    assert inspect_checkpoint(tmp_path / "copy").spec == inspect_checkpoint(MODEL).spec
    assert run(["convert", MODEL, str(tmp_path / "other"), "--to", "diffusers"]) == 2
    assert "conditioning other than text, seconds_start" in capsys.readouterr().err
    with pytest.raises((CheckpointError, InvalidRequest), match=r"seconds_start|bpm"):
        diffusers.StableAudioPipeline.from_pretrained(MODEL)("a bell", num_inference_steps=1)


def changed(entry: dict[str, Any] | None, *, seconds: bool = True) -> ModelConfig:
    """The config with another condition in place of bpm, or without it."""
    data = deepcopy(CONFIG)
    configs, diffusion = data["model"]["conditioning"]["configs"], data["model"]["diffusion"]
    configs[1:2] = [] if entry is None else [entry]
    if not seconds:
        configs.pop()
    names = [one["id"] for one in configs]
    diffusion["cross_attention_cond_ids"] = names
    diffusion["global_cond_ids"] = names[1:]
    diffusion["config"]["global_cond_dim"] = 32 * len(names[1:])
    return config_from_json(data)


def test_other_conditions_of_the_kind() -> None:
    """Only seconds_total; renamed ids without any seconds; whole numbers from a table."""
    assert changed(None).given_numbers == ()
    tempo = {"id": "length_in_bars", "type": "number", "config": {"min_val": -1, "max_val": 64}}
    config = changed(tempo, seconds=False)
    assert config.checked_conditions({"length_in_bars": -1}) == {"length_in_bars": -1.0}
    key = {"id": "key", "type": "int", "config": {"max_val": 11}}
    config = changed(key)
    assert config.given_numbers == (NumberCondition("key", 0.0, 11.0, "int"),)
    assert config_from_json(config_to_json(config)) == config
    assert config.checked_conditions({"key": 11}) == {"key": 11.0}
    with pytest.raises(InvalidRequest, match=r"'key' is 1.5; give a whole number from 0 to 11"):
        config.checked_conditions({"key": 1.5})
    names = published_weights(Spec.of(config))
    assert names["conditioner.conditioners.key.int_embedder.weight"].shape == (12, 32)


def test_whole_numbers_are_rows_of_a_table() -> None:
    embedder = IntegerEmbedder(NumberCondition("key", 0.0, 11.0, "int"), 4)
    found = embedder(torch.tensor([0.0, 11.0, 99.0, -3.0]))[:, 0]
    assert torch.equal(found, embedder.table.weight[[0, 11, 11, 0]])


@pytest.mark.parametrize(
    "kind", ["list", "clap_text", "clap_audio", "phoneme", "lut", "pretransform", "source_mix"]
)
def test_other_kinds_are_refused_by_name(kind: str) -> None:
    with pytest.raises(CheckpointError, match=rf"configs\[1\].type is '{kind}'; supported: t5"):
        changed({"id": "bpm", "type": kind, "config": {}})


@pytest.mark.parametrize(
    ("config", "key"),
    [
        ({"min_val": 1, "max_val": 11}, "min_val"),
        ({"max_val": 11, "padding_mode": "learned"}, "padding_mode"),
    ],
)
def test_tables_that_the_reference_cannot_read(config: dict[str, Any], key: str) -> None:
    with pytest.raises(CheckpointError, match=rf"configs\[1\].config.{key}"):
        changed({"id": "key", "type": "int", "config": config})
