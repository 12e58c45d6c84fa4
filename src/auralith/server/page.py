"""The studio's page: its own files, and modules that `make studio` has npm put beside them, with a policy for the browser."""

import re
import secrets
from pathlib import Path
from typing import Any

from auralith.extras import require
from auralith.jobs.records import Unknown
from auralith.pages import template

require("fastapi", "serve")

from fastapi import FastAPI, Response  # noqa: E402 (after its absence was named)
from fastapi.responses import FileResponse  # noqa: E402

FOLDER = Path(__file__).parent / "studio"
MEDIA = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
MODULES = (
    "node_modules/htm/dist/htm.module.js",
    "node_modules/preact/dist/preact.mjs",
    "node_modules/wavesurfer.js/dist/plugins/regions.esm.js",
    "node_modules/wavesurfer.js/dist/plugins/spectrogram.esm.js",
    "node_modules/wavesurfer.js/dist/wavesurfer.esm.js",
)
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{}'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_IMPORT = re.compile(r"^import .* from '\./(.+)';$", re.MULTILINE)
_PAGES: dict[str, dict[str, Any]] = {
    "/": {
        "title": "Studio",
        "entry": "app.js",
        "styles": ("style.css",),
        "without_script": "The studio needs JavaScript; what it does can be had from the API too.",
    },
    "/review": {
        "title": "Review",
        "entry": "review.js",
        "styles": ("style.css", "review.css"),
        "without_script": "The review needs JavaScript; auralith curate review does the same on the command line.",
    },
}
HOW_TO_BUILD = "the studio page is not built; run make studio to get it"


def has_page() -> bool:
    """Return whether the modules that the page needs are there."""
    return all((FOLDER / name).is_file() for name in MODULES)


def add_page(app: FastAPI, has_review: bool = False) -> None:
    """Serve the studio at /, the review at /review, and their files below /studio/.

    Only names that are known now are served, whatever is asked for.
    """
    own = [path.name for path in FOLDER.iterdir() if path.suffix in MEDIA]
    files = {name: FOLDER / name for name in (*own, *MODULES)}
    frame = template("auralith.server", "page.html.j2")
    modules = {path: _modules(about["entry"]) for path, about in _PAGES.items()}

    def answer(path: str) -> Response:
        """Return a page with a nonce that is drawn for it."""
        nonce = secrets.token_urlsafe(16)
        headers = {"Content-Security-Policy": POLICY.format(nonce), "Cache-Control": "no-store"}
        text = frame.render(nonce=nonce, modules=modules[path], **_PAGES[path])
        return Response(text, media_type="text/html", headers=headers)

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return answer("/")

    @app.get("/review", include_in_schema=False)
    def review() -> Response:
        if not has_review:
            raise Unknown("no review is served; start auralith serve with --review FOLDER")
        return answer("/review")

    @app.get("/studio/{name:path}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in files:
            raise Unknown("there is no such file of the page")
        path = files[name]
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(path, media_type=MEDIA[path.suffix], headers=headers)


def _modules(entry: str) -> list[str]:
    """Return all modules of a page, so that a browser need not find them one after another."""
    found = [entry]
    for module in found:
        imported = _IMPORT.findall((FOLDER / module).read_text("utf-8"))
        found += dict.fromkeys(one for one in imported if one not in found)
    return found
