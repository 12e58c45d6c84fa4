"""The two networks from random weights on a dataset of your own, as the paper trained them (section 4).

    autoencoder   recordings → autoencoder/, a checkpoint of an autoencoder alone; a second phase freezes its encoder
    transformer   recordings, an autoencoder and a text encoder → model/, through the stages of fine-tuning

Each recipe is a TOML file that states what differs from the published settings, which are the defaults.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from auralith.checkpoints import (
    AutoencoderCheckpoint,
    Checkpoint,
    Spec,
    config_from_json,
    open_autoencoder,
    save_autoencoder,
)
from auralith.checkpoints.text_encoders import named_text_encoder
from auralith.config import AudioFormat, ModelConfig, OobleckConfig
from auralith.data.recordings import open_recordings
from auralith.data.report import scan
from auralith.errors import InvalidRequest
from auralith.families.registry import condition_networks, text_encoder_kind, transformer_network
from auralith.files import make_folder, whole_file
from auralith.foreign import read_json
from auralith.models.autoencoder import Oobleck
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.discriminator import Discriminator, DiscriminatorConfig
from auralith.pipeline import Auralith
from auralith.resources import NumberFormat
from auralith.settings import load_settings
from auralith.training.autoencoder import (
    AUTOENCODER,
    AutoencoderOptimization,
    AutoencoderSettings,
    AutoencoderTask,
    trained_oobleck,
)
from auralith.training.dit import DiTSettings
from auralith.training.export import CARD_NAME, Card, check_target, dataset_name, exported
from auralith.training.finetune import Event, FinetuneSettings, finetune
from auralith.training.loop import Run, train
from auralith.training.optimizers import OptimizerSettings
from auralith.training.published import follow_model
from auralith.training.task import LoopSettings


@dataclass(frozen=True)
class DatasetSettings:
    path: Path = Path("train_dataset.csv")
    path_column: str = "path"
    prompt_column: str = "prompt"


@dataclass(frozen=True)
class AutoencoderRecipe:
    """Recipe of an autoencoder, as TOML with kind = "autoencoder"."""

    kind: Literal["autoencoder"] = "autoencoder"
    dataset: DatasetSettings = DatasetSettings()
    start: str = ""
    """An autoencoder to go on from, such as the first phase's; empty: random weights."""
    network: OobleckConfig = OobleckConfig()
    discriminator: DiscriminatorConfig = DiscriminatorConfig()
    training: AutoencoderSettings = AutoencoderSettings()
    optimization: AutoencoderOptimization = field(default_factory=AutoencoderOptimization)
    loop: LoopSettings = LoopSettings(steps=1_000_000, save_every=2_000, validate_every=10_000)


@dataclass(frozen=True)
class TransformerRecipe:
    """Recipe of a transformer, as TOML with kind = "transformer". The default shape is Stable Audio Open 1.0's."""

    kind: Literal["transformer"] = "transformer"
    dataset: DatasetSettings = DatasetSettings()
    config: str = ""
    """A model_config.json for another shape."""
    autoencoder: str = ""
    """An autoencoder's checkpoint, such as what the recipe of the autoencoder left."""
    text_encoder: str = "t5-base"
    training: FinetuneSettings = field(
        default_factory=lambda: FinetuneSettings(
            mode="full",
            checks="encoders",
            dit=DiTSettings(batch_size=256),
            optimizer=OptimizerSettings(),
            loop=LoopSettings(steps=500_000, save_every=2_000, validate_every=5_000),
        )
    )


