"""Routes of a review: items for a reviewer, their sounds, decisions, progress and agreement.

Everything is read from and written to the log in the curation's folder by the functions of `auralith.curation.review`, as
the command line does. A sound is named by its item and its side; no path comes in or goes out. Recordings come from strangers,
so they are decoded where uploads are, in a confined process.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from auralith.curation import review
from auralith.errors import Field, InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.orders import parse_body
from auralith.jobs.problems import make_problem
from auralith.jobs.records import Unknown
from auralith.numbers import check_number
from auralith.server.answers import outline_answer, problem_answer, whole
from auralith.server.confined import lengths, outline, stretch
from auralith.server.openapi.reviewing import review_operations
from auralith.settings import build_settings
from auralith.sound.excerpt import excerpt_wav

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import FileResponse, JSONResponse  # noqa: E402

PREFIX = "/v1/review"
OPERATIONS = review_operations(review.CHOICES)
"""Descriptions of the routes."""
MOST_LISTED = 500
MOST_MATCHES = 20
LONGEST_EXCERPT = 120.0
"""Seconds of a sound that are sent at once."""
_LONGEST_TEXT = 2_000
_VIEWS = ("open", "conflicts", "decided")
_MEDIA = {
    **dict.fromkeys((".wav", ".wave"), "audio/wav"),
    **dict.fromkeys((".ogg", ".oga", ".opus"), "audio/ogg"),
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
}


@dataclass(frozen=True)
class Answer:
    """A decision as a reviewer sends it."""

    reviewer: str
    decision: str
    """keep, remove or unsure."""
    reason: str | None = None
    """Reason code; none for unsure."""
    note: str = ""
    replaces: int | None = None
    """`revision` of the reviewer's own decision that it replaces; none for a first one."""


@dataclass(frozen=True)
class Stretch:
    """A stretch of a sound."""

    start: float = 0.0
    """Start in seconds; may be negative, which gives silence."""
    seconds: float = 30.0
    """Length."""

    def __post_init__(self) -> None:
        check_number(self, "start", "s", least=-LONGEST_EXCERPT)
        check_number(self, "seconds", "s", above=0.0, most=LONGEST_EXCERPT)


def add_review(app: FastAPI, folder: Path) -> None:
    """Add the routes of the review in a curation's folder. Raises `InvalidRequest` if none was begun there."""
    review.cases(folder)
    _add_lists(app, folder)
    _add_items(app, folder)
    _add_sounds(app, folder)


def _add_lists(app: FastAPI, folder: Path) -> None:
    @app.get(PREFIX)
    def rules() -> Response:
        """Return the decisions, with the reasons that each takes."""
        choices = {name: list(codes) for name, codes in review.CODES.items()}
        return JSONResponse({"decisions": choices})

    @app.get(f"{PREFIX}/reviewers")
    def reviewers() -> Response:
        """Return everybody who has decided on items."""
        found = review.reviewers(review.cases(folder))
        return JSONResponse({"reviewers": [asdict(one) for one in found]})

    @app.get(f"{PREFIX}/progress")
    def progress(reviewer: str = "") -> Response:
        """Return how far each stage is, and how many items are left for a reviewer."""
        name = review.reviewer_name(reviewer) if reviewer else ""
        found = review.progress(review.cases(folder), name)
        return JSONResponse({"stages": {stage: asdict(one) for stage, one in found.items()}})

    @app.get(f"{PREFIX}/agreement")
    def agreement() -> Response:
        """Return Cohen's kappa of first and second decisions of each stage; null where it is undefined."""
        return JSONResponse({"stages": [_agreement(one) for one in review.agreement(folder)]})

    @app.get(f"{PREFIX}/items")
    def items(
        reviewer: str, view: str = "open", stage: str | None = None, limit: str = "100"
    ) -> Response:
        """Return items for a reviewer: open, in the order of review; conflicts; or decided, the latest first."""
        if view not in _VIEWS:
            raise InvalidRequest(f"view is {shown(view)}; give one of {', '.join(_VIEWS)}")
        name, most = review.reviewer_name(reviewer), whole("limit", limit, 1, MOST_LISTED)
        found = review.seen_by(review.cases(folder), name, view)
        chosen = [case for case in found if stage in (None, case.item.stage)]
        part = chosen[:most]
        texts = review.titles(folder, part)
        listed = [
            _listed(case, name) | {"title": title} for case, title in zip(part, texts, strict=True)
        ]
        return JSONResponse({"items": listed, "total": len(chosen)})


def _listed(case: review.Case, reviewer: str) -> dict[str, Any]:
    own = case.decision_of(reviewer)
    facts = {name: getattr(case.item, name) for name in ("stage", "tier", "score", "rec_id")}
    return {"id": case.item.item_id, **facts, "decision": own.decision if own else None}


def _agreement(one: review.Agreement) -> dict[str, Any]:
    counts = {f"{first}/{second}": n for (first, second), n in one.counts.items() if n}
    return {"stage": one.stage, "items": one.num_items, "kappa": one.kappa, "counts": counts}


def _add_items(app: FastAPI, folder: Path) -> None:
    @app.get(f"{PREFIX}/items/{{item_id}}")
    def item(item_id: str, reviewer: str = "") -> Response:
        """Return an item as a reviewer may see it: both sides, evidence, and decisions of others once it is settled."""
        return JSONResponse(_shown_item(folder, item_id, reviewer))

    @app.post(f"{PREFIX}/items/{{item_id}}/decisions", status_code=201)
    async def decide(item_id: str, request: Request) -> Response:
        """Record a decision. One that rests on a state that has changed is answered by 409, and nothing is written."""
        body = parse_body(await request.body())
        request.state.body = body
        if not isinstance(body, dict):
            raise InvalidRequest(f"the body is {shown(body)}; send one JSON object")
        try:
            return await run_in_threadpool(_decide, folder, item_id, body)
        except review.Outdated as error:
            return problem_answer(make_problem(409, "outdated", str(error)))


