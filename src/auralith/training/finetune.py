"""Fine-tuning as the model card promises: a table of sounds and prompts in, a model that loads at once out.

    check    can the recordings be used, is the autoencoder trained, does the run fit into memory
    encode   latents and text states, once            → OUTPUT_run/latents/
    train    an adapter (LoRA, DoRA) or all weights   → OUTPUT_run/state-*.pt, log.jsonl, curves.png, demos/
    export   the averaged weights                     → OUTPUT/, and OUTPUT/adapter.safetensors

Every stage resumes where it stopped. `finetune` is a generator of events, which its caller shows.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from auralith.checkpoints.adapter_file import AdapterConfig, AdapterMetadata, write_adapter
from auralith.checkpoints.adapters import adapter_state, add_adapter
from auralith.config import ModelConfig
from auralith.data.conditions import check_conditions, recording_conditions
from auralith.data.latents import LatentCache
from auralith.data.recording import Recordings
from auralith.errors import Field, InvalidRequest
from auralith.files import whole_file
from auralith.noise import MAX_SEED
from auralith.numbers import check_integer, check_number
from auralith.pipeline import Auralith
from auralith.request import GenerationRequest
from auralith.sound.picture import spectrogram_png
from auralith.text.encoder import TextStates
from auralith.training.dit import DiTNetwork, DiTSettings, DiTTask, TextSource
from auralith.training.encode import EncodeOptions, encode_dataset
from auralith.training.encoder import (
    REMEDY,
    LatentEncoder,
    check_latents,
    check_reconstruction,
)
from auralith.training.export import (
    Card,
    Layout,
    check_target,
    count_licenses,
    export_model,
    exported,
    nothing_left_if_refused,
)
from auralith.training.loop import Run, train
from auralith.training.optimizers import OptimizerSettings
from auralith.training.plan import MemorySettings, check_fits
from auralith.training.processes import accelerate, start_processes
from auralith.training.task import LoopSettings, Progress

LEARNING_RATES = {"lora": 3e-4, "full": 5e-5}
"""By mode: few weights take larger steps; all weights take those of the published training."""


NOTES_NAME = "model_training.txt"
"""In the run's folder: a line for each key of the training section in the model's config."""


@dataclass(frozen=True)
class DemoSettings:
    """Sounds made on the way, always with the same seeds."""

    every: int = 0
    """Steps between sounds made on the way; 0: none."""
    prompts: tuple[str, ...] = ()
    """Empty: the first prompts of the dataset. Other conditions, such as bpm, are those of its first recordings."""
    seconds: float = 0.0
    """0: as long as the model's window."""
    seed: int = 1

    def __post_init__(self) -> None:
        check_integer(self, "every", 0)
        check_number(self, "seconds", "s", least=0.0)
        check_integer(self, "seed", 0, MAX_SEED)


