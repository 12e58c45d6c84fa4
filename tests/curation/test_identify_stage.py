"""The identification step: a finding for every recording, and nothing passes that was not heard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from auralith.curation.identification import (
    AudioRef,
    Fingerprint,
    Identification,
    Identify,
    IdentifySettings,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.interface import Status
from auralith.curation.stage import Finding
from auralith.errors import InvalidRequest
from auralith.fingerprint import build_index, pruned, read_landmarks
from tests.curation.identifier_stubs import write_sound
from tests.fingerprint.melodies import SAMPLE_RATE, melody

SURE = Match("song", 1.0, 9.0, 4.0, 80.0, 1e-40, meta={"title": "Song", "isrc": "QZ"})
LESS = Match("cover", 1.0, 5.0, 4.0, 20.0, 1e-10)


class Scripted:
    """A backend whose answers are told beforehand, by asset: one for each time that it is asked."""

    info = ProviderInfo("scripted", "7", remote=True, min_seconds=1.0, deterministic=False)

    def __init__(
        self, answers: dict[str, list[Status]], matches: tuple[Match, ...] = (SURE,)
    ) -> None:
        self.answers, self.matches, self.asked = answers, matches, list[list[str]]()

    def analyze(self, audio: AudioRef) -> Fingerprint:
        assert audio.path.is_file()
        return Fingerprint(audio.asset_id, 5.0, "fingerprint")

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        self.asked.append([one.asset_id for one in fingerprints if one.problem is None])
        return [self._answer(one) for one in fingerprints]

    def _answer(self, one: Fingerprint) -> Identification:
        if one.problem:
            return Identification(one.asset_id, "error", "scripted", "7", reason=one.problem)
        status = self.answers[one.asset_id].pop(0)
        matches = self.matches if status == "match" else ()
        reason = "timeout" if status in ("error", "indeterminate") else None
        return Identification(one.asset_id, status, "scripted", "7", matches, reason, raw="{}")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "sounds"
    root.mkdir()
    for name in "pqrs":
        (root / name).write_bytes(b"sound")
    (tmp_path / "outside").write_bytes(b"secret")
    return root


def row(path: str | None, name: str = "") -> dict[str, Any]:
    return {"rec_id": name or str(path), "path": path}


def stage(backend: Scripted, retries: int = 3) -> tuple[Identify, list[float]]:
    slept: list[float] = []
    made = Identify(IdentifySettings(retries=retries), identifier=backend, sleep=slept.append)
    return made, slept


def verdict(finding: Finding) -> tuple[str, str, str | None]:
    return finding.status, finding.verdict, finding.reason_code


def test_a_match_is_for_people_to_judge(root: Path) -> None:
    made, slept = stage(Scripted({"p": ["match"]}, (SURE, LESS)))
    (finding,) = made.process([row("p")], root)
    assert verdict(finding) == ("ok", "flag", "content_match")
    assert finding.score == pytest.approx(40)
    assert finding.columns["best_ref"] == "song"
    assert finding.columns["best_p"] == 1e-40
    assert finding.columns["num_matches"] == 2
    assert [one["ref"] for one in finding.columns["matches"]] == ["song", "cover"]
    assert finding.columns["matches"][0]["title"] == "Song"
    assert slept == []


def test_no_match_passes_and_keeps_what_was_answered(root: Path) -> None:
    made, _ = stage(Scripted({"p": ["no_match"]}))
    (finding,) = made.process([row("p")], root)
    assert verdict(finding) == ("ok", "pass", None)
    assert finding.columns["answer"] == "no_match"
    assert finding.columns["raw_json"] == "{}"


def test_errors_are_asked_about_again_with_growing_pauses(root: Path) -> None:
    backend = Scripted(
        {"p": ["error", "error", "no_match"], "q": ["match"], "r": ["error", "match"]}
    )
    made, slept = stage(backend)
    found = made.process([row("p"), row("q"), row("r")], root)
    assert [one.verdict for one in found] == ["pass", "flag", "flag"]
    assert backend.asked == [["p", "q", "r"], ["p", "r"], ["p"]]
    assert slept == [1.0, 2.0]


@pytest.mark.parametrize("retries", [0, 1, 4])
@pytest.mark.parametrize("status", ["error", "indeterminate"])
def test_what_stays_unanswered_goes_into_quarantine(
    root: Path, retries: int, status: Status
) -> None:
    backend = Scripted({"p": [status] * (retries + 1)})
    made, slept = stage(backend, retries)
    (finding,) = made.process([row("p")], root)
    assert verdict(finding) == (status, "quarantine", "timeout")
    assert finding.score is None
    assert slept == [2.0**i for i in range(retries)]
    assert backend.answers["p"] == []


def test_no_file_is_quarantine_without_asking(root: Path) -> None:
    backend = Scripted({})
    made, slept = stage(backend)
    found = made.process([row(None, "a"), row("", "b")], root)
    assert [verdict(one) for one in found] == [("skipped", "quarantine", "no_path")] * 2
    assert [name for names in backend.asked for name in names] == []
    assert slept == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../outside", "unsafe_path"),
        ("p/../../outside", "unsafe_path"),
        ("/etc/hostname", "unsafe_path"),
        ("nowhere", "missing_file"),
        (".", "unsafe_path"),
    ],
)
def test_a_path_that_is_no_file_below_the_root_is_quarantine_and_not_retried(
    root: Path, path: str, reason: str
) -> None:
    made, slept = stage(Scripted({}))
    (finding,) = made.process([row(path)], root)
    assert verdict(finding) == ("error", "quarantine", reason)
    assert slept == []


def test_a_link_out_of_the_root_is_quarantine(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside")
    made, _ = stage(Scripted({"link": ["no_match"]}))
    (finding,) = made.process([row("link")], root)
    assert finding.verdict == "quarantine"


def test_findings_stand_in_the_order_of_the_recordings(root: Path) -> None:
    backend = Scripted({"p": ["no_match"], "q": ["match"], "r": ["error", "no_match"]})
    made, _ = stage(backend)
    rows = [row(None, "x"), row("q"), row("../outside"), row("r"), row("p")]
    found = [one.verdict for one in made.process(rows, root)]
    assert found == ["quarantine", "flag", "quarantine", "pass", "pass"]
    assert made.process([], root) == []


def test_findings_fit_the_schema(root: Path) -> None:
    made, _ = stage(Scripted({"p": ["match"], "q": ["no_match"], "r": ["error"] * 4}))
    found = made.process([row("p"), row("q"), row("r"), row(None, "x")], root)
    table = pa.Table.from_pylist([dict(one.columns) for one in found], schema=made.schema)
    assert table["answer"].to_pylist() == ["match", "no_match", "error", None]
    assert {name for one in found for name in one.columns} <= set(made.schema.names)
    (match,) = table["matches"].to_pylist()[0]
    assert (match["ref"], match["p_value"], match["isrc"]) == ("song", 1e-40, "QZ")


@pytest.mark.parametrize(("p_value", "score"), [(0.0, 300), (1e-300, 300), (1.0, 0), (None, 80)])
def test_a_score_is_finite_whatever_the_probability(
    root: Path, p_value: float | None, score: float
) -> None:
    backend = Scripted({"p": ["match"]}, (Match("song", 0.0, 9.0, 0.0, 80.0, p_value),))
    made, _ = stage(backend)
    (finding,) = made.process([row("p")], root)
    assert finding.score == pytest.approx(score)


def test_the_evidence_names_the_backend(root: Path) -> None:
    made, _ = stage(Scripted({}))
    assert (made.name, made.provider, made.provider_version) == ("identify", "scripted", "7")


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"alpha": float("nan")},
        {"min_seconds": 0.0},
        {"retries": -1},
    ],
)
def test_settings_out_of_range_are_refused_in_one_line(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as error:
        IdentifySettings(**settings)
    assert "\n" not in str(error.value)


def test_known_music_in_a_recording_is_flagged_and_the_rest_passes(tmp_path: Path) -> None:
    song = melody(1, 20)
    write_sound(tmp_path / "song.wav", song)
    write_sound(tmp_path / "part.wav", 0.5 * song[5 * SAMPLE_RATE : 15 * SAMPLE_RATE])
    write_sound(tmp_path / "other.wav", melody(2, 10))
    write_sound(tmp_path / "short.wav", melody(1, 2))
    (tmp_path / "text.wav").write_text("no sound")
    build_index([("song", pruned(read_landmarks(tmp_path / "song.wav")))], tmp_path / "index")
    made = Identify(index=tmp_path / "index", sleep=lambda _: pytest.fail("asked again"))
    names = ("part", "other", "short", "text")
    found = made.process([row(f"{name}.wav") for name in names], tmp_path)
    assert [verdict(one) for one in found] == [
        ("ok", "flag", "content_match"),
        ("ok", "pass", None),
        ("indeterminate", "quarantine", "too_short"),
        ("error", "quarantine", "not_audio"),
    ]
    assert found[0].columns["best_ref"] == "song"
