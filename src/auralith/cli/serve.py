"""`auralith serve`: jobs over HTTP, kept in a folder."""

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.options import COMPILE_HELP, MODEL_HELP, TextEncoderOption

if TYPE_CHECKING:
    from auralith.server.nearest import NearestSounds

GIB = 2**30


def serve(
    data: Annotated[
        Path, typer.Option(help="Folder of jobs, sounds and uploads; made if it is not there.")
    ] = Path("auralith-server"),
    database: Annotated[
        str | None,
        typer.Option(
            help="Database that servers on several machines share, as postgresql://USER@HOST/NAME; without it, "
            "jobs are in a file in the folder. Needs auralith[postgres]."
        ),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help=f"{MODEL_HELP} Repeatable; the first is the default.")
    ] = None,
    text_encoder: TextEncoderOption = None,
    adapters: Annotated[
        Path | None, typer.Option(help="Folder of adapters that requests may name by their id.")
    ] = None,
    device: Annotated[
        list[str] | None,
        typer.Option(help="auto, cpu, cuda, cuda:1 or mps; repeatable, a process for each."),
    ] = None,
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or int8.")] = "auto",
    compile: Annotated[str, typer.Option(metavar="WHEN", help=COMPILE_HELP)] = "off",
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 8765,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="Another name that the server goes by; repeatable.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen beyond this machine without an API key.")
    ] = False,
    keys: Annotated[
        Path | None,
        typer.Option(help="TOML file of API keys, by their hashes, each with its own limits."),
    ] = None,
    webhook_allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="URL",
            help="Beginning of URLs that requests may have told of a job's end; repeatable.",
        ),
    ] = None,
    queue: Annotated[int, typer.Option(min=1, max=100_000, help="Most jobs that wait.")] = 64,
    keep_days: Annotated[
        float, typer.Option(min=0.01, max=36_500, help="Days that finished jobs are kept.")
    ] = 7.0,
    keep_gib: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="GiB of sounds and uploads that are kept.")
    ] = 20.0,
    retries: Annotated[
        int, typer.Option(min=0, max=1_000, help="Attempts after a process died or hung.")
    ] = 1,
    job_timeout: Annotated[
        float,
        typer.Option(
            min=1,
            max=1e6,
            help="Seconds without a sign of life after which a process is ended, and its job made again.",
        ),
    ] = 1_800.0,
    memory: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=1e6,
            help="GiB of models that a process keeps; what was used longest ago goes first. Half of the device's if left out.",
        ),
    ] = None,
    preload: Annotated[
        bool, typer.Option("--preload", help="Load the models before the first job.")
    ] = False,
    batch: Annotated[
        int,
        typer.Option(
            min=1,
            max=16,
            help="Sounds of a job that are made at a time; with more than one they equal lone ones to rounding.",
        ),
    ] = 1,
    review: Annotated[
        Path | None,
        typer.Option(help="Folder of a curation, or of memorization's --review, to decide on."),
    ] = None,
    training: Annotated[
        Path | None,
        typer.Option(
            help="Manifest or folder of the training sounds that outputs are compared with."
        ),
    ] = None,
    training_work: Annotated[
        Path | None,
        typer.Option(help="Folder of their embeddings, that of attribute; made if need be."),
    ] = None,
    training_null: Annotated[
        Path | None,
        typer.Option(
            help="Folder, or table, of real recordings that were never trained on, for p-values."
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            help="Address of a Ray cluster to serve on, as HOST:PORT, auto or local; needs --database and auralith[ray].",
        ),
    ] = None,
    replicas: Annotated[
        int, typer.Option(min=1, max=10_000, help="Servers on the cluster, each with one device.")
    ] = 1,
    grace: Annotated[
        float, typer.Option(min=0, max=3_600, help="Seconds that a running job has at the end.")
    ] = 10.0,
) -> None:
    """Take jobs over HTTP and make them, one after another on each device. Nothing that was accepted is lost."""
    from auralith.errors import Field, InvalidRequest
    from auralith.jobs.lanes import Attempts
    from auralith.jobs.records import Limits
    from auralith.server.run import (
        Address,
        chosen_devices,
        require_compilable,
        require_fitting,
        require_loadable,
        serve,
    )
    from auralith.server.service import ServiceSettings, model_places
    from auralith.server.webhooks import SECRET_VARIABLE, webhook_settings

    settings = ServiceSettings(
        data=data,
        models=model_places(model or (), text_encoder),
        devices=tuple(device or ("auto",)),
        dtype=dtype,
        compile=compile,
        adapters=adapters,
        limits=Limits(queue, float(keep_days), int(keep_gib * GIB)),
        attempts=Attempts(retries, float(job_timeout)),
        memory_bytes=None if memory is None else int(memory * GIB),
        batch=batch,
        preload=preload,
        database=database,
        webhooks=webhook_settings(tuple(webhook_allow or ()), os.environ.get(SECRET_VARIABLE, "")),
    )
    address = Address(host, port, tuple(allow_host or ()), insecure, float(grace), keys)
    if ray is not None:
        from auralith.server.cluster import serve_on_cluster

        for name, one in (("review", review), ("training", training)):
            if one is not None:
                raise InvalidRequest(
                    Field(name), " is for one server; leave ", Field("ray"), " out"
                )
        serve_on_cluster(settings, address, ray, replicas, announce)
        return
    if replicas != 1:
        raise InvalidRequest(Field("replicas"), " are for a cluster; name it with --ray")
    chosen_devices(settings.devices, dtype)
    require_compilable(settings)
    require_loadable(settings)
    require_fitting(settings)
    known = nearest_sounds(training, training_work, training_null)
    serve(settings, address, partial(announce, has_review=review is not None), review, known)


def nearest_sounds(
    training: Path | None, work: Path | None, null: Path | None
) -> "NearestSounds | None":
    """Return the training sounds, embedded and indexed; that takes time where it wasn't done."""
    from auralith.errors import Field, InvalidRequest

    if training is None:
        if work is not None or null is not None:
            given = "training_null" if work is None else "training_work"
            raise InvalidRequest(
                Field(given), " goes with ", Field("training"), "; give that, or leave it out"
            )
        return None
    if work is None:
        raise InvalidRequest(
            Field("training"), " needs a folder for embeddings; give ", Field("training_work")
        )
    from auralith.cli.memorization import prepared
    from auralith.data.recordings import open_recordings
    from auralith.embedders import open_embedder
    from auralith.server.nearest import NearestSounds

    embedder = open_embedder("mel", None, "cpu")
    known = prepared(open_recordings(training, prompt_column=None), embedder, work, "cpu")
    held_out = None if null is None else open_recordings(null, prompt_column=None)
    return NearestSounds(known, embedder, work, held_out)


def announce(url: str, has_review: bool = False) -> None:
    """Say where the server is, and its review, and how to get its pages if it has none."""
    from auralith.server.page import HOW_TO_BUILD, has_page

    if not has_page():
        print(HOW_TO_BUILD, file=sys.stderr)
    elif has_review:
        print(f"the review is at {url}/review", file=sys.stderr)
    print(f"serving on {url}", file=sys.stderr, flush=True)
