"""Description of each route: summary, parameters, body, answers and errors, with examples that the server takes."""

from typing import get_args

from auralith.jobs.names import FORMATS
from auralith.jobs.records import Status
from auralith.server.answers import MEDIA
from auralith.server.openapi.parts import answer, json_answer, operation, parameter
from auralith.server.openapi.schemas import (
    ASSET_ID,
    COUNT,
    JOB_ID,
    NUMBER,
    SOUND_ID,
    TEXT,
    Json,
    record,
    ref,
)

REQUESTS: dict[str, Json] = {
    "text": {"prompt": "rain on a tin roof", "seconds": 4.0, "seed": "9007199254740993", "n": 2},
    "of_other_programs": {
        "input": "rain on a tin roof",
        "duration": 4.0,
        "num_inference_steps": 20,
        "guidance_scale": 5.0,
        "response_format": "flac",
    },
    "vary": {"task": "vary", "prompt": "hail", "source": ASSET_ID, "strength": 0.4},
    "inpaint": {
        "task": "inpaint",
        "prompt": "thunder",
        "source": SOUND_ID,
        "regions": [[0.1, 0.2]],
    },
    "extend": {"task": "extend", "prompt": "rain", "source": ASSET_ID, "seconds": 8.0},
    "loop": {"task": "loop", "prompt": "120 BPM house drum loop", "bpm": 120, "bars": 1},
}
"""Requests for jobs, one for each task."""
ONE_SOUND: Json = {"prompt": "rain on a tin roof", "seconds": 4.0, "format": "flac"}
EVENTS = (
    'id: 1\nevent: state\ndata: {"status": "queued"}\n\n'
    'id: 2\nevent: state\ndata: {"status": "running"}\n\n'
    'id: 3\nevent: step\ndata: {"stage": "denoising", "sound": 1, "step": 1, "of": 30}\n\n'
    f'id: 9\nevent: output\ndata: {{"id": "{SOUND_ID}", "seconds": 4.0}}\n\n'
    'id: 10\nevent: end\ndata: {"status": "succeeded"}\n\n'
)
NEAREST: Json = {
    "nearest": [
        {
            "id": "rain/12.wav",
            "p_value": 0.31,
            "cosine": 0.87,
            "author": "Ada",
            "license": "CC-BY-4.0",
            "url": "https://example.org/12",
        }
    ]
}


def operations() -> dict[tuple[str, str], Json]:
    """Return what is said of each route, by method and path."""
    return {**_jobs(), **_sounds(), **_facts(), **_probes()}


def _body(examples: dict[str, Json]) -> Json:
    shown = {name: {"value": example} for name, example in examples.items()}
    return {"application/json": {"schema": ref("Request"), "examples": shown}}


def _sound_content() -> Json:
    return {media: {"schema": {"contentMediaType": media}} for media in MEDIA.values()}


JOB = parameter("path", "job_id", TEXT, "Id of a job.", JOB_ID)
SOUND = parameter("path", "sound_id", TEXT, "Id of a sound that was made.", SOUND_ID)
KEY = parameter(
    "header",
    "Idempotency-Key",
    TEXT | {"pattern": "^[!-~]{1,255}$"},
    "Known for a day: with the same body it gives the same job, with another one 422.",
    "order-1",
)
NO_CONTENT: Json = {"description": "It is deleted."}


