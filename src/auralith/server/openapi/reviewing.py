"""Description of the routes of a review, which are there with `--review`."""

from collections.abc import Sequence
from typing import Any

from auralith.server.openapi.parts import answer, json_answer, operation, parameter
from auralith.server.openapi.schemas import COUNT, NUMBER, TEXT, Json, nullable, record

ITEM_ID = "i-0"
"""Id that examples have."""
ITEM = parameter("path", "item_id", TEXT, "Id of an item.", ITEM_ID)
SIDE = parameter("path", "side", TEXT, "suspect, or the number of a match.", "suspect")
REVIEWER = parameter("query", "reviewer", TEXT, "Who asks.", "ann")
DECISION: Json = {
    "reviewer": "ann",
    "role": "first",
    "decision": "remove",
    "reason": "commercial_recording",
    "note": "",
    "at": "2027-01-01T00:00:00+00:00",
    "revision": 0,
}
AGREED: Json = {"stage": "match", "items": 2, "kappa": 1.0, "counts": {"keep/keep": 2}}
LISTED: Json = {
    "id": ITEM_ID,
    "stage": "match",
    "tier": "A",
    "score": 0.9,
    "rec_id": "rain/12",
    "title": "Rain",
    "decision": None,
}


def review_operations(choices: Sequence[str]) -> dict[tuple[str, str], Json]:
    """Return what is said of each route, by method and path. `choices` are the decisions that there are."""
    return {**_lists(), **_items(choices), **_sounds()}


def _named(name: str, items: Json) -> Json:
    return record({name: {"type": "array", "items": items}})


