"""Settings files: what is understood, and that everything else is refused by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from auralith.errors import InvalidRequest
from auralith.settings import build_settings, load_settings


@dataclass(frozen=True)
class Optimizer:
    name: Literal["adamw", "muon"] = "adamw"
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int | None = 10


@dataclass(frozen=True)
class Small:
    width: int = 8


@dataclass(frozen=True)
class Large:
    depth: int = 4


@dataclass(frozen=True)
class Training:
    steps: int
    title: str = "none yet"
    note: str | None = None
    strides: tuple[int, ...] = (2, 4)
    folder: Path = Path("runs")
    resume: bool = False
    optimizer: Optimizer = Optimizer(name="muon", rate=0.02)
    network: Small | Large = Small()


def write(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text)
    return path


def test_file_overrides_and_defaults_are_merged_in_that_order(tmp_path: Path) -> None:
    path = write(
        tmp_path, 'steps = 5\nfolder = "out"\nstrides = [2, 4, 8]\n[optimizer]\nrate = 1\n'
    )
    settings = load_settings(
        Training, path, ["steps=7", "optimizer.betas=[0.5, 0.9]", "title=my run", "resume=true"]
    )
    assert settings == Training(
        steps=7,
        title="my run",
        strides=(2, 4, 8),
        folder=Path("out"),
        resume=True,
        optimizer=Optimizer(name="muon", rate=1.0, betas=(0.5, 0.9)),
    )
    assert isinstance(settings.optimizer.rate, float)


def test_a_section_changes_only_what_it_names_of_the_default() -> None:
    """The field's own default counts, not the defaults of its class."""
    assert load_settings(Training, None, ["steps=1", "optimizer.warmup=3"]).optimizer == Optimizer(
        "muon", 0.02, warmup=3
    )


def test_none_is_spelled_out_and_stays_text_where_text_is_allowed() -> None:
    settings = load_settings(Training, None, ["steps=1", "optimizer.warmup=none", "note=none"])
    assert settings.optimizer.warmup is None and settings.note == "none"
    assert build_settings(Training, {"steps": 1, "note": None}).note is None


def test_the_member_of_a_union_is_found_by_its_keys() -> None:
    assert load_settings(Training, None, ["steps=1", "network.depth=9"]).network == Large(9)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("step=1", "unknown setting 'step'; did you mean 'steps'"),
        ("optimizer.rates=1", "unknown setting 'optimizer.rates'; did you mean 'rate'"),
        ("zzz=1", "known are steps, title"),
        ("steps=1.5", "'steps' must be int, not 1.5"),
        ("steps=true", "'steps' must be int, not True"),
        ("steps=many", "'steps' must be int, not 'many'"),
        ("resume=1", "'resume' must be bool, not 1"),
        ("optimizer.rate=fast", "'optimizer.rate' must be float"),
        ("optimizer.name=sgd", "'optimizer.name' must be 'adamw' or 'muon', not 'sgd'"),
        ("optimizer.betas=[1]", r"'optimizer.betas' must be tuple\[float, float\]"),
        ("strides=[1, 'a']", r"'strides\[1\]' must be int"),
        ("optimizer=3", "'optimizer' must be a section, not 3"),
        ("network.height=3", "'network' must be"),
        ("steps", "is not an override"),
        ("=3", "is not an override"),
        ("steps.deep=3", "'steps' must be int"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        load_settings(
            Training, None, ["steps=1", override] if "steps" not in override else [override]
        )
    assert "\n" not in str(caught.value)


def test_a_missing_value_a_missing_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="'steps' is missing"):
        load_settings(Training)
    with pytest.raises(InvalidRequest, match="can't be read"):
        load_settings(Training, tmp_path / "nothing.toml")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_settings(Training, write(tmp_path, "steps = = 3"))


def test_a_value_is_no_section() -> None:
    with pytest.raises(InvalidRequest, match="'steps' is a value, not a section"):
        load_settings(Training, None, ["steps=1", "steps.deep=2"])
