"""Settings files: what is understood, and that everything else is refused by name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from auralith.errors import Field, InvalidRequest
from auralith.settings import build_settings, load_settings


@dataclass(frozen=True)
class Optimizer:
    name: Literal["adamw", "muon"] = "adamw"
    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.99)
    warmup: int | None = 10

    def __post_init__(self) -> None:
        if self.warmup is not None and self.warmup < 0:
            raise InvalidRequest(Field("warmup"), f" is {self.warmup}; it must be at least 0")
        if self.warmup == 0 and self.rate > 0.01:
            raise InvalidRequest(
                *(Field("warmup"), f" is {self.warmup}, and ", Field("rate"), f" {self.rate}"),
                "; choose a warm-up or a rate of at most 0.01",
            )


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
    level: Literal[1, 2, 3] = 1
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
        ("step=1", "--set step is not a setting; did you mean 'steps'"),
        ("optimizer.rates=1", "--set optimizer.rates is not a setting; did you mean 'rate'"),
        ("zzz=1", "known are steps, title"),
        ("steps=1.5", "--set steps must be a whole number, not 1.5"),
        ("steps=true", "--set steps must be a whole number, not True"),
        ("steps=many", "--set steps must be a whole number, not 'many'"),
        ("level=true", "--set level must be 1 or 2 or 3, not True"),
        ("level=2.0", "--set level must be 1 or 2 or 3, not 2.0"),
        (
            "optimizer.rate=1" + 400 * "0",
            "--set optimizer.rate must be a number, not a number of about 401",
        ),
        ("resume=1", "--set resume must be true or false, not 1"),
        ("optimizer.rate=fast", "--set optimizer.rate must be a number"),
        ("optimizer.name=sgd", "--set optimizer.name must be 'adamw' or 'muon', not 'sgd'"),
        ("optimizer.betas=[1]", r"--set optimizer.betas must be tuple\[float, float\]"),
        ("strides=[1, 'a']", r"--set strides\[1\] must be a whole number"),
        ("optimizer=3", "--set optimizer must be a section, not 3"),
        ("network.height=3", "--set network must be"),
        ("steps", "write --set section.key=value"),
        ("=3", "write --set section.key=value"),
        ("steps.deep=3", "--set steps must be a whole number"),
        ("optimizer.warmup=-1", "--set optimizer.warmup is -1; it must be at least 0"),
        ("optimizer={warmup = -1}", "--set optimizer.warmup is -1; it must be at least 0"),
        ("optimizer.warmup=0", "--set optimizer.warmup is 0, and optimizer.rate 0.02"),
    ],
)
def test_mistakes_are_named(override: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message) as caught:
        load_settings(
            Training, None, ["steps=1", override] if "steps" not in override else [override]
        )
    assert "\n" not in str(caught.value)


def test_a_value_is_named_by_the_place_where_it_was_given_last(tmp_path: Path) -> None:
    path = write(tmp_path, "steps = 5\n[optimizer]\nwarmup = -1\nrate = 2\n")
    for options, overrides, name in (
        ({}, (), f"optimizer.warmup in {path}"),
        ({"optimizer.warmup": -1}, (), "optimizer.warmup"),
        ({}, ("optimizer.warmup=-1",), "--set optimizer.warmup"),
        ({"optimizer.warmup": 3}, ("optimizer.warmup=-1",), "--set optimizer.warmup"),
        ({"optimizer.rate": 3.0}, (), f"optimizer.warmup in {path}"),
    ):
        with pytest.raises(InvalidRequest) as caught:
            load_settings(Training, path, overrides, options=options)
        assert str(caught.value) == f"{name} is -1; it must be at least 0"
    with pytest.raises(InvalidRequest, match=f"^step in {path} is not a setting"):
        load_settings(Training, write(tmp_path, "step = 5"))
    with pytest.raises(InvalidRequest, match=f"^steps in {path} must be a whole number"):
        load_settings(Training, write(tmp_path, "steps = 'five'"))
    with pytest.raises(InvalidRequest, match=r"^optimizer.rate can't be set: optimizer is a value"):
        load_settings(Training, write(tmp_path, "optimizer = 1"), options={"optimizer.rate": 0.1})


def test_a_field_can_be_called_by_the_name_of_its_option() -> None:
    with pytest.raises(InvalidRequest) as caught:
        load_settings(Training, options={"steps": 1, "optimizer.warmup": 0, "optimizer.rate": 0.5})
    names = {"optimizer.warmup": "--warmup"}
    caught.value.rename(lambda field: names.get(field, field))
    caught.value.rename({"--warmup": "never", "optimizer.rate": "--rate"}.__getitem__)
    assert (
        str(caught.value)
        == "--warmup is 0, and --rate 0.5; choose a warm-up or a rate of at most 0.01"
    )


@given(st.text(st.characters()))
def test_a_text_given_as_an_option_is_taken_as_it_is(text: str) -> None:
    options = {"steps": 1, "title": text, "note": text, "folder": Path(text)}
    settings = load_settings(Training, options=options)
    assert (settings.title, settings.note, settings.folder) == (text, text, Path(text))


LIKE_TOML = ("1", "true", "none", "2026-03-31", "[1]", "{a = 1}", "inf", "1\nsteps = 2", "1 # 2")
"""Texts that are TOML of another kind, or of more than one line."""


@given(st.text(st.characters()) | st.sampled_from(LIKE_TOML))
def test_a_text_given_as_an_override_is_taken_as_it_is(text: str) -> None:
    assume(text.strip()[:1] not in ("'", '"'))
    overrides = ["steps=1", f"title={text}", f"note = {text} "]
    settings = load_settings(Training, None, overrides)
    assert settings == Training(1, text.strip(), text.strip())


@given(st.text(st.characters(codec="utf-8")) | st.sampled_from(LIKE_TOML))
def test_a_quoted_text_of_an_override_means_what_it_means_in_toml(text: str) -> None:
    quoted = "".join(f"\\U{ord(character):08x}" for character in text)
    assert load_settings(Training, None, ["steps=1", f'title="{quoted}"']).title == text


def test_a_missing_value_a_missing_file_and_no_toml(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="steps is missing"):
        load_settings(Training)
    with pytest.raises(InvalidRequest, match="can't be read"):
        load_settings(Training, tmp_path / "nothing.toml")
    with pytest.raises(InvalidRequest, match="is not TOML"):
        load_settings(Training, write(tmp_path, "steps = = 3"))


def test_a_value_is_no_section() -> None:
    with pytest.raises(InvalidRequest, match=r"--set steps.deep can't be set: steps is a value"):
        load_settings(Training, None, ["steps=1", "steps.deep=2"])