def _jobs() -> dict[tuple[str, str], Json]:
    a_job = json_answer(ref("Job"), "The job.")
    accepted = {
        "Location": "Path of the job.",
        "Retry_After": "Seconds after which it may have ended.",
    }
    listed = record(
        {"jobs": {"type": "array", "items": ref("Job")}, "cursor": {"type": ["string", "null"]}}
    )
    wait = parameter(
        "header", "Prefer", TEXT, "wait=N waits N s for its end, 60 at most.", "wait=1"
    )
    last = parameter("header", "Last-Event-ID", TEXT, "Go on after this event.", "2")
    query = (
        ("status", {"enum": list(get_args(Status))}, "Jobs of this status.", "succeeded"),
        ("limit", {"type": "integer", "minimum": 1, "maximum": 200}, "Most jobs.", 20),
        ("cursor", TEXT, "`cursor` of the page before.", "100"),
        (
            "search",
            TEXT,
            "Words that the prompt or the label has, in any order and case.",
            "rain roof",
        ),
        ("starred", {"type": "boolean"}, "Jobs of which a sound is starred.", False),
        ("source", TEXT, "Jobs that start from this sound.", SOUND_ID),
    )
    number = parameter("path", "number", COUNT, "Number of the preview, as its event says.", 1)
    return {
        ("get", "/v1/jobs/{job_id}/preview/{number}"): operation(
            "preview",
            "Hear what a running job has so far",
            {
                "200": answer(
                    "A sound.", {"audio/wav": {"schema": {"contentMediaType": "audio/wav"}}}
                )
            },
            *(404, 422),
            parameters=(JOB, number),
        ),
        ("post", "/v1/audio/generations"): operation(
            "submit",
            "Submit a job",
            {
                "200": json_answer(
                    ref("Job"), "The job, which ended within the time of Prefer: wait."
                ),
                "202": json_answer(ref("Job"), "The job, accepted and on the disk.", **accepted),
            },
            *(400, 404, 422, 507),
            parameters=(KEY, wait),
            body=_body(REQUESTS),
        ),
        ("post", "/v1/estimates"): operation(
            "estimate",
            "What a request would take, without making it",
            {"200": json_answer(ref("Estimate"), "Its time and memory.")},
            *(400, 404, 422),
            body=_body(REQUESTS),
        ),
        ("post", "/v1/audio/generate"): operation(
            "generate",
            "Make one sound and answer with it, in the shape of vLLM-Omni",
            {
                "200": answer(
                    "The sound.", _sound_content(), X_Job_Id="Its job.", X_Seed="Its seed."
                )
            },
            *(400, 404, 409, 422, 507),
            parameters=(KEY,),
            body=_body({"one": ONE_SOUND}),
        ),
        ("get", "/v1/jobs"): operation(
            "listJobs",
            "List jobs, the newest first",
            {"200": json_answer(listed, "Jobs, and the cursor of the next page; null at the end.")},
            422,
            parameters=tuple(parameter("query", *one) for one in query),
        ),
        ("get", "/v1/jobs/{job_id}"): operation(
            "job", "Look at a job", {"200": a_job}, 404, parameters=(JOB,)
        ),
        ("delete", "/v1/jobs/{job_id}"): operation(
            "cancel",
            "Cancel a job, or delete one that has ended, with its sounds",
            {
                "202": json_answer(ref("Job"), "The job, which is cancelled at its next step."),
                "204": NO_CONTENT,
            },
            *(404, 409),
            parameters=(JOB,),
        ),
        ("get", "/v1/jobs/{job_id}/events"): operation(
            "events",
            "Follow a job by server-sent events: state, step, preview, output and end",
            {
                "200": answer(
                    "Events, to the end of the job; a comment every 15 s; shutdown where the server stops.",
                    {"text/event-stream": {"schema": TEXT, "example": EVENTS}},
                )
            },
            404,
            parameters=(JOB, last),
        ),
    }


def _sounds() -> dict[tuple[str, str], Json]:
    values = {"type": "array", "items": NUMBER}
    outline = record({"sample_rate": COUNT, "num_samples": COUNT, "min": values, "max": values})
    form = record({"file": {"contentMediaType": "application/octet-stream"}})
    upload = {"id": ASSET_ID, "seconds": 0.5, "num_samples": 22_050, "sample_rate": 44_100}
    upload |= {"channels": 2, "codec": "pcm_16", "sha256": "0" * 64, "request": None}
    asset = parameter("path", "asset_id", TEXT, "Id of an upload.", ASSET_ID)
    stretches = {"type": "integer", "minimum": 1, "maximum": 8_192}
    files = _sound_content() | {"application/octet-stream": {"schema": {}}}
    starred = {"200": json_answer(ref("Output"), "The sound.")}
    near = record({"nearest": {"type": "array", "items": {"type": "object"}}})
    return {
        ("get", "/v1/audio/{sound_id}"): operation(
            "sound",
            "Fetch a sound that was made, or an upload",
            {
                "200": answer("The file.", files, ETag="Its SHA-256, quoted."),
                "206": answer("Part of the file.", files),
                "304": {"description": "The file is as it was."},
            },
            *(404, 416, 422),
            parameters=(
                SOUND,
                parameter(
                    *("query", "format", {"enum": list(FORMATS)}),
                    "Format to convert to, of a sound that was made; as it is, if left out.",
                    "flac",
                ),
                parameter("header", "Range", TEXT, "Part of the file.", "bytes=0-99"),
                parameter("header", "If-None-Match", TEXT, "ETag of what is there.", '"0"'),
            ),
        ),
        ("get", "/v1/audio/{sound_id}/peaks"): operation(
            "peaks",
            "Lowest and highest sample of stretches of a sound",
            {"200": json_answer(outline, "As many of each as stretches.")},
            *(404, 422),
            parameters=(SOUND, parameter("query", "n", stretches, "Number of stretches.", 8)),
        ),
        ("get", "/v1/audio/{sound_id}/spectrogram.png"): operation(
            "spectrogram",
            "Waveform and spectrogram of a sound",
            {
                "200": answer(
                    "A picture.", {"image/png": {"schema": {"contentMediaType": "image/png"}}}
                )
            },
            404,
            parameters=(SOUND,),
        ),
        ("get", "/v1/audio/{sound_id}/provenance"): operation(
            "provenance",
            "How a sound was made",
            {"200": json_answer({"type": "object"}, "The tags of its file.")},
            404,
            parameters=(SOUND,),
        ),
        ("get", "/v1/audio/{sound_id}/nearest"): operation(
            "nearest",
            "The training sounds that a sound is nearest to, where an index of them is loaded",
            {
                "200": json_answer(
                    near, "The nearest first, with what their manifest says.", NEAREST
                )
            },
            *(404, 422),
            parameters=(SOUND,),
        ),
        ("put", "/v1/audio/{sound_id}/star"): operation(
            "star",
            "Star a sound, so that it is kept until it is deleted by hand",
            starred,
            404,
            parameters=(SOUND,),
        ),
        ("delete", "/v1/audio/{sound_id}/star"): operation(
            "unstar", "Take the star of a sound", starred, 404, parameters=(SOUND,)
        ),
        ("post", "/v1/assets"): operation(
            "upload",
            "Upload a sound, which decoding decides",
            {
                "201": json_answer(
                    ref("Asset"), "The upload; its id is the source of an edit.", upload
                )
            },
            *(400, 415, 422, 507),
            body={"multipart/form-data": {"schema": form}},
        ),
        ("delete", "/v1/assets/{asset_id}"): operation(
            "deleteUpload",
            "Delete an upload",
            {"204": NO_CONTENT},
            *(404, 409),
            parameters=(asset,),
        ),
    }