def _lists() -> dict[tuple[str, str], Json]:
    codes = {"type": "object", "additionalProperties": {"type": "array", "items": TEXT}}
    person = record({"name": TEXT, "decisions": COUNT})
    names = ("total", "settled", "conflicts", "decisions", "left")
    stages = {"type": "object", "additionalProperties": record(dict.fromkeys(names, COUNT))}
    far: Json = {"match": {"total": 2, "settled": 0, "conflicts": 0, "decisions": 1, "left": 1}}
    agreed = record(
        {"stage": TEXT, "items": COUNT, "kappa": nullable("number"), "counts": {"type": "object"}}
    )
    listed = _named("items", _listed())
    listed["properties"] |= {"total": COUNT}
    query = (
        ("view", {"enum": ["open", "conflicts", "decided"]}, "Which items.", "open"),
        ("stage", TEXT, "Items of this stage.", "match"),
        ("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "Most items.", 100),
    )
    return {
        ("get", "/v1/review"): operation(
            "reviewRules",
            "Decisions, with the reasons that each takes",
            {
                "200": json_answer(
                    record({"decisions": codes}),
                    "The decisions.",
                    {"decisions": {"keep": ["different_recording"], "unsure": []}},
                )
            },
        ),
        ("get", "/v1/review/reviewers"): operation(
            "reviewers",
            "Everybody who has decided",
            {
                "200": json_answer(
                    _named("reviewers", person),
                    "Their names, and how often they have decided.",
                    {"reviewers": [{"name": "ann", "decisions": 1}]},
                )
            },
        ),
        ("get", "/v1/review/progress"): operation(
            "reviewProgress",
            "How far each stage is",
            {"200": json_answer(record({"stages": stages}), "By stage.", {"stages": far})},
            422,
            parameters=(REVIEWER,),
        ),
        ("get", "/v1/review/agreement"): operation(
            "agreement",
            "Cohen's κ of first and second decisions",
            {
                "200": json_answer(
                    _named("stages", agreed),
                    "By stage; null where undefined.",
                    {"stages": [AGREED]},
                )
            },
        ),
        ("get", "/v1/review/items"): operation(
            "reviewItems",
            "List items for a reviewer",
            {"200": json_answer(listed, "The items.", {"items": [LISTED], "total": 1})},
            422,
            parameters=(
                REVIEWER | {"required": True},
                *(parameter("query", *one) for one in query),
            ),
        ),
    }


def _listed() -> Json:
    facts = dict.fromkeys(("id", "stage", "tier", "rec_id", "title"), TEXT)
    return record({**facts, "score": nullable("number"), "decision": nullable("string")})


def _decision() -> Json:
    names = ("reviewer", "role", "decision", "note", "at")
    facts = {**dict.fromkeys(names, TEXT), "revision": COUNT, "reason": nullable("string")}
    return record(facts)


def _items(choices: Sequence[str]) -> dict[tuple[str, str], Json]:
    decision = _decision()
    own: dict[str, Any] = {"oneOf": [decision, {"type": "null"}]}
    side: Json = {
        "type": "object",
        "description": "What is known of it, and the path of its sound.",
    }
    shown = {
        **dict.fromkeys(("id", "rec_id", "stage", "state"), TEXT),
        "own": own,
        "decisions": {"type": "array", "items": decision},
        "suspect": side,
        "matches": {"type": "array", "items": side},
        "evidence": {"type": "object"},
    }
    body = record(
        {
            "reviewer": TEXT,
            "decision": {"enum": list(choices)},
            "reason": nullable("string") | {"description": "Reason code; none for unsure."},
            "note": TEXT,
            "replaces": nullable("integer")
            | {"description": "`revision` of one's own decision that it replaces."},
        },
        ("reason", "note", "replaces"),
        additionalProperties=False,
    )
    example = {name: DECISION[name] for name in ("reviewer", "decision", "reason")}
    recorded = record({"state": TEXT, **decision["properties"]})
    return {
        ("get", "/v1/review/items/{item_id}"): operation(
            "reviewItem",
            "Look at an item as a reviewer may see it",
            {
                "200": json_answer(
                    record(shown), "Both sides, evidence, and decisions once it is settled."
                )
            },
            *(404, 422),
            parameters=(ITEM, REVIEWER),
        ),
        ("post", "/v1/review/items/{item_id}/decisions"): operation(
            "decide",
            "Decide on an item",
            {"201": json_answer(recorded, "What was recorded.", {"state": "open", **DECISION})},
            *(404, 409, 422),
            parameters=(ITEM,),
            body={"application/json": {"schema": body, "examples": {"remove": {"value": example}}}},
        ),
    }


def _sounds() -> dict[tuple[str, str], Json]:
    files = {
        media: {"schema": {"contentMediaType": media}}
        for media in ("audio/wav", "audio/ogg", "audio/flac", "audio/mpeg")
    } | {"application/octet-stream": {"schema": {}}}
    values = {"type": "array", "items": NUMBER}
    outline = record({"sample_rate": COUNT, "num_samples": COUNT, "min": values, "max": values})
    wav = {"audio/wav": {"schema": {"contentMediaType": "audio/wav"}}}
    stretches = {"type": "integer", "minimum": 1, "maximum": 8_192}
    place = "/v1/review/items/{item_id}/sounds/{side}"
    return {
        ("get", place): operation(
            "reviewSound",
            "Fetch the file of a side of an item",
            {"200": answer("The file.", files), "206": answer("Part of the file.", files)},
            *(404, 416),
            parameters=(
                ITEM,
                SIDE,
                parameter("header", "Range", TEXT, "Part of the file.", "bytes=0-99"),
            ),
        ),
        ("get", f"{place}/peaks"): operation(
            "reviewPeaks",
            "Lowest and highest sample of stretches of a side",
            {"200": json_answer(outline, "As many of each as stretches.")},
            *(404, 415, 422),
            parameters=(ITEM, SIDE, parameter("query", "n", stretches, "Stretches.", 8)),
        ),
        ("get", f"{place}/excerpt.wav"): operation(
            "excerpt",
            "A stretch of a side: 44.1 kHz, stereo, silence beyond its ends",
            {"200": answer("A sound.", wav)},
            *(404, 415, 422),
            parameters=(
                ITEM,
                SIDE,
                parameter("query", "start", NUMBER, "Seconds; may be negative.", -0.5),
                parameter("query", "seconds", NUMBER, "Length, 120 at most.", 2.0),
            ),
        ),
    }
