"""The whole recipe in miniature: from nothing to a checkpoint that generates."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auralith.cli.main import run
from auralith.config import SpectralConfig
from auralith.data.latents import LatentCache
from auralith.errors import CheckpointError, InvalidRequest
from auralith.pipeline import load
from auralith.request import GenerationRequest
from auralith.training.dit import DiTSettings
from auralith.training.encoder import weights_hash
from auralith.training.task import LoopSettings
from recipes.tiny import stages
from recipes.tiny.__main__ import app
from recipes.tiny.corpus import ProceduralCorpus
from recipes.tiny.spectral import SpectralSettings
from recipes.tiny.stages import CorpusSettings, ModelSettings, Recipe
from recipes.tiny.text import TextSettings

CORPUS = ProceduralCorpus()
LOOP = LoopSettings(steps=2, save_every=1, device="cpu")
MINIATURE = Recipe(
    text=TextSettings(
        d_model=64, d_ff=32, layers=1, heads=2, vocabulary_captions=50, batch_size=16
    ),
    text_loop=LOOP,
    spectral=SpectralConfig(fine_width=8, coarse_width=16, fine_blocks=1, coarse_blocks=1),
    autoencoder=SpectralSettings(batch_size=1, crop_frames=6, calibration_clips=4),
    autoencoder_loop=LOOP,
    corpus=CorpusSettings(clips=12),
    model=ModelSettings(embed_dim=64, depth=1, num_heads=2, steps=3),
    dit=DiTSettings(batch_frames=200, sample_latents=False, whole_seconds=False),
    dit_loop=LOOP,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    list(stages.train_text(MINIATURE, CORPUS, folder))
    list(stages.train_autoencoder(MINIATURE, CORPUS, folder))
    assert [p.done for p in stages.encode_corpus(MINIATURE, CORPUS, folder)][-1] == 12
    assert len(list(stages.train_dit(MINIATURE, CORPUS, folder))) == 2
    return folder


def test_the_exported_model_generates(folder: Path) -> None:
    model = load(stages.export(MINIATURE, folder), device="cpu", dtype="float32")
    assert model.config.dit == MINIATURE.config.dit
    assert model.config.sampling.window == "fit"
    made = model.generate(GenerationRequest("a bell at A4", seconds_total=0.5, seed=1))
    assert made.waveform.shape == (2, 22_050)
    assert made.request.steps == 3


def test_encoding_again_does_nothing(folder: Path) -> None:
    shards = sorted((folder / "latents").glob("*.safetensors"))
    before = [shard.stat().st_mtime_ns for shard in shards]
    list(stages.encode_corpus(MINIATURE, CORPUS, folder))
    assert [shard.stat().st_mtime_ns for shard in shards] == before


def test_latents_of_another_autoencoder_are_refused(folder: Path, tmp_path: Path) -> None:
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / stages.AUTOENCODER_NAME).unlink()
    state = load_file(folder / stages.AUTOENCODER_NAME)
    state["latent_mean"] += 1
    save_file(state, tmp_path / stages.AUTOENCODER_NAME)
    with pytest.raises(CheckpointError, match="another autoencoder"):
        list(stages.train_dit(MINIATURE, CORPUS, tmp_path))


def test_captions_are_drawn_anew_from_the_sound(folder: Path) -> None:
    autoencoder = stages.trained_autoencoder(MINIATURE, folder)
    cache = LatentCache.open(folder / "latents", weights_hash(autoencoder))
    _, conditioner = stages.build_dit(MINIATURE, folder)
    texts = stages.drawn_captions(CORPUS, cache, conditioner)
    drawn = [texts([3], [np.random.default_rng(seed)]).states for seed in range(4)]
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[0], texts([3], [np.random.default_rng(0)]).states)


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="run the stage 'autoencoder' first"):
        list(stages.encode_corpus(MINIATURE, CORPUS, tmp_path))


def test_the_published_recipe_reads() -> None:
    from auralith.settings import load_settings

    path = Path(__file__).parents[2] / "recipes" / "tiny" / "recipe.toml"
    recipe = load_settings(Recipe, path)
    changed = {
        f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(Recipe(), f.name)
    }
    assert changed == {"corpus", "dit"}
    assert recipe.dit.batch_frames == Recipe().dit.batch_frames


def test_the_command_trains_every_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = [
        *("text.d_model=64", "text.d_ff=32", "text.layers=1", "text.heads=2"),
        *("text.vocabulary_captions=50", "text.batch_size=16"),
        *("spectral.fine_width=8", "spectral.coarse_width=16", "corpus.clips=4"),
        *(
            "autoencoder.batch_size=1",
            "autoencoder.crop_frames=6",
            "autoencoder.calibration_clips=2",
        ),
        *("model.embed_dim=64", "model.depth=1", "model.num_heads=2", "dit.batch_frames=200"),
        *(f"{loop}.steps=2" for loop in ("text_loop", "autoencoder_loop", "dit_loop")),
    ]
    arguments = ["-o", str(tmp_path / "run"), *(x for one in small for x in ("--set", one))]
    assert run(arguments, app) == 0
    assert load(capsys.readouterr().out.strip(), device="cpu").config.dit.embed_dim == 64


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--part", "2", "--parts", "2"), "--part is 2"),
        (("--stage", "export"), "run the stage 'text' first"),
        (("no.toml",), "no.toml"),
        (("--set", "dit.stepz=1"), "stepz"),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...],
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*arguments, "-o", str(tmp_path / "run")], app) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert expected in line


def test_another_command_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = Path(__file__).parents[2] / "recipes" / "tiny" / "recipe.toml"
    assert run(["train", str(recipe)]) == 2
    assert "python -m recipes.tiny" in capsys.readouterr().err
