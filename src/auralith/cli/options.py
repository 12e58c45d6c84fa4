"""Options that several verbs have, each stated once: those of fields, and groups for the model and what is written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options, Sets

if TYPE_CHECKING:
    from auralith.content_credentials import ContentSigner

REQUEST = "auralith.request.GenerationRequest"
Sampling = Annotated[
    Given,
    Options(
        REQUEST,
        negative="negative_prompt",
        mix=Sets("mix", metavar="WEIGHT:PROMPT", repeated=True),
        fast="fast",
        steps="steps",
        cfg="cfg_scale",
        rescale="cfg_rescale",
        interval=Sets("cfg_interval", metavar="FROM-TO"),
        apg_eta="apg_eta",
        apg_norm_threshold="apg_norm_threshold",
        apg_momentum="apg_momentum",
        sampler="sampler",
        sigma_min="sigma_min",
        sigma_max="sigma_max",
        schedule="schedule",
        rho="rho",
        sigmas=Sets("sigmas", metavar="S,S,..."),
        fade_in="fade_in",
        fade_out="fade_out",
        window="window",
        noise="noise",
        seed="seed",
        condition=Sets("conditions", metavar="ID=NUMBER", repeated=True),
        cache_threshold="cache_threshold",
        normalize="normalize",
    ),
]
"""Options of sampling and guidance; `request_fields` reads their texts."""
Seconds = Annotated[Given, Options(REQUEST, seconds="seconds_total")]

DatasetArgument = Annotated[
    Path,
    typer.Argument(
        help="Table (.csv, .tsv, .jsonl, .json, .parquet) with path and prompt, folder of sounds, or .tar shards."
    ),
]
MODEL_HELP = "Hub name, folder or checkpoint file; the embedded model if left out."
ModelOption = Annotated[str | None, typer.Option("--model", help=MODEL_HELP)]
TextEncoderOption = Annotated[
    str | None,
    typer.Option(help="Hub name or folder of the T5 encoder, if not beside the model."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(help="Name of the weights file, where a folder or repository has several."),
]
ConfigOption = Annotated[
    str | None, typer.Option(help="The model's config, if it is not beside the weights.")
]
PathColumn = Annotated[str, typer.Option(help="Column of the sound files.")]
COMPILE_HELP = (
    "on, auto or off: have torch compile the transformer, about a minute the first time on a machine; auto does "
    "without where there is no compiler. Left out: off."
)
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def request_fields(sampling: Given) -> Given:
    """Return the fields of a `GenerationRequest` that were asked for."""
    from auralith.request_text import parse_conditions, parse_interval, parse_mix, parse_sigmas

    parsers = {
        "cfg_interval": parse_interval,
        "sigmas": parse_sigmas,
        "mix": parse_mix,
        "conditions": parse_conditions,
    }
    read = {name: parse(sampling[name]) for name, parse in parsers.items() if sampling.get(name)}
    return sampling | read


@dataclass(frozen=True)
class Loading:
    """Options of the model and where it runs."""

    model: ModelOption = None
    text_encoder: TextEncoderOption = None
    weights: WeightsOption = None
    config: ConfigOption = None
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="Adapter to merge into the model: FILE or FILE:STRENGTH, which ,levels=LOW-HIGH (noise, 0 to 1) and ,skip=LAYER may follow; repeatable."
        ),
    ] = None
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = None
    dtype: Annotated[str | None, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = (
        None
    )
    compile: Annotated[str | None, typer.Option(metavar="WHEN", help=COMPILE_HELP)] = None


@dataclass(frozen=True)
class Place(Loading):
    """Options of the model and where it runs: here, or on a server."""

    server: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Let a server of auralith serve do it; models and adapters are then named as it calls them.",
        ),
    ] = None


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