def _decide(folder: Path, item_id: str, body: dict[str, Any]) -> Response:
    one = build_settings(Answer, body)
    try:
        recorded = review.decide(
            folder, item_id, one.reviewer, one.decision, one.reason, one.note, one.replaces
        )
    except review.UnknownItem as error:
        raise Unknown(str(error)) from error
    return JSONResponse({"state": recorded.state, **_decision(recorded.decision)}, 201)


def _decision(one: review.Decision) -> dict[str, Any]:
    names = ("reviewer", "role", "decision", "note", "at", "revision")
    return {name: getattr(one, name) for name in names} | {"reason": one.reason_code}


def _view(folder: Path, item_id: str, reviewer: str = "") -> review.ItemView:
    """Return an item. Raises `Unknown` if there is none."""
    try:
        return review.view_item(folder, item_id, reviewer or None)
    except review.UnknownItem as error:
        raise Unknown(str(error)) from error


def _shown_item(folder: Path, item_id: str, reviewer: str) -> dict[str, Any]:
    name = review.reviewer_name(reviewer) if reviewer else ""
    view = _view(folder, item_id, name)
    found, item = review.compared(view.payload), view.item
    matches = found.matches[:MOST_MATCHES]
    sides = _sides(folder, item_id, [found.suspect, *(one.side for one in matches)])
    evidence = view.payload.get("evidence")
    facts = evidence if isinstance(evidence, Mapping) else {}
    return {
        "id": item.item_id,
        **{n: getattr(item, n) for n in ("rec_id", "stage", "tier", "score", "is_match")},
        **{n: getattr(item, n) for n in ("grouped_by", "opened_at")},
        **{n: getattr(view, n) for n in ("state", "role", "may_decide", "may_replace")},
        "own": _decision(view.own) if view.own else None,
        "decisions": [_decision(one) for one in view.decisions],
        "suspect": sides[0],
        "matches": [
            {
                **side,
                **{n: getattr(one, n) for n in ("query_start_s", "ref_start_s", "duration_s")},
            }
            for side, one in zip(sides[1:], matches, strict=True)
        ],
        "evidence": _plain({n: v for n, v in facts.items() if n != "matches"}),
    }


def _sides(folder: Path, item_id: str, sides: Sequence[review.Side]) -> list[dict[str, Any]]:
    """Return the suspect and its matches."""
    paths = [review.sound_of(folder, side) for side in sides]
    there = [path for path in paths if path is not None]
    seconds = dict(zip(there, lengths(there), strict=True))
    names = ["suspect", *map(str, range(1, len(sides)))]
    return [
        {
            **{n: getattr(one, n) for n in ("id", "title", "author", "album", "license", "url")},
            "facts": _plain(one.facts),
            "sound": path and f"{PREFIX}/items/{item_id}/sounds/{name}",
            "seconds": path and seconds[path],
        }
        for one, path, name in zip(sides, paths, names, strict=True)
    ]


def _plain(value: Any) -> Any:
    """Return a value as JSON holds it: no endless numbers, no endless texts."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value[:MOST_MATCHES]]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value[:_LONGEST_TEXT] if isinstance(value, str) else value


def _add_sounds(app: FastAPI, folder: Path) -> None:
    at = f"{PREFIX}/items/{{item_id}}/sounds/{{side}}"

    @app.get(at)
    def sound(item_id: str, side: str) -> Response:
        """Return the file of the suspect, or of the match of a number from 1 on; with ranges."""
        path = _sound(folder, item_id, side)
        media = _MEDIA.get(path.suffix.lower(), "application/octet-stream")
        return FileResponse(path, media_type=media, headers={"Cache-Control": "private, no-cache"})

    @app.get(f"{at}/peaks")
    def peaks(item_id: str, side: str, n: str = "1024") -> Response:
        """Return the lowest and the highest sample of n stretches."""
        path = _sound(folder, item_id, side)
        return outline_answer(n, lambda count: outline(path, count, _named(side, item_id)))

    @app.get(f"{at}/excerpt.wav")
    def excerpt(item_id: str, side: str, start: str = "0", seconds: str = "30") -> Response:
        """Return a stretch as WAV, 44.1 kHz, stereo, with silence beyond the ends, so that two sounds align."""
        chosen = Stretch(_seconds("start", start), _seconds("seconds", seconds))
        path = _sound(folder, item_id, side)
        found = stretch(path, chosen.start, chosen.seconds, _named(side, item_id))
        data = excerpt_wav(found, chosen.start, chosen.seconds)
        headers = {"Cache-Control": "private, max-age=600"}
        return Response(data, media_type="audio/wav", headers=headers)


def _named(side: str, item_id: str) -> str:
    """Return what messages call a sound."""
    return f"the sound {side} of {item_id}"


def _seconds(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise InvalidRequest(Field(name), f" is {shown(text)}; give seconds") from error


def _sound(folder: Path, item_id: str, side: str) -> Path:
    """Return the file of a side of an item. Raises `Unknown` where there is none."""
    found = review.compared(_view(folder, item_id).payload)
    sides = {"suspect": found.suspect}
    sides |= {str(n): one.side for n, one in enumerate(found.matches[:MOST_MATCHES], 1)}
    path = review.sound_of(folder, sides[side]) if side in sides else None
    if path is None:
        raise Unknown(f"there is no such sound of {item_id}")
    return path
