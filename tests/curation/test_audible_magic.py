"""Audible Magic's toolkit as a stub program that replays, hangs, truncates and answers what nobody knows."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from auralith.curation.identification import (
    AudibleMagicIdentifier,
    AudioRef,
    Fingerprint,
    Identification,
)
from auralith.errors import InvalidRequest
from tests.curation.identifier_stubs import write_program, write_sound
from tests.fingerprint.melodies import melody

MATCH = {
    "ruleCode": "block",
    "matchType": "audio",
    "amItemID": "AM-77",
    "matchTimeInUnknown": 1.5,
    "matchDurationInUnknown": "12.25",
    "matchTimeInReference": 60,
    "metadata": {"Title": "Song", "Artist": "Ann", "ISRC": "DEA123456789", "Label": None},
}
FOUND = {
    "statusCode": 2006,
    "statusDescription": "Match found",
    "unknownAssetID": "x:1",
    "unknownMediaFileDuration": 30,
    "matches": [MATCH],
}


def toolkit(folder: Path, body: str, **options: Any) -> AudibleMagicIdentifier:
    (folder / "toolkit.cfg").write_text("customer")
    program = write_program(folder / "identify", body)
    return AudibleMagicIdentifier(program, folder / "toolkit.cfg", **options)


def ask(identifier: AudibleMagicIdentifier, asset: str = "x:1") -> Identification:
    (answer,) = identifier.identify([Fingerprint(asset, 30.0, Path("/sounds/a.wav"))])
    return answer


def said(folder: Path, answer: Any, **options: Any) -> Identification:
    """What is made of an answer that the program prints."""
    return ask(toolkit(folder, f"print({json.dumps(answer)!r})", **options))


def test_a_match_carries_its_rule_its_times_and_what_is_known(tmp_path: Path) -> None:
    answer = said(tmp_path, FOUND)
    assert answer.status == "match"
    match = answer.matches[0]
    assert (match.ref_id, match.rule, match.kind) == ("AM-77", "block", "audio")
    assert (match.query_start_s, match.duration_s, match.ref_start_s) == (1.5, 12.25, 60.0)
    assert match.meta == {"title": "Song", "artist": "Ann", "isrc": "DEA123456789"}
    assert json.loads(answer.raw or "") == FOUND
    assert answer.at.endswith("Z")


def test_codes_that_nobody_knows_are_indeterminate(tmp_path: Path) -> None:
    for code in (0, 200, 2005, 28, -1):
        answer = said(tmp_path, {"statusCode": code, "matches": []})
        assert (answer.status, answer.reason) == ("indeterminate", f"status_{code}")


def test_only_named_codes_say_that_there_is_no_match(tmp_path: Path) -> None:
    codes = {"no_match_codes": (2005, 2007)}
    assert said(tmp_path, {"statusCode": 2005, "matches": []}, **codes).status == "no_match"
    assert said(tmp_path, {"statusCode": 2007}, **codes).status == "no_match"
    assert said(tmp_path, {"statusCode": 2008}, **codes).status == "indeterminate"
    with pytest.raises(InvalidRequest, match="2006"):
        toolkit(tmp_path, "", no_match_codes=(2006,))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        [],
        None,
        7,
        {"statusCode": "2006", "matches": [MATCH]},
        {"statusCode": True, "matches": [MATCH]},
        {"statusCode": 2006},
        {"statusCode": 2006, "matches": []},
        {"statusCode": 2006, "matches": "many"},
        {"statusCode": 2006, "matches": [7]},
        {"statusCode": 2006, "matches": [{}]},
        {"statusCode": 2006, "matches": [{**MATCH, "matchTimeInUnknown": "soon"}]},
        {"statusCode": 2006, "matches": [{**MATCH, "matchTimeInUnknown": float("nan")}]},
        {"statusCode": 2006, "matches": [{**MATCH, "metadata": "none"}]},
        {"statusCode": 2006, "matches": [MATCH], "unknownAssetID": "x:2"},
        {"statusCode": 2005, "matches": [MATCH]},
        {"statusCode": 2005, "matches": [], "unknownAssetID": "x:2"},
    ],
)
def test_what_is_no_whole_answer_is_an_error(tmp_path: Path, answer: Any) -> None:
    found = said(tmp_path, answer, no_match_codes=(2005,))
    assert (found.status, found.reason) == ("error", "bad_answer")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (f"print({json.dumps(FOUND)[:-20]!r})", "bad_json"),
        ("pass", "bad_json"),
        ("import sys; sys.stdout.buffer.write(bytes(range(256)))", "bad_json"),
        ("print('[' * 100000)", "bad_json"),
        (f"print({json.dumps(FOUND)!r}); raise SystemExit(3)", "exit_3"),
        ("import os; os.kill(os.getpid(), 9)", "signal_9"),
    ],
)
def test_a_program_that_fails_is_an_error(tmp_path: Path, body: str, reason: str) -> None:
    answer = ask(toolkit(tmp_path, body))
    assert (answer.status, answer.reason) == ("error", reason)


def test_a_program_that_hangs_ends_with_all_it_started(tmp_path: Path) -> None:
    """A child that holds the output open neither outlives the timeout nor prolongs it."""
    body = f"""
