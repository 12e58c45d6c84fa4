"""Both networks from random weights on sounds from disk: autoencoder, its second phase, transformer on top."""

from pathlib import Path

import pytest
import torch

from auralith.checkpoints import open_autoencoder
from auralith.cli.main import run
from auralith.config import (
    AudioFormat,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    TextCondition,
)
from auralith.families.model_config import config_to_json
from auralith.pipeline import EMBEDDED, load
from auralith.request import GenerationRequest
from auralith.settings import load_settings
from auralith.tensor_files import write_json
from auralith.training.scratch import AutoencoderRecipe, TransformerRecipe
from tests.conftest import GOLDEN
from tests.training.test_finetune import write_dataset

pytestmark = pytest.mark.usefixtures("undrawn")

RECIPES = Path(__file__).parents[2] / "recipes" / "published"
SMALL = (
    "--set training.batch_size=2 --set training.crop_samples=8192 --set training.validation_items=2 "
    "--set discriminator.filters=4 --set loop.precision=float32 "
    "--set network.encoder_width=4 --set network.decoder_width=4"
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "zaps", 20)


def phase(recipe: str, dataset: Path, out: Path, extra: str) -> Path:
    command = f"train {RECIPES / recipe} -o {out} --set dataset.path={dataset} {SMALL} {extra}"
    assert run(command.split()) == 0
    return out / "autoencoder"


def test_an_autoencoder_in_two_phases_and_a_transformer(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = phase("autoencoder.toml", dataset, tmp_path / "first", "--set loop.steps=4")
    extra = f"--set loop.steps=2 --set start={first}"
    second = phase("decoder.toml", dataset, tmp_path / "second", extra)
    before, after = (
        open_autoencoder(path, device=torch.device("cpu"), dtype=torch.float32).autoencoder
        for path in (first, second)
    )
    changed = {
        name.split(".")[0]
        for name, value in after.state_dict().items()
        if not torch.equal(value, before.state_dict()[name])
    }
    assert changed == {"decoder"}
    autoencoder = open_autoencoder(second, device=torch.device("cpu"), dtype=torch.float32)
    config = ModelConfig(
        audio=AudioFormat(),
        window_samples=16 * AudioFormat().samples_per_frame,
        autoencoder=autoencoder.config,
        dit=DiTConfig(embed_dim=64, depth=1, num_heads=2, context_dim=32, global_dim=64),
        conditions=(
            TextCondition(max_tokens=8),
            NumberCondition("seconds_start"),
            NumberCondition("seconds_total"),
        ),
        condition_dim=32,
    )
    write_json(tmp_path / "model_config.json", config_to_json(config))
    text_encoder = tmp_path / "t5"
    save_small_t5(text_encoder, 32)
    out = tmp_path / "transformer"
    command = (
        f"train {RECIPES / 'transformer.toml'} -o {out} --set dataset.path={dataset} "
        f"--set config={tmp_path / 'model_config.json'} --set autoencoder={second} "
        f"--set text_encoder={text_encoder} --set training.loop.steps=3 --set training.checks=none "
        "--set training.dit.batch_size=4"
    )
    assert run(command.split()) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "model")
    request = GenerationRequest("a zap", seconds_total=0.3, steps=2, seed=1)
    made = load(out / "model", device="cpu", dtype="float32").generate(request)
    assert made.waveform.shape == (2, 13_230)


def save_small_t5(folder: Path, width: int) -> None:
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    tokenizer = PreTrainedTokenizerFast.from_pretrained(EMBEDDED / "t5")
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=4
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        T5EncoderModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def test_the_published_recipes_are_the_published_settings() -> None:
    autoencoder = load_settings(AutoencoderRecipe, RECIPES / "autoencoder.toml")
    assert autoencoder.network == OobleckConfig()
    assert autoencoder.optimization.autoencoder.learning_rate == 1.5e-4
    assert autoencoder.optimization.discriminator.learning_rate == 3e-4
    assert load_settings(AutoencoderRecipe, RECIPES / "decoder.toml").training.freeze_encoder
    transformer = load_settings(TransformerRecipe, RECIPES / "transformer.toml").training
    assert (transformer.mode, transformer.dit.batch_size) == ("full", 256)
    assert transformer.optimizer.learning_rate == 5e-5
    assert transformer.loop.ema_decay == 0.9999


@pytest.mark.parametrize(
    ("recipe", "extra", "expected"),
    [
        ("transformer.toml", "", "autoencoder is empty"),
        ("autoencoder.toml", f"--set start={GOLDEN / 'sao_tiny'}", "another shape"),
    ],
)
def test_bad_recipes_are_one_line(
    dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    recipe: str,
    extra: str,
    expected: str,
) -> None:
    command = f"train {RECIPES / recipe} -o {tmp_path / 'out'} --set dataset.path={dataset}"
    small = "--set training.batch_size=2" if recipe == "autoencoder.toml" else ""
    assert run([*command.split(), *small.split(), *extra.split()]) == 2
    assert expected in capsys.readouterr().err
