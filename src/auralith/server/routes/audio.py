"""Routes of sounds that were made: bytes, peaks, a picture and provenance."""

from auralith.extras import require
from auralith.jobs.names import FORMATS, Format
from auralith.jobs.records import Unknown
from auralith.provenance import read_provenance
from auralith.server.answers import MEDIA, outline_answer, owner_of
from auralith.server.converting import converted, format_of
from auralith.server.service import Service
from auralith.sound.peaks import read_outline
from auralith.sound.picture import spectrogram_png
from auralith.sound.reading import read

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.responses import FileResponse, JSONResponse  # noqa: E402


def add_audio(app: FastAPI, service: Service) -> None:
    """Add the routes of sounds."""
    store = service.store

    @app.get("/v1/audio/{sound_id}")
    def audio(sound_id: str, request: Request, format: str | None = None) -> Response:
        """Return the bytes of a sound that was made, perhaps in another format, or of an upload."""
        if format is not None:
            return _converted(sound_id, request, format_of(format))
        one = store.sound(sound_id, owner_of(request))
        tag = f'"{one.facts["sha256"]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        is_upload = not one.path.suffix  # of which a browser is not to guess the type
        return FileResponse(
            one.path,
            media_type="application/octet-stream" if is_upload else MEDIA[one.path.suffix[1:]],
            filename=f"auralith-{one.path.name if is_upload else one.id + one.path.suffix}",
            content_disposition_type="attachment" if is_upload else "inline",
            headers=headers,
        )

    def _converted(sound_id: str, request: Request, name: Format) -> Response:
        one = store.output(sound_id, owner_of(request))  # an upload is decoded under limits alone
        suffix = FORMATS[name][0]
        headers = {"Content-Disposition": f'inline; filename="auralith-{one.id}.{suffix}"'}
        return Response(converted(one.path, name), media_type=MEDIA[suffix], headers=headers)

    @app.get("/v1/audio/{sound_id}/peaks")
    def peaks(sound_id: str, request: Request, n: str = "1024") -> Response:
        """Return the lowest and the highest sample of n stretches."""
        path = store.output(sound_id, owner_of(request)).path
        return outline_answer(n, lambda count: read_outline(path, count))

    @app.get("/v1/audio/{sound_id}/spectrogram.png")
    def spectrogram(sound_id: str, request: Request) -> Response:
        waveform, sample_rate = read(store.output(sound_id, owner_of(request)).path)
        return Response(spectrogram_png(waveform, sample_rate), media_type="image/png")

    @app.get("/v1/audio/{sound_id}/provenance")
    def provenance(sound_id: str, request: Request) -> Response:
        path = store.output(sound_id, owner_of(request)).path
        return JSONResponse(read_provenance(path).to_tags())

    @app.get("/v1/audio/{sound_id}/nearest")
    def nearest(sound_id: str, request: Request) -> Response:
        """Return the training sounds that a sound is nearest to, where an index of them is loaded."""
        one = store.output(sound_id, owner_of(request))
        known = service.training
        if known is None:
            raise Unknown(
                "no training sounds are loaded; start auralith serve with --training and --training-work"
            )
        return JSONResponse({"nearest": known.of(one.path, one.facts["sha256"])})

    @app.put("/v1/audio/{sound_id}/star")
    def star(sound_id: str, request: Request) -> Response:
        """Keep a sound until it is deleted by hand."""
        return _starred(sound_id, request, True)

    @app.delete("/v1/audio/{sound_id}/star")
    def unstar(sound_id: str, request: Request) -> Response:
        return _starred(sound_id, request, False)

    def _starred(sound_id: str, request: Request, is_starred: bool) -> Response:
        store.output(sound_id, owner_of(request))
        return JSONResponse(service.view_output(store.star(sound_id, is_starred)))
