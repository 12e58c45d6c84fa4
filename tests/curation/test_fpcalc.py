"""The program fpcalc: whole fingerprints only, whatever it does."""

import shutil
import time
from pathlib import Path

import pytest

from auralith.curation.identification import Fpcalc
from auralith.errors import AudioError, AuralithError, InvalidRequest
from tests.curation.identifier_stubs import write_program, write_sound
from tests.fingerprint.melodies import melody


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("print('{\"fingerprint\": [1, 2, 3]}')", "fpcalc_failed"),
        ("print('{\"fingerprint\": null}')", "fpcalc_failed"),
        ('print(\'{"fingerprint": "AQAA"}\')', "fpcalc_failed"),
        ('print(\'{"fingerprint": "AQAAAQ=="}\')', "fpcalc_failed"),
        ('print(\'{"fingerprint": "abc"}\')', "fpcalc_failed"),
        ("print('{\"finger')", "fpcalc_failed"),
        ("print('[' * 100000)", "fpcalc_failed"),
        ("raise SystemExit(2)", "fpcalc_failed"),
        ("import os; os.abort()", "fpcalc_failed"),
        ("import time; time.sleep(60)", "fpcalc_timeout"),
    ],
)
def test_a_program_that_fails_is_a_problem_of_the_sound(
    tmp_path: Path, body: str, reason: str
) -> None:
    sound = write_sound(tmp_path / "a.wav", melody(1, 6))
    timeout_s = 0.3 if "sleep" in body else 20.0
    fpcalc = Fpcalc(write_program(tmp_path / "bad", body), timeout_s)
    start = time.monotonic()
    with pytest.raises(AudioError) as caught:
        fpcalc.compressed(sound, 120.0)
    assert caught.value.reason_code == reason
    assert time.monotonic() - start < 20


def test_what_is_not_a_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("not executable")
    with pytest.raises(InvalidRequest, match="no program"):
        Fpcalc(str(tmp_path / "notes"))
    (tmp_path / "notes").chmod(0o755)
    sound = write_sound(tmp_path / "a.wav", melody(1, 6))
    with pytest.raises(AuralithError, match="can't be started"):
        Fpcalc(str(tmp_path / "notes")).compressed(sound, 120.0)


@pytest.mark.skipif(shutil.which("fpcalc") is None, reason="Chromaprint's fpcalc is not installed")
def test_the_real_program_makes_a_whole_fingerprint(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "song.wav", melody(1, 30))
    text, seconds = Fpcalc().compressed(path, 10.0)
    assert text.startswith("AQAA")
    assert seconds == 30.0