def _facts() -> dict[tuple[str, str], Json]:
    things = {"type": "array", "items": record({"id": TEXT})}
    prompts = {"type": "array", "items": TEXT}
    said = {key: {"type": ["string", "null"]} for key in ("license", "license_text", "card")}
    number = {"type": "integer", "minimum": 1, "maximum": 100}
    seed = {"type": "integer", "minimum": 0}
    return {
        ("get", "/v1/models"): operation(
            "models",
            "Models, and what each takes and makes",
            {"200": json_answer(record({"models": things}), "The models, the default first.")},
        ),
        ("get", "/v1/models/{name}/card"): operation(
            "card",
            "License and card of a model, where they lie beside its weights",
            {"200": json_answer(record({"id": TEXT, **said}), "What is there, as text.")},
            404,
            parameters=(parameter("path", "name", TEXT, "Id of a model.", "embedded"),),
        ),
        ("get", "/v1/models/{name}/config"): operation(
            "modelConfig",
            "Config of a model in the form of model_config.json, and the hash of its files",
            {
                "200": json_answer(
                    record({"id": TEXT, "model_hash": TEXT, "config": {"type": "object"}}),
                    "What it takes to resolve requests as the model does.",
                )
            },
            404,
            parameters=(parameter("path", "name", TEXT, "Id of a model.", "embedded"),),
        ),
        ("get", "/v1/adapters/{name}"): operation(
            "adapter",
            "Hash of an adapter's file, as provenance has it",
            {"200": json_answer(record({"id": TEXT, "file_hash": TEXT}), "The adapter.")},
            *(404, 422),
            parameters=(parameter("path", "name", TEXT, "Id of an adapter.", "warm"),),
        ),
        ("get", "/v1/adapters"): operation(
            "adapters",
            "Adapters that requests may name",
            {
                "200": json_answer(
                    record({"adapters": things}), "Their ids.", {"adapters": [{"id": "warm"}]}
                )
            },
        ),
        ("get", "/v1/limits"): operation(
            "limits",
            "Limits of requests, and of what is kept",
            {"200": json_answer({"type": "object"}, "The limits.")},
        ),
        ("get", "/v1/prompts/random"): operation(
            "randomPrompts",
            "Prompts for those who have none",
            {
                "200": json_answer(
                    record({"prompts": prompts}), "Prompts.", {"prompts": ["a deep kick drum"]}
                )
            },
            422,
            parameters=(
                parameter("query", "n", number, "How many.", 3),
                parameter("query", "seed", seed, "The same prompts for the same seed.", 7),
            ),
        ),
    }


def _probes() -> dict[tuple[str, str], Json]:
    ready = record({"status": TEXT, "models": {"type": "array", "items": {"type": "object"}}})
    status = json_answer(record({"status": TEXT}), "It is.", {"status": "alive"})
    return {
        ("get", "/healthz"): operation(
            "alive", "Whether the process answers", {"200": status}, is_open=True
        ),
        ("get", "/readyz"): operation(
            "ready",
            "Whether jobs are taken and made",
            {"200": json_answer(ready, "They are.", {"status": "ready", "models": []})},
            *(503, 507),
            is_open=True,
        ),
        ("get", "/metrics"): operation(
            "metrics",
            "Numbers for Prometheus",
            {"200": answer("Its text format.", {"text/plain": {"schema": TEXT}})},
        ),
    }
