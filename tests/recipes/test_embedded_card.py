"""The card of the embedded model has the figures of that model; those of another one are refused."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest

from auralith import load
from auralith.cli.main import run
from auralith.pipeline import EMBEDDED
from recipes.embedded.card import app
from recipes.embedded.evaluation.judging import SETTINGS, VERDICTS, Verdict

VERDICT = Verdict(
    "a dog", "recording", {"end": True}, {"start": -30.0, "last": -60.0, "side": -9.0, "gaps": 0.25}
)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Folder of a run, with its model."""
    shutil.copytree(EMBEDDED, tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.fixture
def judged(tmp_path: Path) -> Path:
    """Folder of an evaluation of that model."""
    (tmp_path / SETTINGS).write_text(json.dumps({"model": load(EMBEDDED).checkpoint.model_hash}))
    rows = {name: [asdict(VERDICT)] for name in ("corpus", "generated")}
    (tmp_path / VERDICTS).write_text(json.dumps(rows))
    return tmp_path


def test_it_has_the_figures_of_its_model(trained: Path, judged: Path) -> None:
    assert run([str(trained), "--evaluation", str(judged)], app) == 0
    text = (trained / "model" / "MODEL_CARD.md").read_text()
    assert "| end within 0.25 s | 1 | 100.0% | 100.0% |" in text
    assert "| median share of silence | 1 | 0.25 | 0.25 |" in text
    assert "17.5 million parameters" in text and "played on SoundFonts" in text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (SETTINGS, '{"model": "0a"}', "judges another model than"),
        (SETTINGS, "{}", "can't be read"),
        (SETTINGS, "[]", "can't be read"),
        (VERDICTS, '{"corpus": [{"prompt": "a"}]}', "can't be read"),
        (VERDICTS, "[1]", "can't be read"),
        (VERDICTS, "{", "can't be read"),
    ],
)
def test_figures_of_another_model_or_none_are_refused(
    trained: Path, judged: Path, name: str, content: str, message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    card = trained / "model" / "MODEL_CARD.md"
    before = card.read_bytes()
    (judged / name).write_text(content)
    assert run([str(trained), "--evaluation", str(judged)], app) == 2
    shown = " ".join(capsys.readouterr().err.split())
    assert message in shown and "Traceback" not in shown
    assert card.read_bytes() == before
