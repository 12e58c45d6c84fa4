"""The route of prompts for those who have none."""

import secrets
from functools import cache
from random import Random

from auralith.extras import require
from auralith.server.answers import whole
from auralith.server.words import PROMPTS

require("fastapi", "serve")

from fastapi import FastAPI, Response  # noqa: E402 (after its absence was named)
from fastapi.responses import JSONResponse  # noqa: E402

MOST_PROMPTS = 100


def add_prompts(app: FastAPI) -> None:
    """Add the route of prompts."""

    @app.get("/v1/prompts/random")
    def prompts(n: str = "1", seed: str | None = None) -> Response:
        """Return n different prompts, the same ones for a seed."""
        count = whole("n", n, 1, MOST_PROMPTS)
        number = secrets.randbits(32) if seed is None else whole("seed", seed, 0, 2**63)
        return JSONResponse({"prompts": Random(number).sample(_known(), count)})


@cache
def _known() -> list[str]:
    return PROMPTS.read_text(encoding="utf-8").splitlines()
