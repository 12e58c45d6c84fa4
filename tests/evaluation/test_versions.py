"""Numbers of metrics and front ends do not change without their versions, which decide whether values are comparable."""

import json
from copy import deepcopy
from pathlib import Path
from typing import get_args

import pytest

from auralith.evaluation.measures import VERSIONS, Kind
from scripts import golden_versions
from scripts.golden_versions import Recorded, changed, main, recorded
from tests.conftest import GOLDEN

PATH = GOLDEN / "versions.json"


@pytest.fixture(scope="module")
def found() -> Recorded:
    return recorded()


def test_numbers_are_those_of_their_versions(found: Recorded) -> None:
    before = json.loads(PATH.read_text())
    assert VERSIONS.keys() == set(get_args(Kind)) <= found.keys()
    remedy = "raise the version, and run scripts/golden_versions.py"
    assert changed(found, before) == [], remedy
    versions = ({name: one["version"] for name, one in part.items()} for part in (found, before))
    assert next(versions) == next(versions), remedy


def test_changed_numbers_are_not_recorded_under_an_old_version(
    found: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "versions.json"
    path.write_text(PATH.read_text())
    other = deepcopy(found)
    other["kl"]["numbers"][0][0] *= 1.001
    monkeypatch.setattr(golden_versions, "recorded", lambda: other)
    with pytest.raises(SystemExit, match="kl: its numbers changed"):
        main(path)
    other["kl"]["version"] += 1
    main(path)
    assert json.loads(path.read_text())["kl"] == other["kl"]
