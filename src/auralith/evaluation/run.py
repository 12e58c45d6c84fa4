"""An evaluation from its settings to its report."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

from auralith.checkpoints import open_autoencoder
from auralith.client import Client
from auralith.embedders import find_embedder, open_embedder
from auralith.errors import InvalidRequest
from auralith.evaluation.codec import measure_codec
from auralith.evaluation.comparison import Evaluation, Show, compare_systems, count_files
from auralith.evaluation.controls import ControlReport, check_sounds
from auralith.evaluation.generation import generate_sounds
from auralith.evaluation.measures import PAPER, WITH_REFERENCE, Generated, Metric, parse_metric
from auralith.evaluation.prompts import (
    PUBLISHED,
    PromptList,
    published_entry,
    read_prompts,
    split_subset,
    texts_of,
    trim_to,
)
from auralith.evaluation.reference import ReferenceSet, open_reference
from auralith.evaluation.report import EvaluationReport, write_report
from auralith.evaluation.settings import EvaluationSettings
from auralith.evaluation.sounds import folder_sounds, matched
from auralith.files import slug
from auralith.jobs.tasks import ModelPlace
from auralith.pipeline import EMBEDDED as EMBEDDED_SOURCE
from auralith.pipeline import load
from auralith.request import GenerationRequest
from auralith.resources import choose_device
from auralith.sets import Devices, Planner, ServerModel, shared_devices
from auralith.weights import find_weights

SOUNDS = "sounds"
EMBEDDED = "embedded"
"""Name of the model in the package."""


def evaluate(
    settings: EvaluationSettings,
    output: Path,
    show: Show = lambda stage, done, total, text: None,
) -> EvaluationReport:
    """Measure how good sounds are, write the report into a folder, and return it.

    A folder of an interrupted run is gone on with: neither sounds nor embeddings are made twice.

    Raises:
        InvalidRequest: there is nothing to measure, or prompts, sounds, reference and metrics do not fit each other.
        CheckpointError: a model or weights are missing or damaged.
        ResourceError: the device is not there, or the folder can't be written.
        ServerError: the server that generates can't be reached, or refuses.
    """
    GenerationRequest("any", **settings.generation.defaults)  # refused before anything is opened
    if settings.autoencoder is None:
        report = _of_systems(settings, output, show)
    else:
        report = _of_autoencoder(settings.autoencoder, settings, show)
    write_report(report, output)
    return report


def _of_systems(settings: EvaluationSettings, output: Path, show: Show) -> EvaluationReport:
    if not settings.models and not settings.audio:
        raise InvalidRequest("there is nothing to measure; give --model with --prompts, or --audio")
    prompts = _prompts(settings)
    metrics = _metrics(settings, prompts)
    for metric in metrics:  # what is missing is found before hours of generation
        find_embedder(metric.embedder, settings.weights)
    reference = _reference(settings, prompts, metrics)
    systems = [_folder(path, settings, prompts) for path in settings.audio]
    systems += [_generated(name, settings, prompts, output, show) for name in settings.models]
    opened = cache(
        partial(
            open_embedder,
            weights=settings.weights,
            device=settings.measuring_device,
            dtype=settings.dtype,
        )
    )
    found = compare_systems(systems, metrics, reference, output, opened, settings.measures, show)
    checked = _checked(systems, show) if settings.controls else {}
    return EvaluationReport(prompts, found, checked)


def _of_autoencoder(name: str, settings: EvaluationSettings, show: Show) -> EvaluationReport:
    if len(settings.audio) != 1:
        raise InvalidRequest("an autoencoder is measured on recordings; give one folder by --audio")
    sounds = folder_sounds(settings.audio[0])
    source = EMBEDDED_SOURCE if name == EMBEDDED else name
    device = choose_device(settings.measuring_device)
    checkpoint = open_autoencoder(source, device=device, dtype=torch.float32)
    on_file = partial(count_files, show, "reconstruct", len(sounds.paths))
    summary, failed = measure_codec(checkpoint, sounds, on_file)
    return EvaluationReport(None, Evaluation((), ()), {}, summary, failed)


def _prompts(settings: EvaluationSettings) -> PromptList | None:
    if settings.prompts is None:
        return None
    name, subset = split_subset(settings.prompts)
    if name not in PUBLISHED:
        return trim_to(read_prompts(Path(name), subset), settings.limit)
    path = find_weights(published_entry(name, "prompts"), settings.weights).path
    return trim_to(read_prompts(path, subset, name), settings.limit)


def _metrics(settings: EvaluationSettings, prompts: PromptList | None) -> list[Metric]:
    """Return the metrics that were named, or those that fit the prompts and the reference."""
    content = prompts.content if prompts else None
    names = settings.metrics
    if not names and content is not None:
        names = PAPER
    elif not names and settings.reference:
        names = WITH_REFERENCE
    elif not names and not settings.controls:
        raise InvalidRequest(
            "there is no metric; name one with --metric, or give --reference or --controls"
        )
    return list(dict.fromkeys(parse_metric(name, content) for name in names))


def _reference(
    settings: EvaluationSettings, prompts: PromptList | None, metrics: Sequence[Metric]
) -> ReferenceSet:
    """Return the reference that was given or, for a published list, the published statistics that the metrics need."""
    sources = settings.reference
    if not sources and prompts is not None:
        # a subset of captions is compared with the whole list's recordings
        names = (prompts.name, prompts.name.partition(":")[0])
        name = next((name for name in names if name in PUBLISHED), None)
        if name is not None:
            kinds = ["fd"] * any(metric.kind.startswith("fd") for metric in metrics)
            kinds += ["kl"] * any(metric.kind == "kl" for metric in metrics)
            entries = [published_entry(name, kind) for kind in kinds]
            sources = [find_weights(entry, settings.weights).path for entry in entries]
    return open_reference(
        sources,
        prompts,
        allow_missing=settings.allow_missing,
        allow_extra=settings.allow_extra,
    )


def _folder(path: Path, settings: EvaluationSettings, prompts: PromptList | None) -> Generated:
    sounds = folder_sounds(path)
    if prompts is None:
        return Generated(sounds, {})
    found = matched(
        sounds,
        prompts.prompts,
        allow_missing=settings.allow_missing,
        allow_extra=settings.allow_extra,
    )
    return Generated(found, texts_of(prompts.prompts))


def _generated(
    name: str,
    settings: EvaluationSettings,
    prompts: PromptList | None,
    output: Path,
    show: Show,
) -> Generated:
    if prompts is None:
        raise InvalidRequest("a model needs prompts to generate from; give them with --prompts")
    model, devices = _opened(name, settings)
    shown = Path(name).resolve().name if Path(name).exists() else name
    return generate_sounds(
        model,
        shown,
        prompts,
        output / SOUNDS / slug(name),
        replace(settings.generation, devices=devices),
        show=lambda done, total, text: show(f"generate {shown}", done, total, text),
    )


def _opened(name: str, settings: EvaluationSettings) -> tuple[Planner, Devices | None]:
    """Return a model, and the devices that share its work."""
    if settings.server is not None:
        return ServerModel(Client(settings.server), name), None
    source = None if name == EMBEDDED else name
    devices = shared_devices(settings.device, ModelPlace(name, source))
    # what shares the work loads the model itself; here it plans
    return load(source, device=settings.device if devices is None else "cpu"), devices


def _checked(systems: Sequence[Generated], show: Show) -> dict[str, ControlReport]:
    """Return whether each system's sounds do what their prompts state."""
    found = {}
    for system in systems:
        stage, total = f"controls {system.name}", len(system.sounds.paths)
        found[system.name] = check_sounds(system, partial(count_files, show, stage, total))
    return found
