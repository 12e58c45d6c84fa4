"""Routes of uploads."""

from auralith.errors import InvalidRequest
from auralith.extras import require
from auralith.server.answers import owner_of
from auralith.server.service import Service
from auralith.server.uploads import keep_upload

require("fastapi", "serve")
require("python_multipart", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402


def add_assets(app: FastAPI, service: Service) -> None:
    """Add the routes of uploads."""
    store = service.store

    @app.post("/v1/assets", status_code=201)
    async def upload(request: Request) -> Response:
        """Keep a sound, sent as the part "file" of a form."""
        async with request.form(max_files=1, max_fields=0) as form:
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise InvalidRequest(
                    "there is no file; send it as the part file of multipart/form-data"
                )
            owner, name = owner_of(request) or "", file.filename or ""
            kept = await run_in_threadpool(keep_upload, store, file.file, owner, name=name)
            request_of = await run_in_threadpool(service.remaking, kept)
        return JSONResponse({"id": kept.id, **kept.facts, "request": request_of}, 201)

    @app.delete("/v1/assets/{asset_id}")
    def delete_upload(asset_id: str, request: Request) -> Response:
        store.delete_asset(asset_id, owner_of(request))
        return Response(status_code=204)