BATCH_SIZE = 4
"""The default; a smaller data set makes smaller batches, unless another size was asked for."""


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of `auralith finetune`; the defaults suit a few dozen to a few thousand sounds."""

    mode: Literal["lora", "full"] = "lora"
    adapter: AdapterConfig = AdapterConfig()
    prompt_column: str = "prompt"
    """Column of the prompts."""
    encode: EncodeOptions = EncodeOptions()
    dit: DiTSettings = DiTSettings(batch_size=BATCH_SIZE)
    optimizer: OptimizerSettings = OptimizerSettings(
        learning_rate=LEARNING_RATES["lora"], schedule="constant", clip_norm=1.0
    )
    loop: LoopSettings = field(
        default_factory=lambda: LoopSettings(steps=1_000, ema_decay=0.99, validate_every=200)
    )
    demo: DemoSettings = DemoSettings()
    checkpoint_activations: bool = False
    """Compute activations twice; saves memory."""
    layout: Layout = "single-file"
    """Layout of the finished model."""
    export_dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    checks: Literal["all", "encoders", "none"] = "all"
    """Parts that are refused if they look untrained: the autoencoder and its latents, and the transformer."""


def default_settings(mode: Literal["lora", "full"]) -> FinetuneSettings:
    """Return what a fine-tuning in this mode does where nothing else is asked for."""
    settings = FinetuneSettings(mode=mode)
    return replace(
        settings, optimizer=replace(settings.optimizer, learning_rate=LEARNING_RATES[mode])
    )


@dataclass(frozen=True)
class Event:
    """Something to show: a line, or the progress of a stage."""

    stage: Literal["check", "encode", "train", "export"]
    text: str = ""
    done: int = 0
    total: int = 0
    progress: Progress | None = None


MOST_NAMED = 20
"""Unusable recordings that are shown; `report.json` names all."""


def run_folder(output: Path) -> Path:
    """Return the folder from which a fine-tuning resumes."""
    return output.with_name(output.name + "_run")


def finetune(
    model: Auralith,
    recordings: Recordings,
    output: Path,
    settings: FinetuneSettings,
    data: str,
    notes: Sequence[str] = (),
) -> Iterator[Event]:
    """Fine-tune `model` (float32 weights) and write the new folder `output`; `data` names the dataset.

    `notes` are said at the start and kept in the run's folder: what became of the training section of the model's
    config (`auralith.training.published`).

    Raises:
        InvalidRequest: the weights are int8, the recordings can't be trained on, the run's folder holds a run with other settings, or `output`
            holds anything but what that run exported after fewer steps.
        ResourceError: memory or disk space is short; the message names what would help.
        NonFiniteError: the loss did not stay finite.
    """
    if model.checkpoint.is_int8 or model.number_format.int8:
        raise InvalidRequest(
            f"training needs float weights, and those of {model.name} are int8; use the model that it was made from"
        )
    folder = run_folder(output)
    check_target(output, folder, settings.loop.steps)
    check_conditions(model.config, recordings)
    yield from (Event("check", note) for note in notes)
    check_fits(model.config, memory_settings(settings), model.device)
    if len(recordings) < settings.dit.batch_size != BATCH_SIZE:
        raise InvalidRequest(
            f"{len(recordings)} recordings are fewer than a batch of {settings.dit.batch_size}; add "
            "recordings or lower ",
            Field("dit.batch_size"),
        )
    processes = start_processes(settings.loop.device, settings.loop.chosen_precision)
    with nothing_left_if_refused(folder) if processes.is_main_process else nullcontext():
        run, cache, network, settings = yield from _prepared(
            model, recordings, folder, settings, processes
        )
    if notes and processes.is_main_process:
        with whole_file(folder / NOTES_NAME) as file:
            file.write("".join(f"{note}\n" for note in notes).encode())
    for progress in train(run):
        yield Event("train", progress.event, progress.step, progress.steps, progress)
        if settings.demo.every and progress.step % settings.demo.every == 0:
            with run.averaged():
                _write_demos(run, model, cache, folder / "demos", progress.step, settings.demo)
    yield Event("export", "writing the model")
    card = _card(model, cache, settings, run.journal.metrics(), data)
    _export(model, run, network, output, settings, card)


def _prepared(
    model: Auralith,
    recordings: Recordings,
    folder: Path,
    settings: FinetuneSettings,
    processes: "accelerate.Accelerator",
) -> Generator[Event, None, tuple[Run, LatentCache, DiTNetwork, FinetuneSettings]]:
    """Check, encode what is missing, check again, and return the run with its data, network and settings."""
    encoder = LatentEncoder.of(model)
    if settings.checks != "none" and processes.is_main_process:
        yield Event("check", check_reconstruction(encoder, recordings))
    with processes.main_process_first():  # the others find all shards there
        for step in encode_dataset(encoder, recordings, folder / "latents", settings.encode):
            yield Event("encode", f"{step.bad} unusable" if step.bad else "", step.done, step.total)
    if not settings.demo.every:  # not needed until the model is written
        model.autoencoder.cpu()
        model.conditioner.text.model.cpu()
    cache = LatentCache.open(  # damaged shards were encoded again
        folder / "latents", encoder.autoencoder_hash, encoder.text_hash, verify=False
    )
    for _, reason in cache.report().bad[:MOST_NAMED]:
        yield Event("encode", f"auralith: warning: {reason}")
    usable = len(cache.report().usable)
    if 0 < usable < settings.dit.batch_size == BATCH_SIZE:
        yield Event("check", f"{usable} recordings: a batch has {usable}, not {BATCH_SIZE}")
        settings = replace(settings, dit=replace(settings.dit, batch_size=usable))
    cache.report().check(settings.dit.batch_size, equal_prompts=True)
    task, network = build_task(model, cache, settings)
    if settings.checks != "none":
        yield Event("check", check_latents(cache))
    if settings.checks == "all":
        yield Event("check", check_transformer(task))
    identity = {
        "base": model.checkpoint.model_hash,
        "mode": settings.mode,
        "data": cache.key,
        "dit": asdict(settings.dit),
        "adapter": asdict(settings.adapter) if settings.mode == "lora" else {},
    }
    return Run(task, settings.loop, folder, identity), cache, network, settings


def memory_settings(settings: FinetuneSettings) -> MemorySettings:
    """Return the settings of a fine-tuning that the memory plan needs."""
    loop = settings.loop
    return MemorySettings(
        mode=settings.mode,
        rank=settings.adapter.rank,
        optimizer="muon" if settings.optimizer.muon_learning_rate else settings.optimizer.kind,
        ema=loop.ema,
        precision=loop.chosen_precision,
        batch_size=settings.dit.batch_size,
        accumulation=loop.accumulate,
        frames=settings.dit.window_frames,
        checkpoint_activations=settings.checkpoint_activations,
        encoders=settings.demo.every > 0,
    )


def check_transformer(task: DiTTask) -> str:
    """Return the loss before training beside that of predicting nothing. Raise InvalidRequest if it is not lower."""
    loss, nothing = task.explained()
    line = f"transformer: loss {loss:.3f}, predicting nothing {nothing:.3f}"
    if not loss < 0.97 * nothing:
        raise InvalidRequest(f"{line}: it looks untrained or partly loaded; {REMEDY}")
    return line


def build_task(
    model: Auralith, cache: LatentCache, settings: FinetuneSettings
) -> tuple[DiTTask, DiTNetwork]:
    """The training task on cached latents; freezes what the mode does not train."""
    dit, numbers = model.dit, model.checkpoint.numbers
    dit.checkpoint_activations = settings.checkpoint_activations
    trains_all = settings.mode == "full"
    dit.requires_grad_(trains_all)
    numbers.requires_grad_(trains_all)
    if not trains_all:
        add_adapter(dit, settings.adapter, np.random.default_rng(settings.loop.seed))
    network = DiTNetwork(model.config, dit, numbers).train()
    task = DiTTask(
        model.config,
        network,
        cache,
        cached_texts(cache),
        fitted(settings.dit, model.config, cache),
        settings.optimizer,
        settings.loop.seed,
    )
    return task, network


def fitted(settings: DiTSettings, config: ModelConfig, cache: LatentCache) -> DiTSettings:
    """For a model that was trained on sounds of any length: no padding beyond the longest, exact seconds."""
    if config.sampling.window != "fit" or config.masks_padding or settings.window_frames:
        return settings
    longest = max(cache.num_frames(index) for index in range(len(cache)))
    return replace(settings, window_frames=min(config.window_frames, longest), whole_seconds=False)


def cached_texts(cache: LatentCache) -> TextSource:
    """Text states from the cache, one of a recording's wordings at random."""

    def texts(indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> TextStates:
        drawn = [
            cache.text(index, int(rng.integers(len(cache.record(index).prompts))))
            for index, rng in zip(indices, rngs, strict=True)
        ]
        states, masks = zip(*drawn, strict=True)
        return TextStates(torch.stack(states), torch.stack(masks))

    return texts


def _write_demos(
    run: Run, model: Auralith, cache: LatentCache, folder: Path, step: int, settings: DemoSettings
) -> None:
    if not run.accelerator.is_main_process:
        return
    folder.mkdir(exist_ok=True)
    prompts = settings.prompts or tuple(
        cache.record(i).prompts[0] for i in range(min(3, len(cache)))
    )
    model.dit.eval()
    for index, prompt in enumerate(prompts):
        request = GenerationRequest(
            prompt,
            seconds_total=settings.seconds or None,
            seed=settings.seed + index,
            conditions=recording_conditions(model.config, cache.record(index % len(cache))),
        )
        made = model.generate(request)
        name = folder / f"{step:08d}-{index}"
        made.save(name.with_suffix(".wav"))
        with whole_file(name.with_suffix(".png")) as file:
            file.write(spectrogram_png(made.waveform, made.sample_rate))
    model.dit.train()


def _export(
    model: Auralith,
    run: Run,
    network: DiTNetwork,
    output: Path,
    settings: FinetuneSettings,
    card: Card,
) -> None:
    """The finished model; for an adapter also the adapter, which is what one passes on."""
    adapter = run.folder / "adapter.safetensors" if settings.mode == "lora" else None
    state = run.averaged_state(trained_only=adapter is not None)
    if not run.accelerator.is_main_process:
        return
    dtype = getattr(torch, settings.export_dtype)
    if adapter is None:
        network.load_state_dict(state, strict=True)
        with exported(output, run.folder, run.step) as folder:
            export_model(folder, model.checkpoint, card, settings.layout, dtype, output.name)
        return
    metadata = AdapterMetadata(
        settings.adapter,
        base_model=model.name,
        base_hash=model.checkpoint.model_hash,
        prompt_column=settings.prompt_column,
        steps=run.step,
    )
    trained = {name.removeprefix("dit."): value for name, value in state.items()}
    write_adapter(adapter, adapter_state(trained), metadata)
    merged = model.with_adapters([(adapter, 1.0)]).checkpoint
    with exported(output, run.folder, run.step) as folder:
        export_model(folder, merged, card, settings.layout, dtype, output.name, [adapter])


def _license(metadata: Mapping[str, str]) -> str | None:
    """Return a recording's license as a curation's manifest names it, else as any table does."""
    return metadata.get("license_spdx") or metadata.get("license")


def _card(
    model: Auralith,
    cache: LatentCache,
    settings: FinetuneSettings,
    metrics: Mapping[str, float],
    data: str,
) -> Card:
    records = [cache.record(index) for index in range(len(cache))]
    chosen: dict[str, Any] = {
        "mode": settings.mode,
        "steps": settings.loop.steps,
        "batch size": settings.dit.batch_size,
        "learning rate": settings.optimizer.learning_rate,
    }
    if settings.mode == "lora":
        chosen |= {"adapter": settings.adapter.kind, "rank": settings.adapter.rank}
    return Card(
        title="A text-to-audio model",
        base=f"{model.name} ({model.checkpoint.model_hash[:12]})",
        data=data,
        num_recordings=len(records),
        hours=sum(record.seconds for record in records) / 3_600,
        licenses=count_licenses([_license(record.metadata) for record in records]),
        settings=chosen,
        metrics=metrics,
        example=records[0].prompts[0],
        conditions=recording_conditions(model.config, records[0]),
    )
