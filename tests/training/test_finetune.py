"""The card's fine-tuning, as a user runs it: a table in, a model out that has learned the new sound."""

import csv
import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors import safe_open
from torch import Tensor

from auralith.cli.main import run
from auralith.errors import InvalidRequest
from auralith.pipeline import EMBEDDED, load
from auralith.request import GenerationRequest
from tests.conftest import GOLDEN

RATE = 44_100
PROMPT = "a laser zap"


def zap(rng: np.random.Generator) -> np.ndarray:
    """A falling square wave of half a second: nothing in the embedded model's corpus."""
    time_ = np.arange(RATE // 2) / RATE
    hz = rng.uniform(2_500, 4_000) * np.exp(-time_ * rng.uniform(5, 7)) + 150
    wave = 0.5 * np.sign(np.sin(2 * np.pi * np.cumsum(hz) / RATE)) * np.exp(-3 * time_)
    return np.stack([wave, wave * rng.uniform(0.7, 1.0)])


def write_dataset(folder: Path, count: int = 16, rate: int = RATE) -> Path:
    rng = np.random.default_rng(0)
    folder.mkdir()
    table = folder / "train_dataset.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "prompt", "license"])
        for index in range(count):
            name = f"zap-{index}.wav"
            soundfile.write(folder / name, zap(rng).T, rate)
            writer.writerow([name, PROMPT, "CC0-1.0"])
    return table


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "zaps")


def picture(waveform: Tensor) -> Tensor:
    mono = waveform.float().mean(0)
    mono = mono / mono.abs().max().clamp(min=1e-6)
    window = torch.hann_window(1_024)
    level = torch.stft(mono, 1_024, 256, window=window, return_complex=True).abs()
    return (level[:512].unflatten(0, (32, 16)).mean(1) + 1e-3).log()[:, :80]


def distance(model: str | Path | None, dataset: Path) -> float:
    """Of generated sounds from the average picture of the dataset's."""
    sounds = [soundfile.read(path)[0] for path in sorted(dataset.parent.glob("*.wav"))]
    target = torch.stack([picture(torch.from_numpy(sound.T)) for sound in sounds]).mean(0)
    generator = load(model, device="cpu")
    requests = [GenerationRequest(PROMPT, seconds_total=0.5, seed=seed) for seed in range(4)]
    made = [picture(audio.waveform) for audio in generator.generate_batch(requests)]
    return float(np.mean([(picture_ - target).abs().mean() for picture_ in made]))


