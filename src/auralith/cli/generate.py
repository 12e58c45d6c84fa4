"""`auralith generate`: a prompt, or a file made earlier, to sound files.

The files' tags hold all it takes to make them again. `--from FILE` reads them back: the same request on the same model,
device and number format, in a batch of the same shape (rounding depends on it), gives the same samples.
"""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auralith.cli.adapter import parse_adapter
from auralith.cli.output import Output

if TYPE_CHECKING:
    from auralith.pipeline import Audio, Auralith
    from auralith.provenance import AdapterUse, Provenance
    from auralith.request import GenerationRequest


def generate(
    prompt: Annotated[str | None, typer.Argument(help="The sound in words.")] = None,
    negative: Annotated[str | None, typer.Option(help="What to keep away from.")] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Length of the sound; the model's window if left out.")
    ] = None,
    start: Annotated[
        float | None, typer.Option(help="Where the sound begins in a longer recording, in seconds.")
    ] = None,
    output_seconds: Annotated[
        float | None, typer.Option(help="Make only so much of a recording of --seconds.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    cfg: Annotated[float | None, typer.Option(help="Guidance scale; 1 turns it off.")] = None,
    rescale: Annotated[float | None, typer.Option(help="Guidance rescale, 0 to 1.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler, such as dpmpp-3m-sde.")] = None,
    sigma_min: Annotated[float | None, typer.Option(help="Lowest noise level.")] = None,
    sigma_max: Annotated[float | None, typer.Option(help="Highest noise level.")] = None,
    window: Annotated[
        str | None,
        typer.Option(help="full (the trained window, trimmed) or fit (only the length)."),
    ] = None,
    noise: Annotated[
        str | None, typer.Option(help="item (a stream per seed) or reference (stable-audio-tools).")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random if left out, and printed.")] = None,
    n: Annotated[int, typer.Option("--n", min=1, help="How many: seed, seed+1, …")] = 1,
    model: Annotated[
        str | None,
        typer.Option(help="Hub name, folder or checkpoint file; the embedded model if left out."),
    ] = None,
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Adapter to merge into the model, FILE or FILE:STRENGTH; repeatable."),
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None,
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or folder; named after the prompt if left out."),
    ] = None,
    format: Annotated[str | None, typer.Option(help="wav, flac, ogg or mp3.")] = None,
    subtype: Annotated[
        str | None, typer.Option(help="pcm16, pcm24 or float (wav only); pcm16 if left out.")
    ] = None,
    png: Annotated[bool, typer.Option("--png", help="Also draw waveform and spectrogram.")] = False,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Make the sound of a file again; see info."),
    ] = None,
) -> None:
    """Generate a sound from a prompt. Prints the path of each file, last the sound's."""
    from auralith.pipeline import load

    changes = {
        "prompt": prompt,
        "negative_prompt": negative,
        "seconds_total": seconds,
        "seconds_start": start,
        "seconds_output": output_seconds,
        "steps": steps,
        "cfg_scale": cfg,
        "cfg_rescale": rescale,
        "sampler": sampler,
        "sigma_min": sigma_min,
        "sigma_max": sigma_max,
        "window": window,
        "noise": noise,
        "seed": seed,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    origin = None if source is None else _read_origin(source, model)
    request = _request(origin, given)
    target = Output(output, format, subtype, request.prompt)
    target.check()
    loaded = load(
        model or _model_of(origin),
        device=device or (origin.device if origin else "auto"),
        dtype=dtype or (origin.dtype if origin else "auto"),
        text_encoder=text_encoder,
        adapters=_adapters(adapter, origin, source),
    )
    requests = _numbered(loaded.resolve(request), n)
    seeds = [item.seed for item in requests if item.seed is not None]
    print("seed", *seeds, file=sys.stderr)
    paths = target.paths(seeds)
    sounds = _generate(loaded, requests, origin)
    for sound, path in zip(sounds, paths, strict=True):
        _warn(sound, path, origin)
        sound.save(path, subtype)
        if png:
            print(_draw(sound, path.with_suffix(".png")))
    print(*paths, sep="\n")


def _read_origin(source: Path, model: str | None) -> "Provenance":
    from auralith.errors import AudioError
    from auralith.provenance import EMBEDDED_NAME, read_provenance

    origin = read_provenance(source)
    if model is None and origin.model != EMBEDDED_NAME and "/" not in origin.model:
        raise AudioError(
            f"{source} was made with a model in the folder or file {origin.model}; give it with --model"
        )
    return origin


def _model_of(origin: "Provenance | None") -> str | None:
    from auralith.provenance import EMBEDDED_NAME

    return None if origin is None or origin.model == EMBEDDED_NAME else origin.model


def _adapters(
    given: list[str] | None, origin: "Provenance | None", source: Path | None
) -> list[tuple[str | Path, float]]:
    """Those that are named, or else those that the original was made with."""
    if given is not None or origin is None or source is None:
        return [parse_adapter(text) for text in given or ()]
    return [(_find_adapter(used, source), used.strength) for used in origin.adapters]


def _find_adapter(used: "AdapterUse", source: Path) -> Path:
    """The same file, here or beside the sound."""
    from auralith.checkpoints import read_adapter
    from auralith.errors import AudioError

    for folder in (Path(), source.parent):
        path = folder / Path(used.name).name
        if path.exists() and read_adapter(path).file_hash == used.file_hash:
            return path
    raise AudioError(
        f"{source} was made with the adapter {used.name} ({used.file_hash[:12]}), which is neither here nor "
        f"beside it; give it with --adapter {used.name}:{used.strength:g}"
    )


def _request(origin: "Provenance | None", given: dict[str, Any]) -> "GenerationRequest":
    from auralith.errors import InvalidRequest
    from auralith.request import GenerationRequest

    if origin is not None:
        return replace(origin.settings, **given)
    if "prompt" not in given:
        raise InvalidRequest("nothing to generate; give a prompt or --from FILE")
    return GenerationRequest(**given)


def _numbered(request: "GenerationRequest", n: int) -> list["GenerationRequest"]:
    assert request.seed is not None  # resolved
    return [replace(request, seed=request.seed + index) for index in range(n)]


def _generate(
    model: "Auralith", requests: list["GenerationRequest"], origin: "Provenance | None"
) -> list["Audio"]:
    """The sounds of the requests; one that was once made in a batch is made at its place in such a batch again."""
    from auralith.cli.progress import generation_progress

    chosen = slice(None)
    if origin is not None and len(requests) == 1:
        requests = requests * origin.batch_size
        chosen = slice(origin.batch_index, origin.batch_index + 1)
    with generation_progress() as on_step:
        return model.generate_batch(requests, on_step)[chosen]


def _warn(sound: "Audio", path: Path, origin: "Provenance | None") -> None:
    warnings = list(sound.warnings)
    found = sound.provenance.model_hash
    if origin is not None and origin.model_hash != found:
        warnings.append(
            f"made by another model than the original ({found[:12]}, not "
            f"{origin.model_hash[:12]}), so the sound differs"
        )
    if origin is not None and _hashes(origin) != _hashes(sound.provenance):
        warnings.append("made with other adapters than the original, so the sound differs")
    for warning in warnings:
        print(f"auralith: warning: {path}: {warning}", file=sys.stderr)


def _hashes(provenance: "Provenance") -> list[str]:
    return [used.file_hash for used in provenance.adapters]


def _draw(sound: "Audio", path: Path) -> Path:
    from auralith.audio import peak_normalize
    from auralith.files import whole_file
    from auralith.spectrogram import spectrogram_png

    picture = spectrogram_png(peak_normalize(sound.waveform), sound.sample_rate)
    with whole_file(path) as file:
        file.write(picture)
    return path
