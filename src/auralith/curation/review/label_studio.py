"""Items as Label Studio's JSON: tasks out, with `data`, `predictions` and `annotations`, and its JSON export back in.

`labeling_config` is the interface that a project needs: a player for each sound, the decision, its reason and a note.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

from auralith.curation.review.exchanged import Exported, Handed
from auralith.curation.review.queue import Entry
from auralith.curation.review.rules import CHOICES, CODES, Decision
from auralith.errors import InvalidRequest
from auralith.foreign import parse_json

_TEXTS = ("title", "author", "album", "tier", "ref_title", "ref_artist", "ref_album")


def labeling_config() -> str:
    """The XML of the labeling interface."""
    view = ElementTree.Element("View")
    for name in _TEXTS:
        ElementTree.SubElement(view, "Text", name=name, value=f"${name}")
    for name in ("audio", "ref_audio"):
        ElementTree.SubElement(view, "Audio", name=name, value=f"${name}")
    _choices(view, "decision", CHOICES, required="true")
    _choices(view, "reason_code", [code for codes in CODES.values() for code in codes])
    ElementTree.SubElement(view, "TextArea", name="note", toName="audio", maxSubmissions="1")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _choices(
    view: ElementTree.Element, name: str, values: Sequence[str], required: str = "false"
) -> None:
    settings = {"name": name, "toName": "audio", "choice": "single", "required": required}
    element = ElementTree.SubElement(view, "Choices", settings)
    for value in values:
        ElementTree.SubElement(element, "Choice", value=value)


def write(items: Sequence[Exported]) -> bytes:
    """The tasks as JSON."""
    tasks = [_task(item) for item in items]
    return json.dumps(tasks, ensure_ascii=False, indent=1).encode() + b"\n"


def _task(item: Exported) -> dict[str, Any]:
    facts = {name: "" if value is None else value for name, value in item.facts.items()}
    settled = item.case.decisions if item.case.settled else ()
    return {
        "data": {**facts, "audio": item.audio, "ref_audio": ""},
        "predictions": [_prediction(item)],
        "annotations": [_annotation(one) for one in settled],
    }


def _prediction(item: Exported) -> dict[str, Any]:
    """What the machine found: only a match speaks for removing."""
    case = item.case.item
    choice = "remove" if case.is_match else "unsure"
    score = {} if case.score is None else {"score": case.score}
    return {"model_version": case.evidence_key, **score, "result": [_choice("decision", choice)]}


def _annotation(one: Decision) -> dict[str, Any]:
    result = [_choice("decision", one.decision)]
    if one.reason_code:
        result.append(_choice("reason_code", one.reason_code))
    if one.note:
        value = {"text": [one.note]}
        result.append({"from_name": "note", "to_name": "audio", "type": "textarea", "value": value})
    return {"completed_by": {"username": one.reviewer}, "created_at": one.at, "result": result}


def _choice(name: str, value: str) -> dict[str, Any]:
    return {"from_name": name, "to_name": "audio", "type": "choices", "value": {"choices": [value]}}


def read(text: str, reviewers: Mapping[str, str]) -> list[Handed]:
    """The annotations of a JSON export; a task without one is blank.

    Raises:
        InvalidRequest: it is no list of tasks.
    """
    try:
        tasks = parse_json(text)
    except ValueError as error:
        raise InvalidRequest(
            f"the file is not JSON ({error}); export the project as JSON"
        ) from error
    if not isinstance(tasks, list):
        raise InvalidRequest(
            "the file is no list of tasks; export the project as JSON (not JSON-MIN)"
        )
    return [one for number, task in enumerate(tasks, 1) for one in _handed(number, task, reviewers)]


def _handed(number: int, task: object, reviewers: Mapping[str, str]) -> Iterator[Handed]:
    place = f"task {number}"
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(task, dict) or not isinstance(data, dict):
        yield Handed(place, "", None, "it has no data; export the project as JSON (not JSON-MIN)")
        return
    curation = _text(data.get("curation"))
    annotations = [
        one for one in _list(task.get("annotations")) if not _mapping(one).get("was_cancelled")
    ]
    if not annotations:
        yield Handed(place, curation, None)
    for position, annotation in enumerate(annotations, 1):
        entry = _entry(_text(data.get("item_id")), _mapping(annotation), reviewers)
        yield Handed(f"{place}, annotation {position}", curation, entry)


def _entry(item_id: str, annotation: Mapping[str, Any], reviewers: Mapping[str, str]) -> Entry:
    says = {"decision": "", "reason_code": "", "note": ""}
    for result in map(_mapping, _list(annotation.get("result"))):
        name, value = _text(result.get("from_name")), _mapping(result.get("value"))
        words = _list(value.get("choices")) or _list(value.get("text"))
        if name in says and words:
            says[name] = " ".join(map(_text, words)).strip()
    who = _who(annotation.get("completed_by"))
    return Entry(
        item_id,
        reviewers.get(who, who),
        says["decision"],
        says["reason_code"] or None,
        says["note"],
    )


def _who(completed_by: object) -> str:
    """The annotator's name: an account is known by its mail address or name, and by its number where the file has no more.
    A bare number is nobody until `reviewers` gives it a name."""
    if isinstance(completed_by, dict):
        full = f"{_text(completed_by.get('first_name'))} {_text(completed_by.get('last_name'))}"
        known = (_text(completed_by.get(name)) for name in ("username", "email"))
        return next(filter(None, (*known, full.strip())), _text(completed_by.get("id")))
    return _text(completed_by)


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