def test_a_new_prompt_gives_the_new_sound(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "finetuned_model"
    command = f"finetune {dataset} -o {out} --steps 50 --batch-size 8 --learning-rate 2e-3"
    assert run([*command.split(), "--demo-every", "50", "--set", "demo.prompts=['a zap']"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out)
    before, after = distance(None, dataset), distance(out, dataset)
    assert after < 0.7 * before
    card = (out / "MODEL_CARD.md").read_text()
    assert "16 recordings" in card and "CC0-1.0: 16" in card and "rank: 16" in card
    run_folder = tmp_path / "finetuned_model_run"
    log = [json.loads(line) for line in (run_folder / "log.jsonl").read_text().splitlines()]
    assert log[-1]["step"] == 50 and log[-1]["validation/v"] < 0.8 * log[0]["loss/v"]
    assert (run_folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert {p.suffix for p in (run_folder / "demos").iterdir()} == {".wav", ".png"}
    # the adapter alone, on the base model, does what the merged model does
    sound = {}
    for name, extra in {
        "merged": f"--model {out}",
        "adapter": f"--adapter {out}/adapter.safetensors:1",
    }.items():
        path = tmp_path / f"{name}.wav"
        assert (
            run(
                [
                    "generate",
                    PROMPT,
                    *f"--seconds 0.5 --seed 3 --dtype float32 {extra} -o {path}".split(),
                ]
            )
            == 0
        )
        sound[name] = soundfile.read(path)[0]
    assert np.abs(sound["merged"] - sound["adapter"]).max() < 2e-3


@pytest.mark.usefixtures("undrawn")
def test_all_weights_of_a_published_layout(dataset: Path, tmp_path: Path) -> None:
    """`model_config.json` names the model, as on the card; both layouts come out and load."""
    out = tmp_path / "full"
    command = (
        f"finetune {dataset} --model {GOLDEN / 'sao_tiny' / 'model_config.json'} -o {out} --full "
        "--steps 3 --batch-size 2 --layout both --no-checks --precision float32 --ema off "
        "--checkpoint-activations --set dit.window_frames=16"
    )
    assert run(command.split()) == 0
    # what the config says of training was followed or named, and is still there
    notes = (tmp_path / "full_run" / "model_training.txt").read_text().splitlines()
    assert "model_config.json: training.scheduler warmup = 0.99" in notes
    assert any(line.startswith("model_config.json: training.demo: ") for line in notes)
    sections = [
        json.loads((path / "model_config.json").read_text())["training"]
        for path in (out, GOLDEN / "sao_tiny")
    ]
    assert sections[0] == sections[1]
    request = GenerationRequest("zap", seconds_total=0.4, steps=2, seed=1)
    single, folder, original = (
        load(path, device="cpu", dtype="float32").generate(request).waveform
        for path in (out, out / "diffusers", GOLDEN / "sao_tiny")
    )
    assert torch.equal(single, folder)
    assert not torch.equal(single, original)


def test_killed_and_resumed_is_as_if_nothing_happened(tmp_path: Path) -> None:
    dataset = write_dataset(tmp_path / "few", 6)
    command = (
        f"finetune {dataset} --steps 10 --batch-size 2 --precision float32 "
        "--set loop.save_every=4 --set loop.validate_every=4"
    ).split()
    launch = [sys.executable, "-m", "auralith", *command]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run([*command, "-o", str(whole)]) == 0
    process = subprocess.Popen([*launch, "-o", str(killed)], stderr=subprocess.DEVNULL)
    states = tmp_path / "killed_run"
    while not (states / "state-00000004.pt").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    # bit for bit with the same number of threads: sums are split over them
    subprocess.run([*launch, "-o", str(killed), "--resume"], check=True, capture_output=True)
    for name in ("adapter.safetensors", "model.safetensors"):
        assert content(whole / name) == content(killed / name)


def content(path: Path) -> tuple[dict[str, str], dict[str, tuple[torch.Size, bytes]]]:
    """The metadata and the tensors of a file, whose header has the keys of the metadata in any order."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata() or {})
    return metadata, {name: (t.shape, t.numpy().tobytes()) for name, t in tensors.items()}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("count", [1, 3])
def test_a_few_recordings_make_a_small_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    few, out = write_dataset(tmp_path / "few", count), tmp_path / "out"
    assert run(f"finetune {few} -o {out} --steps 1 --no-checks".split()) == 0
    assert f"a batch has {count}, not 4" in capsys.readouterr().err
    assert (out / "adapter.safetensors").exists()


def test_bad_input_is_one_line(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = write_dataset(tmp_path / "few", 2)
    other_rate = write_dataset(tmp_path / "rate", 4, rate=22_050)
    out = tmp_path / "out"
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "file").write_text("mine")
    cases = {
        f"finetune {dataset} -o {out} --prompt-column caption": "caption",
        f"finetune {tmp_path / 'no.csv'} -o {out}": "doesn't exist",
        f"finetune {few} -o {out} --batch-size 8": "fewer than",
        f"finetune {other_rate} -o {out}": "22050 Hz",
        f"finetune {dataset} -o {taken}": "exists already",
        f"finetune {dataset} -o {out} --set optimizer.learning=1": "learning_rate",
        f"finetune {dataset} -o {out} --model {GOLDEN / 'sao_tiny'}": "looks untrained",
        f"finetune {dataset} -o {out} --optimizer sgd": "adamw8bit",
    }
    for command, expected in cases.items():
        assert run(command.split()) == 2, command
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("auralith: error:") and expected in error, (command, error)
        assert not out.exists()


@pytest.mark.usefixtures("undrawn")
def test_a_run_of_other_settings_is_not_resumed(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = f"finetune {dataset} --steps 1 --batch-size 2 --set loop.validate_every=0"
    assert run([*command.split(), "-o", str(tmp_path / "a")]) == 0
    (tmp_path / "a").rename(tmp_path / "b")
    assert run([*command.split(), "-o", str(tmp_path / "a"), "--rank", "4"]) == 2
    assert "adapter.rank (16 → 4)" in capsys.readouterr().err
    assert run([*command.split(), "-o", str(tmp_path / "a"), "--no-resume"]) == 2


def test_the_cards_script(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in dataset.parent.iterdir():
        (tmp_path / path.name).symlink_to(path)
    script = Path(__file__).parents[2] / "examples" / "train_finetune.py"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidRequest, match="looks untrained"):  # random weights
        runpy.run_path(str(script))["main"](str(GOLDEN / "sao_tiny" / "model_config.json"), "2")
    done = subprocess.run(
        [sys.executable, str(script), str(EMBEDDED), "2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    assert (tmp_path / "finetuned_model" / "MODEL_CARD.md").exists()
    assert soundfile.info(tmp_path / "finetuned.wav").samplerate == RATE
