"""The studio's page: its own files, and modules that `make studio` has npm put beside them, with a policy for the browser."""

import re
import secrets
from pathlib import Path

from auralith.extras import require
from auralith.jobs.records import Unknown

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
_ENTRY = re.compile(r'<script type="module" src="studio/(.+)"></script>')
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
    texts = {name: _with_preloads(f"{name}.html") for name in ("index", "review")}

    @app.get("/", include_in_schema=False)
    def page() -> Response:
        return _page(texts["index"])

    @app.get("/review", include_in_schema=False)
    def review() -> Response:
        if not has_review:
            raise Unknown("no review is served; start auralith serve with --review FOLDER")
        return _page(texts["review"])

    @app.get("/studio/{name:path}", include_in_schema=False)
    def file(name: str) -> Response:
        if name not in files:
            raise Unknown("there is no such file of the page")
        path = files[name]
        headers = {"Cache-Control": "no-cache"}
        return FileResponse(path, media_type=MEDIA[path.suffix], headers=headers)


def _with_preloads(name: str) -> str:
    """Return the text of a page that names all its modules, so that a browser need not find them one after another."""
    text = (FOLDER / name).read_text("utf-8")
    entry = _ENTRY.search(text)
    assert entry is not None
    found = dict.fromkeys([entry[1]])
    for module in (waiting := [entry[1]]):
        new = _IMPORT.findall((FOLDER / module).read_text("utf-8"))
        waiting += [one for one in new if one not in found]
        found |= dict.fromkeys(new)
    links = (f'<link rel="modulepreload" href="studio/{module}">\n' for module in found)
    return text.replace(entry[0], "".join(links) + entry[0])


def _page(text: str) -> Response:
    """Return a page with a nonce that is drawn for it."""
    nonce = secrets.token_urlsafe(16)
    headers = {"Content-Security-Policy": POLICY.format(nonce), "Cache-Control": "no-store"}
    return Response(text.replace("NONCE", nonce), media_type="text/html", headers=headers)