import pathlib, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
pathlib.Path({str(tmp_path / "child")!r}).write_text(str(child.pid))
print('{{"statusCode": 2005}}', flush=True)
time.sleep(60)
"""
    identifier = toolkit(tmp_path, body, timeout_s=1.0, no_match_codes=(2005,))
    start = time.monotonic()
    answer = ask(identifier)
    assert (answer.status, answer.reason) == ("error", "timeout")
    assert time.monotonic() - start < 10
    assert not runs(int((tmp_path / "child").read_text()))


def runs(pid: int) -> bool:
    """Whether a process still does anything (one that nobody waited for is a zombie), within 5 s."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return False
        except (ProcessLookupError, FileNotFoundError):
            return False
        time.sleep(0.05)
    return True


def test_arguments_reach_the_program_as_they_are(tmp_path: Path) -> None:
    """No shell looks at an id or a path."""
    body = "import json, sys; print(json.dumps({'statusCode': 1, 'argv': sys.argv[1:]}))"
    identifier = toolkit(tmp_path, body)
    asset = f"x:$(touch {tmp_path}/owned); `id` 'ü\""
    sound = write_sound(tmp_path / "a b;c.wav", melody(1, 4))
    (answer,) = identifier.identify([identifier.analyze(AudioRef(asset, sound))])
    expected = ["-c", str(tmp_path / "toolkit.cfg"), "-i", str(sound), "-e", asset]
    assert json.loads(answer.raw or "")["argv"] == expected
    assert not (tmp_path / "owned").exists()


def test_sounds_that_cant_be_asked_about_start_no_program(tmp_path: Path) -> None:
    identifier = toolkit(tmp_path, f"open({str(tmp_path / 'started')!r}, 'w')")
    short = write_sound(tmp_path / "short.wav", melody(1, 2))
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    prints = [identifier.analyze(AudioRef("x:1", path)) for path in (short, broken)]
    assert [one.reason for one in identifier.identify(prints)] == ["too_short", "not_audio"]
    assert not (tmp_path / "started").exists()


def test_the_program_and_its_configuration_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="configuration"):
        AudibleMagicIdentifier("identify", tmp_path / "none.cfg")
    (tmp_path / "toolkit.cfg").write_text("customer")
    with pytest.raises(InvalidRequest, match="no program"):
        AudibleMagicIdentifier(str(tmp_path / "none"), tmp_path / "toolkit.cfg")


def test_codes_are_part_of_the_version(tmp_path: Path) -> None:
    versions = {
        toolkit(tmp_path, "", no_match_codes=codes).info.version for codes in ((), (1,), (1, 2))
    }
    assert len(versions) == 3
