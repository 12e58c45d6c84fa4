"""AcoustID against a local stub: its answers, its failures, its limit, and a key that nobody gets to see."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from auralith.curation.identification import (
    AcoustIdIdentifier,
    AudioRef,
    Fingerprint,
    Fpcalc,
    Identification,
)
from auralith.errors import AuralithError, InvalidRequest
from tests.curation.identifier_stubs import (
    FPCALC,
    AcoustIdStub,
    FreeClock,
    acoustid_server,
    write_program,
    write_sound,
)
from tests.fingerprint.melodies import melody

KEY = "TopSecret1"
TEXT = "AQAAAA"
"""A fingerprint that the stub takes for one."""
TRACK = {
    "id": "9ff43b6a-4f16-427c-93c2-92307ca505e0",
    "score": 0.93,
    "recordings": [
        {"id": "no title"},
        {
            "title": "Song <1>",
            "artists": [{"name": "Ann"}, {"name": "Bob"}],
            "releasegroups": [{"title": "Album"}],
        },
    ],
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, type[AcoustIdStub]]]:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with acoustid_server(KEY) as both:
        yield both


@pytest.fixture
def service(server: tuple[str, type[AcoustIdStub]], tmp_path: Path) -> AcoustIdIdentifier:
    return made(server[0], tmp_path)


def made(
    url: str, folder: Path, clock: FreeClock | None = None, key: str = KEY
) -> AcoustIdIdentifier:
    fpcalc = Fpcalc(write_program(folder / "fpcalc", FPCALC))
    return AcoustIdIdentifier(
        fpcalc, key, url=url, clock=clock or FreeClock(), folder=folder / "limit"
    )


def ask(service: AcoustIdIdentifier, seconds: float = 200.4) -> Identification:
    (answer,) = service.identify([Fingerprint("asset", seconds, TEXT)])
    return answer


def test_a_track_is_a_match_with_what_is_known_of_it(
    service: AcoustIdIdentifier, server: tuple[str, type[AcoustIdStub]]
) -> None:
    server[1].tracks[TEXT] = TRACK
    answer = ask(service)
    assert answer.status == "match"
    assert answer.at.endswith("Z")
    match = answer.matches[0]
    assert (match.ref_id, match.score, match.duration_s) == (TRACK["id"], 0.93, 120.0)
    assert match.meta == {"title": "Song <1>", "artist": "Ann, Bob", "album": "Album"}
    assert json.loads(answer.raw or "")["results"] == [TRACK]


def test_a_track_that_nobody_named_is_a_match_too(
    service: AcoustIdIdentifier, server: tuple[str, type[AcoustIdStub]]
) -> None:
    server[1].tracks[TEXT] = {"id": "x", "score": 0.5}
    assert ask(service).matches[0].meta == {}


def test_length_and_fingerprint_are_those_of_the_sound(
    service: AcoustIdIdentifier, server: tuple[str, type[AcoustIdStub]], tmp_path: Path
) -> None:
    """The whole length goes with the fingerprint of two minutes."""
    sound = write_sound(tmp_path / "long.wav", melody(1, 130.4))
    service.identify([service.analyze(AudioRef("asset", sound))])
    path, form = server[1].requests[0]
    assert path == "/v2/lookup"
    assert form["duration"] == "130"
    write_sound(tmp_path / "begin.wav", melody(1, 130.4)[: 120 * 11_025])
    same = service.analyze(AudioRef("asset", tmp_path / "begin.wav"))
    assert form["fingerprint"] == same.payload


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (0, b"", "no_connection"),
        (500, b"oops", "http_500"),
        (503, b"{}", "http_503"),
        (429, b"", "http_429"),
        (302, b"", "http_302"),
        (200, b"<html>", "bad_json"),
        (200, b'{"status": "ok", "resu', "bad_json"),
        (200, b"[" * 100_000, "bad_json"),
        (200, b"", "bad_json"),
        (200, b"[]", "bad_answer"),
        (200, b"{}", "bad_answer"),
        (200, b'{"status": "ok"}', "bad_answer"),
        (200, b'{"status": "ok", "results": null}', "bad_answer"),
        (200, b'{"status": "ok", "results": {}}', "bad_answer"),
        (200, b'{"status": "well", "results": []}', "bad_answer"),
        (200, b'{"status": "ok", "results": [{"id": "x"}]}', "bad_answer"),
        (200, b'{"status": "ok", "results": [{"id": "x", "score": NaN}]}', "bad_answer"),
        (200, b'{"status": "ok", "results": [{"id": 7, "score": 1}]}', "bad_answer"),
        (200, b'{"status": "ok", "results": ["x"]}', "bad_answer"),
        (400, b'{"status": "error", "error": {"code": 3}}', "acoustid_error_3"),
        (200, b'{"status": "error", "error": {"code": 14}}', "acoustid_error_14"),
        (400, b'{"status": "error"}', "bad_answer"),
        (400, b'{"status": "error", "error": {"code": "4"}}', "bad_answer"),
        (404, b'{"status": "ok", "results": []}', "http_404"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(
    service: AcoustIdIdentifier,
    server: tuple[str, type[AcoustIdStub]],
    status: int,
    body: bytes,
    reason: str,
) -> None:
    server[1].script.append((status, body))
    answer = ask(service)
    assert (answer.status, answer.reason) == ("error", reason)


def test_a_refused_key_ends_the_run_and_isnt_told(
    server: tuple[str, type[AcoustIdStub]], tmp_path: Path
) -> None:
    service = made(server[0], tmp_path, key="WrongKey99")
    with pytest.raises(InvalidRequest, match="AURALITH_ACOUSTID_KEY") as caught:
        ask(service)
    assert "WrongKey99" not in str(caught.value)


def test_nothing_shows_the_key(
    service: AcoustIdIdentifier, server: tuple[str, type[AcoustIdStub]]
) -> None:
    said = json.dumps({"status": "ok", "results": [], "client": KEY}).encode()
    server[1].script += [(200, said), (500, KEY.encode())]
    answers = [ask(service), ask(service)]
    assert KEY not in repr(answers) + repr(service) + repr(service.info)
    assert all(KEY not in path for path, _ in server[1].requests)


def test_there_must_be_a_key(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="AURALITH_ACOUSTID_KEY is not set"):
        made("http://127.0.0.1:9", tmp_path, key="")


def test_no_server_is_an_error(tmp_path: Path) -> None:
    answer = ask(made("http://127.0.0.1:9/v2/lookup", tmp_path))
    assert (answer.status, answer.reason) == ("error", "no_connection")


def test_processes_together_keep_three_requests_a_second(
    server: tuple[str, type[AcoustIdStub]], tmp_path: Path
) -> None:
    clock, times = FreeClock(), []
    services = [made(server[0], tmp_path, clock) for _ in range(2)]
    for turn in range(10):
        ask(services[turn % 2])
        times.append(clock.now())
    assert all(later - sooner >= 1 for sooner, later in zip(times, times[3:], strict=False))


def test_sounds_without_a_fingerprint_and_short_ones_are_not_asked_about(
    service: AcoustIdIdentifier, server: tuple[str, type[AcoustIdStub]]
) -> None:
    broken = Fingerprint("a", 0.0, problem="not_audio")
    answers = service.identify([broken, Fingerprint("b", 9.9, TEXT)])
    assert [one.reason for one in answers] == ["not_audio", "too_short"]
    assert not server[1].requests


def test_a_folder_that_cant_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "limit").write_text("a file")
    with pytest.raises(AuralithError, match="can't be written"):
        ask(made("http://127.0.0.1:9", tmp_path))