def train_autoencoder(recipe: AutoencoderRecipe, folder: Path) -> Iterator[Event]:
    """Train on random crops and write `folder/autoencoder`.

    Raises:
        InvalidRequest: the recordings or the settings can't be used.
    """
    data = recipe.dataset
    recordings = open_recordings(
        data.path, path_column=data.path_column, prompt_column=data.prompt_column or None
    )
    runs = folder / "autoencoder_run"
    check_target(folder / AUTOENCODER, runs, recipe.loop.steps)
    report = scan(recordings, recipe.training.crops, None)
    report.check(recipe.training.batch_size)
    make_folder(folder)
    report.write(folder / "report.json")
    yield Event("check", f"{len(report.usable)} recordings, {report.seconds / 3_600:.2f} h")
    config = recipe.network
    with seeded(recipe.loop.seed):
        autoencoder, discriminator = Oobleck(config), Discriminator(recipe.discriminator)
    if recipe.start:
        started = _opened(recipe.start)
        if started.config != config:
            raise InvalidRequest(f"{recipe.start} has another shape than [network] asks for")
        autoencoder.load_state_dict(started.autoencoder.state_dict(), strict=True)
    task = AutoencoderTask(
        autoencoder,
        discriminator,
        recordings,
        recipe.training,
        recipe.optimization,
        recipe.loop.seed,
        report.usable,
    )
    identity = {
        "network": asdict(config),
        "training": asdict(recipe.training),
        "start": recipe.start,
    }
    run = Run(task, recipe.loop, runs, identity)
    for progress in train(run):
        yield Event("train", progress.event, progress.step, progress.steps, progress)
    for path, reason in task.unreadable.items():
        yield Event("train", f"{path} was left out: {reason}")
    state = run.averaged_state()
    if not run.accelerator.is_main_process:
        return
    audio = AudioFormat(
        recipe.training.crops.sample_rate,
        config.channels,
        config.latent_channels,
        config.samples_per_frame,
    )
    card = Card(
        title="An autoencoder",
        base=recipe.start or "random weights",
        data=dataset_name(data.path),
        num_recordings=len(report.usable),
        hours=report.seconds / 3_600,
        settings={"steps": recipe.loop.steps, "batch size": recipe.training.batch_size},
        metrics=run.journal.metrics(),
    )
    trained = trained_oobleck(config, state)
    with exported(folder / AUTOENCODER, runs, run.step) as target:
        save_autoencoder(target, Spec(audio, config), trained.state_dict())
        with whole_file(target / CARD_NAME) as file:
            file.write(card.to_markdown(AUTOENCODER).encode())


def transformer_recipe(
    path: Path, overrides: Sequence[str] = ()
) -> tuple[TransformerRecipe, tuple[str, ...]]:
    """Return a recipe's settings and what became of the training section of the config it names,
    or of its family's.

    What neither the recipe nor an override states is taken from that section.
    """
    recipe = load_settings(TransformerRecipe, path, overrides)
    if not recipe.config:
        return recipe, ()
    base = TransformerRecipe()
    data = read_json(Path(recipe.config))
    config = config_from_json(data, recipe.config)
    followed, notes = follow_model(base.training, config, data.get("training"))
    base = replace(base, training=followed)
    return load_settings(TransformerRecipe, path, overrides, base), notes


def train_transformer(
    recipe: TransformerRecipe, folder: Path, notes: Sequence[str] = ()
) -> Iterator[Event]:
    """Encode the dataset, train from random weights and write `folder/model`; `notes` as in `finetune`.

    Raises:
        InvalidRequest: the recordings or the settings can't be used.
        CheckpointError: the autoencoder is missing, damaged, or not the one the config describes.
    """
    data, settings = recipe.dataset, recipe.training
    recordings = open_recordings(
        data.path, path_column=data.path_column, prompt_column=data.prompt_column or None
    )
    model = new_model(recipe)
    name = dataset_name(data.path)
    yield from finetune(model, recordings, folder / "model", settings, name, notes)


def new_model(recipe: TransformerRecipe) -> Auralith:
    """A model with a trained autoencoder and text encoder, and a transformer of random weights."""
    if not recipe.autoencoder:
        raise InvalidRequest("autoencoder is empty; name the checkpoint of a trained one")
    config, training = ModelConfig(), None
    if recipe.config:
        data = read_json(Path(recipe.config))
        config, training = config_from_json(data, recipe.config), data.get("training")
    if not config.is_conditional:
        raise InvalidRequest(
            f"{recipe.config} is of an unconditional model; give one with a prompt"
        )
    opened = _opened(recipe.autoencoder)
    if opened.config != config.autoencoder:
        raise InvalidRequest(f"{recipe.autoencoder} is not the autoencoder that the config names")
    kind, cpu = text_encoder_kind(config), torch.device("cpu")
    text = kind.open(named_text_encoder(recipe.text_encoder, kind), None, cpu, torch.float32)
    config = config.with_text_of(text.width)
    dit, numbers = new_transformer(config, recipe.training.loop.seed)
    checkpoint = Checkpoint(
        config=config,
        autoencoder=opened.autoencoder,
        dit=dit,
        numbers=numbers,
        text=text,
        hashing=opened.hashing,
        source=opened.source,
        folder=opened.folder,
        training=training,
    )
    return Auralith(checkpoint, "random weights", cpu, NumberFormat(torch.float32))


def _opened(source: str) -> AutoencoderCheckpoint:
    return open_autoencoder(source, device=torch.device("cpu"), dtype=torch.float32)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed; the global generator is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def new_transformer(
    config: ModelConfig, seed: int
) -> tuple[DiffusionTransformer[Any], nn.ModuleDict]:
    """A transformer that starts from the identity, and the networks of its conditions."""
    with seeded(seed):
        dit = transformer_network(config)
        dit.reset_parameters()
        return dit, condition_networks(config)
