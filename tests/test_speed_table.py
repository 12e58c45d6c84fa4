"""The tables of docs/speed.md: a run replaces the rows that it measured and no others, whatever stood there."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
sys.path.append(str(BENCHMARKS))
table, table_parts = map(import_module, ("table", "table_parts"))

CELL = st.text(st.characters(codec="ascii", exclude_characters="|\n\r<>`"), max_size=6).map(
    lambda text: " ".join(text.split())
)
MACHINE = st.text("abc;,() ", min_size=1, max_size=12).map(lambda text: f"x{text}x")


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[str, str, list[tuple[str, ...]]]]:
    """Return what some runs measured: part, machine, rows."""
    found = []
    for _ in range(draw(st.integers(1, 5))):
        part = draw(st.sampled_from(table_parts.PARTS))
        width = len(part.keys) + len(part.columns)
        rows = draw(st.lists(st.tuples(*[CELL] * width), max_size=3))
        found.append((part.name, draw(MACHINE), rows))
    return found


def rows_of(section: Any) -> dict[tuple[str, ...], tuple[str, ...]]:
    """Return the cells of each row by part, machine in words, and the keys."""
    return {
        (one.part.name, section.machines[row[0]], *row[1 : len(one.part.keys) + 1]): row[1:]
        for one in section.found
        for row in one.rows
    }


@settings(max_examples=30)
@given(measured=runs(), before=st.sampled_from(["", "# Speed\n\nText.\n"]))
def test_rows_are_replaced_by_what_they_are_of(measured: Any, before: str) -> None:
    page, expected = before, {}
    for name, about, rows in measured:
        section = table.Section.of(page)
        page = section.with_rows(name, about, rows).written_to(page)
        part = next(one for one in table_parts.PARTS if one.name == name)
        for row in rows:
            expected[name, about, *row[: len(part.keys)]] = row
    found = table.Section.of(page)
    assert rows_of(found) == expected
    assert found.written_to(page) == page
    assert page.startswith(before.rstrip())


def test_the_page_has_the_section_as_it_is_written() -> None:
    page = (ROOT / "docs/speed.md").read_text(encoding="utf-8")
    assert table.Section.of(page).written_to(page) == page


def test_benchmarks_name_what_is_there() -> None:
    """Each command of a part is a script with these options."""
    for scale in ("full", "small"):
        asked = table_parts.Asked(scale, ("float32", "int8"), (1,), 1, None)
        for part in table_parts.PARTS:
            for run in part.runs(asked):
                text = (BENCHMARKS / run.command[0]).read_text(encoding="utf-8")
                for option in (one for one in run.command if one.startswith("--")):
                    name = option.removeprefix("--").replace("-", "_")
                    assert f"{name}:" in text or f'"{option}"' in text, (run.command[0], option)


def test_what_fails_or_takes_too_long_leaves_the_page_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert table.output_of(("cold_start.py", "--no-such-option"), 1, 60.0) is None
    assert "failed: " in capsys.readouterr().err
    assert table.output_of(("cold_start.py", "--rounds", "3"), 1, 0.2) is None
    assert "cut off after 0 s" in capsys.readouterr().err
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n")
    command = [sys.executable, str(BENCHMARKS / "table.py"), "--budget", "1", "--write", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "no time is left for" in done.stderr
    assert not any(one.rows for one in table.Section.of(page.read_text()).found)


@pytest.mark.slow
def test_parts_are_measured_into_rows(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    page = tmp_path / "speed.md"
    options = ("--scale", "small", "--threads", "1", "--rounds", "1", "--budget", "600")
    subprocess.run([sys.executable, BENCHMARKS / "table.py", *options, "--write", page], check=True)
    for one in table.Section.of(page.read_text(encoding="utf-8")).found:
        assert bool(one.rows) == (one.part.name != "gpu")
