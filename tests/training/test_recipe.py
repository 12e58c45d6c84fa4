"""The whole recipe in miniature: from nothing to a checkpoint that generates."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auralith.config import SpectralConfig
from auralith.data.latents import LatentCache
from auralith.errors import CheckpointError, InvalidRequest
from auralith.pipeline import load
from auralith.request import GenerationRequest
from auralith.training import recipe as stages
from auralith.training.dit import DiTSettings
from auralith.training.encoder import weights_hash
from auralith.training.recipe import CorpusSettings, ModelSettings, Recipe
from auralith.training.spectral import SpectralSettings
from auralith.training.task import LoopSettings
from auralith.training.text import TextSettings

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
    list(stages.train_text(MINIATURE, folder))
    list(stages.train_autoencoder(MINIATURE, folder))
    assert [p.done for p in stages.encode_corpus(MINIATURE, folder)][-1] == 12
    assert len(list(stages.train_dit(MINIATURE, folder))) == 2
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
    list(stages.encode_corpus(MINIATURE, folder))
    assert [shard.stat().st_mtime_ns for shard in shards] == before


def test_latents_of_another_autoencoder_are_refused(folder: Path, tmp_path: Path) -> None:
    for entry in folder.iterdir():
        (tmp_path / entry.name).symlink_to(entry)
    (tmp_path / stages.AUTOENCODER_NAME).unlink()
    state = load_file(folder / stages.AUTOENCODER_NAME)
    state["latent_mean"] += 1
    save_file(state, tmp_path / stages.AUTOENCODER_NAME)
    with pytest.raises(CheckpointError, match="another autoencoder"):
        list(stages.train_dit(MINIATURE, tmp_path))


def test_captions_are_drawn_anew_from_the_sound(folder: Path) -> None:
    autoencoder = stages.trained_autoencoder(MINIATURE, folder)
    cache = LatentCache.open(folder / "latents", weights_hash(autoencoder))
    _, conditioner = stages.build_dit(MINIATURE, folder)
    texts = stages.drawn_captions(cache, conditioner)
    drawn = [texts([3], [np.random.default_rng(seed)]).states for seed in range(4)]
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[0], texts([3], [np.random.default_rng(0)]).states)


def test_a_missing_stage_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="run the stage 'autoencoder' first"):
        list(stages.encode_corpus(MINIATURE, tmp_path))


def test_the_published_recipe_reads() -> None:
    from auralith.settings import load_settings

    path = Path(__file__).parents[2] / "recipes" / "tiny" / "recipe.toml"
    recipe = load_settings(Recipe, path)
    changed = {
        f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(Recipe(), f.name)
    }
    assert changed == {"corpus", "dit"}
    assert recipe.dit.batch_frames == Recipe().dit.batch_frames
