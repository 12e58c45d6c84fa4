"""Files from strangers: no code in them runs, and nothing connects, whatever command or library call reads them."""

import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file

from auralith.checkpoints import convert
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.sound.writing import write

TINY = Path(__file__).parents[1] / "golden" / "sao_tiny"
READ = (
    *("info tags.wav", "inspect diffusers", "convert diffusers", "generate rain --model diffusers"),
    *("generate rain --model single", "batch", "encode table.csv", "finetune table.csv", "plan"),
    *("curate ingest", "curate probe", "curate run", "pipeline", "vae", "pretrained"),
)
"""What works on these files, as far as a stranger's files are otherwise sound."""
SCRIPT = Path(__file__).with_name("every_entry_point.py")


class Evil:
    """What a pickle runs where it is loaded without care."""

    def __init__(self, marker: Path, name: str) -> None:
        self.code = f"open({str(marker)!r}, 'a').write({name!r} + chr(10))"

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (self.code,))


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("marked") / "marker"


@pytest.fixture(scope="module")
def port() -> Any:
    """A port that FFmpeg could connect to, which no hook of Python would see."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, marker: Path, port: socket.socket) -> Path:
    place = tmp_path_factory.mktemp("stranger")
    os.mkdir(place / "out")
    _plant_models(place, marker)
    _plant_adapters(place, marker)
    _plant_data(place, marker, f"127.0.0.1:{port.getsockname()[1]}")
    return place


def _plant_models(place: Path, marker: Path) -> None:
    convert(TINY, place / "diffusers", "diffusers")
    ignored = shutil.ignore_patterns("golden.safetensors")
    for name in ("single", "sharded", "no_t5"):
        shutil.copytree(TINY, place / name, ignore=ignored)
    for folder in [place, *(p for p in place.rglob("*") if p.is_dir())]:
        code = f"open({str(marker)!r}, 'a').write(__file__ + chr(10))\nclass Evil: pass\n"
        for name in ("evil", "tokenization_evil", "modeling_t5", "conftest", "sitecustomize"):
            (folder / f"{name}.py").write_text(code)
    mapped = dict.fromkeys(("AutoConfig", "AutoModel", "AutoModelForTextEncoding"), "evil.Evil")
    shutil.copytree(place / "single", place / "mapped")
    strict = ("tokenizer.json", "cases.json", "model_config.json")  # whose other keys are refused
    for path in place.rglob("*.json"):
        data = json.loads(path.read_text())
        strange = path.name in strict or path.parent.name in (
            "vae",
            "transformer",
            "projection_model",
            "scheduler",
        )
        if path.parent.name == "mapped" or not strange:
            data |= {"auto_map": mapped | {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
        if path.name == "tokenizer_config.json":
            data |= {"tokenizer_class": "Evil", "trust_remote_code": True}
        if path.parent.name in ("t5", "text_encoder") and path.name == "config.json":
            data |= {"attn_implementation": "evil/kernel", "_name_or_path": "evil/t5"}
        path.write_text(json.dumps(data))
    _shard(place / "sharded", place)
    _without_t5(place / "no_t5")


def _shard(folder: Path, place: Path) -> None:
    """An index of shards that points out of its folder, to a pickle."""
    names = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    index = {"weight_map": dict.fromkeys(names, "../evil.bin")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _without_t5(folder: Path) -> None:
    shutil.rmtree(folder / "t5")
    path = folder / "model_config.json"
    config = json.loads(path.read_text())
    for entry in config["model"]["conditioning"]["configs"]:
        if entry["type"] == "t5":
            entry["config"]["t5_model_name"] = "http://127.0.0.1:9/t5"
    path.write_text(json.dumps(config))


def _plant_adapters(place: Path, marker: Path) -> None:
    for name in ("evil.ckpt", "evil.pt"):
        torch.save({"state_dict": {"model.x": Evil(marker, name)}}, place / name)
    (place / "evil.bin").write_bytes(pickle.dumps({"x": Evil(marker, "evil.bin")}))
    shutil.copy(TINY / "model_config.json", place / "model_config.json")
    save_file({"lora_A": torch.zeros(2, 2)}, place / "evil.safetensors", {"auto_map": "evil.Evil"})
    (place / "peft").mkdir()
    config = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "evil/base"}
    config |= {"auto_mapping": {"base_model_class": "Evil", "parent_library": "evil"}}
    (place / "peft" / "adapter_config.json").write_text(json.dumps(config))
    torch.save({"x": Evil(marker, "adapter_model.bin")}, place / "peft" / "adapter_model.bin")


def _plant_data(place: Path, marker: Path, host: str) -> None:
    touch = f"$(touch {marker}) `touch {marker}` __import__('os').system('touch {marker}')"
    for i in range(60):
        soundfile.write(place / f"{i}.wav", torch.rand(4_000, 2).numpy() / 8, 44_100)
    (place / "http:" / host).mkdir(parents=True)
    (place / "http:" / host / "x.m4a").write_text("not audio")
    good = [f"{i}.wav,{touch}" for i in range(60)]
    odd = [f"http://{host}/x.m4a,x", f"http:/{host}/x.m4a,x", "concat:0.wav,x"]
    (place / "good.csv").write_text("\n".join(["path,prompt", *good]) + "\n")
    (place / "table.csv").write_text("\n".join(["path,prompt", *good, *odd]) + "\n")
    (place / "prompts.csv").write_text(f"prompt\n{touch}\n")
    (place / "evil.toml").write_text(f'mode = """{touch}"""\n')
    (place / "recipe.toml").write_text('folder = "out/c"\nstages = ["license", "probe"]\n')
    made = GenerationRequest(touch, seconds_total=0.1, steps=1, seed=1)
    origin = Provenance("x", "evil/model", "0" * 64, "cpu", "float32", 0, 1, made)
    write(place / "tags.wav", torch.zeros(2, 9), 44_100, tags=origin.to_tags())
    source = {"name": f"../http://{host}/x.m4a", "file_hash": "0" * 64}
    edited = {"model": "embedded", "edit": {"kind": "variation"}, "source": source}
    write(place / "edited.wav", torch.zeros(2, 9), 44_100, tags=origin.to_tags() | edited)


def test_no_code_of_a_stranger_runs_and_nothing_connects(
    folder: Path, marker: Path, port: socket.socket
) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(folder)],
        input="y\n" * 1_000,
        capture_output=True,
        text=True,
        env=os.environ | {"HF_HOME": str(folder / "out" / "hub"), "HF_HUB_OFFLINE": "0"},
    )
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["noticed"] == 3
    assert found["seen"] == []
    assert not marker.exists(), marker.read_text()
    with pytest.raises(BlockingIOError):
        port.accept()
    results = found["results"]
    assert "Traceback" not in done.stderr
    assert set(map(type, results.values())) <= {int, str}
    passed = [name for name, result in results.items() if result == 0]
    for start in READ:  # past what is planted, which is not read
        assert any(name.startswith(start) for name in passed), (start, done.stderr[-3_000:])


def test_the_markers_would_mark(folder: Path, tmp_path: Path) -> None:
    """The files are dangerous where they are opened without care."""
    for name in ("evil.ckpt", "evil.pt", "peft/adapter_model.bin"):
        torch.load(folder / name, weights_only=False)
    pickle.loads((folder / "evil.bin").read_bytes())
    subprocess.run([sys.executable, folder / "diffusers" / "tokenizer" / "evil.py"], check=True)
    assert tmp_path.exists()
