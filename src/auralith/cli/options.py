"""Options that several verbs have, each stated once, in groups: how to sample, which model, where to write.

A verb takes a group as one parameter; `grouped` shows its fields to the command line as options of the verb.
"""

import inspect
from collections.abc import Callable
from dataclasses import Field, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from auralith.cli.fields import Sets, given

if TYPE_CHECKING:
    from auralith.content_credentials import ContentSigner


WeightsOption = Annotated[
    str | None,
    typer.Option(help="Name of the weights file, where a folder or repository has several."),
]
ConfigOption = Annotated[
    str | None, typer.Option(help="The model's config, if it is not beside the weights.")
]


@dataclass(frozen=True)
class Sampling:
    """Options of sampling and guidance."""

    negative: Annotated[
        str | None, Sets("negative_prompt"), typer.Option(help="What to keep away from.")
    ] = None
    mix: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WEIGHT:PROMPT",
            help="A prompt to mix in, as 0.3:thunder; the prompt has the rest of 1. Repeatable.",
        ),
    ] = None
    steps: Annotated[
        int | None,
        typer.Option(
            help="Denoising steps; the model's default if left out: 100 (embedded model: 30)."
        ),
    ] = None
    cfg: Annotated[
        float | None,
        Sets("cfg_scale"),
        typer.Option(help="Guidance scale; 1 turns it off. Default 7 (embedded model: 4)."),
    ] = None
    rescale: Annotated[
        float | None, Sets("cfg_rescale"), typer.Option(help="Guidance rescale, 0 to 1.")
    ] = None
    interval: Annotated[
        str | None,
        Sets("cfg_interval"),
        typer.Option(metavar="FROM-TO", help="Noise levels, 0 to 1, at which guidance acts."),
    ] = None
    apg_eta: Annotated[
        float | None,
        typer.Option(help="Projected guidance: how much of its parallel part stays, 0 to 1."),
    ] = None
    apg_norm_threshold: Annotated[
        float | None, typer.Option(help="Projected guidance: its largest norm; 0: any.")
    ] = None
    apg_momentum: Annotated[
        float | None,
        typer.Option(help="Projected guidance: share of the step before, -1 to 1; best below 0."),
    ] = None
    sampler: Annotated[
        str | None,
        typer.Option(
            help="dpmpp-3m-sde, dpmpp-2m-sde, dpmpp-2m, k-heun, k-lms, k-dpm-2, k-dpmpp-2s-ancestral, k-dpm-fast, "
            "k-dpm-adaptive, v-ddim, v-ddim-cfgpp; for flow models euler, rk4, dpmpp, pingpong. "
            "Default dpmpp-3m-sde (embedded model: dpmpp-2m)."
        ),
    ] = None
    sigma_min: Annotated[
        float | None, typer.Option(help="Lowest noise level. Default 0.3 (embedded model: 0.02).")
    ] = None
    sigma_max: Annotated[
        float | None, typer.Option(help="Highest noise level. Default 500 (embedded model: 100).")
    ] = None
    schedule: Annotated[
        str | None,
        typer.Option(
            help="How noise levels lie between them: polyexponential, exponential, karras; for flow models linear, "
            "logsnr, shifted. The sampler's own if left out."
        ),
    ] = None
    rho: Annotated[
        float | None, typer.Option(help="Bend of karras (else 7) and polyexponential (else 1).")
    ] = None
    sigmas: Annotated[
        str | None,
        typer.Option(
            metavar="S,S,...",
            help="The noise levels themselves, falling, as 80,20,5,1,0; in place of --steps, the range and --schedule.",
        ),
    ] = None
    fade_in: Annotated[
        float | None,
        typer.Option(
            help="Seconds of fade at the start; 5 ms if left out, where a cut would click."
        ),
    ] = None
    fade_out: Annotated[
        float | None, typer.Option(help="Seconds of fade at the end; likewise.")
    ] = None
    window: Annotated[
        str | None,
        typer.Option(help="full (the trained window, trimmed) or fit (only the length)."),
    ] = None
    noise: Annotated[
        str | None, typer.Option(help="item (a stream per seed) or reference (stable-audio-tools).")
    ] = None
    seed: Annotated[int | None, typer.Option(help="Random if left out, and printed.")] = None
    condition: Annotated[
        list[str] | None,
        Sets("conditions"),
        typer.Option(
            metavar="ID=NUMBER",
            help="A number that the model is conditioned on, as bpm=128; repeatable.",
        ),
    ] = None

    def given(self) -> dict[str, Any]:
        """The fields of a `GenerationRequest` that were asked for."""
        from auralith.request_text import parse_conditions, parse_interval, parse_mix, parse_sigmas

        found = given(self)
        for name, parse in (
            ("cfg_interval", parse_interval),
            ("sigmas", parse_sigmas),
            ("mix", parse_mix),
            ("conditions", parse_conditions),
        ):
            if name in found:
                found[name] = parse(found[name])
        return found


@dataclass(frozen=True)
class Loading:
    """Options of the model and where it runs."""

    model: Annotated[
        str | None,
        typer.Option(help="Hub name, folder or checkpoint file; the embedded model if left out."),
    ] = None
    text_encoder: Annotated[
        str | None,
        typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
    ] = None
    weights: WeightsOption = None
    config: ConfigOption = None
    adapter: Annotated[
        list[str] | None,
        typer.Option(help="Adapter to merge into the model, FILE or FILE:STRENGTH; repeatable."),
    ] = None
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16 or float16.")] = None


@dataclass(frozen=True)
class Encoding:
    """Options of a sound file's format."""

    format: Annotated[str | None, typer.Option(help="wav, flac, ogg or mp3.")] = None
    subtype: Annotated[
        str | None,
        typer.Option(
            help="pcm16, pcm24 or float (wav only); pcm16 or, after an edit, what keeps the file's samples."
        ),
    ] = None
    c2pa_cert: Annotated[
        Path | None,
        typer.Option(help="Sign a C2PA manifest with this certificate chain, PEM; not in ogg."),
    ] = None
    c2pa_key: Annotated[Path | None, typer.Option(help="The certificate's private key, PEM.")] = (
        None
    )

    def signer(self, path: Path) -> "ContentSigner | None":
        """Return the signer of files such as `path` if one was asked for; raise `InvalidRequest` where it can't sign them."""
        from auralith.errors import InvalidRequest

        if self.c2pa_cert is None and self.c2pa_key is None:
            return None
        if self.c2pa_cert is None or self.c2pa_key is None:
            raise InvalidRequest("a signature needs both; give --c2pa-cert and --c2pa-key")
        from auralith.content_credentials import open_signer

        signer = open_signer(self.c2pa_cert, self.c2pa_key)
        signer.check_format(path)
        return signer


@dataclass(frozen=True)
class Writing(Encoding):
    """Options for the number of results and where they go."""

    n: Annotated[int, typer.Option("--n", min=1, help="How many: seed, seed+1, …")] = 1
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="File or folder; a name is made up if left out."),
    ] = None
    png: Annotated[bool, typer.Option("--png", help="Also draw waveform and spectrogram.")] = False


def grouped(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as typer should see it: every parameter that is a group is replaced by the group's fields."""
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}

    def command(**given: Any) -> None:
        for name, group in groups.items():
            given[name] = group(**{field.name: given.pop(field.name) for field in fields(group)})
        verb(**given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        if name in groups:
            parameters += [_option(field) for field in fields(groups[name])]
        else:
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(parameter.replace(kind=kind, annotation=hints[name]))
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    return command


def _option(field: Field[Any]) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(field.name, kind, default=field.default, annotation=field.type)
