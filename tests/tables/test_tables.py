"""Tables of every dialect give the same rows; whatever is wrong with a file is one line, and nothing but that."""

import csv
import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auralith.errors import InvalidRequest, shown
from auralith.tables import SUFFIXES, Row, read_rows, strict_rows
from auralith.tables.cells import captions, joined, named_file
from auralith.tables.delimited import recognize
from auralith.tables.names import choose_column, find_column
from auralith.tables.parquet import SoundCell
from auralith.tables.sidecars import walk_sounds

ROWS = [{"path": "a.wav", "prompt": "rain, heavy"}, {"path": "b.wav", "prompt": "wind; far|off"}]
NAMES = ["path", "prompt", "title"]


def cells(path: Path) -> list[dict[str, object]]:
    return [row.cells for row in strict_rows(path)]


def written(path: Path, content: str | bytes, encoding: str = "utf-8") -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_every_dialect_of_csv_gives_the_same_rows(
    tmp_path: Path, delimiter: str, ends: str, quoting: Any
) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(ROWS[0]), delimiter=delimiter, lineterminator=ends, quoting=quoting
    )
    writer.writeheader()
    writer.writerows(ROWS)
    for suffix in (".csv", ".tsv"):
        assert cells(written(tmp_path / f"t{suffix}", text.getvalue())) == ROWS


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"]
)
def test_every_unicode_encoding_is_decoded(tmp_path: Path, encoding: str) -> None:
    text = "path,prompt\na.wav,Glöckchen ♪ 鐘\n"
    expected = [{"path": "a.wav", "prompt": "Glöckchen ♪ 鐘"}]
    assert cells(written(tmp_path / "t.csv", text, encoding)) == expected
    line = json.dumps(expected[0], ensure_ascii=False)
    assert cells(written(tmp_path / "t.jsonl", line, encoding)) == expected
    assert cells(written(tmp_path / "t.json", f"[{line}]", encoding)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (",path,prompt\n0,a.wav,one\n", [{"path": "a.wav", "prompt": "one"}]),
        ("Unnamed: 0,path\n0,a.wav\n", [{"path": "a.wav"}]),
        ("path,prompt,,\na.wav,one,,\n", [{"path": "a.wav", "prompt": "one"}]),
        ("path,prompt,,\na.wav,one\n", [{"path": "a.wav", "prompt": "one"}]),
        ("path,prompt\na.wav,one,,\n\n,,\n", [{"path": "a.wav", "prompt": "one"}]),
        ("path,prompt\na.wav\n", [{"path": "a.wav", "prompt": ""}]),
        ('path, prompt\na.wav, "one, two"\n', [{"path": "a.wav", "prompt": "one, two"}]),
        ("path,prompt\n a.wav , one\n", [{"path": " a.wav ", "prompt": " one"}]),
        ("\n\nsep=;\npath;prompt\na.wav;0,5\n", [{"path": "a.wav", "prompt": "0,5"}]),
        ("path;seconds\na.wav;0,5\n", [{"path": "a.wav", "seconds": "0,5"}]),
        ("prompt\nrain\nwind; far\n", [{"prompt": "rain"}, {"prompt": "wind; far"}]),
        ('"path, or file";prompt\na;b\n', [{"path, or file": "a", "prompt": "b"}]),
        ('path,"long\nname"\na.wav,"x\r\ny"\n', [{"path": "a.wav", "long\nname": "x\r\ny"}]),
        ("path,prompt\na.wav,zero \0 byte\n", [{"path": "a.wav", "prompt": "zero \0 byte"}]),
    ],
)
def test_what_programs_and_people_write(
    tmp_path: Path, text: str, expected: list[dict[str, str]]
) -> None:
    assert cells(written(tmp_path / "t.csv", text)) == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", "", "no header"),
        ("t.csv", ",,\n1,2,3\n", "no header"),
        ("t.csv", "path,prompt\n\na.wav,rain, heavy\n", "line 3 has more cells than the header"),
        ("t.csv", "path,Path\n", "the column 'path' twice"),
        ("t.csv", 'path,prompt\na.wav,"one\nb.wav,two\n', "line 3 ends inside of a quote"),
        ("t.csv", f"path,prompt\na.wav,{'x' * 140_000}\n", "line 2 can't be read"),
        ("t.csv", b"PK\x03\x04rest", "workbook"),
        ("t.csv", b"\x1f\x8brest", "gunzip"),
        ("t.csv", b"\xff\xfep\x00\x00\xd8\x00\xd8", "UTF-16 is damaged"),
        ("t.jsonl", '{"path": 1, "path": 2}', "the key 'path' stands twice"),
        ("t.jsonl", '{"seed": ' + "1" * 5_000 + "}", "a number of 5,000 digits"),
        ("t.jsonl", '{"a": ' + "[" * 200 + "]" * 200 + "}", "nested too deeply"),
        ("t.jsonl", "[" * 200_000, "is not JSON"),
        ("t.jsonl", '"text"', "is not one JSON object"),
        ("t.json", '[{"path": "a.wav"}, 3]', "row 2 is not one JSON object"),
        ("t.json", '[{"path": "a.wav"}', "cut short"),
        ("t.parquet", b"PAR1", "not a whole Parquet file"),
        ("t.txt", "", "is not a table"),
    ],
)
def test_a_damaged_table_is_one_short_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    path = written(tmp_path / name, content)
    with pytest.raises(InvalidRequest, match=message) as caught:
        cells(path)
    said = str(caught.value)
    assert str(path) in said and "\n" not in said and len(said) < len(str(path)) + 260


def test_bytes_that_are_not_utf8_stay_until_they_must_be_text(tmp_path: Path) -> None:
    (row,) = cells(written(tmp_path / "t.csv", b"path,prompt\nk\x83b.wav,caf\xe9\n"))
    assert row == {"path": "k\udc83b.wav", "prompt": "caf\udce9"}
    with pytest.raises(
        InvalidRequest, match=r"the prompt can't be read: 'caf\\udce9' is not UTF-8"
    ):
        captions(row["prompt"], "the prompt")


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=30)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT.filter(str.strip), TEXT, TEXT), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
    ends=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_what_csv_writes_is_read_back(
    tmp_path: Path,
    rows: list[tuple[str, str, str]],
    delimiter: str,
    ends: str,
    quoting: Any,
    encoding: str,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ends, quoting=quoting)
    writer.writerows([NAMES, *rows])
    found = cells(written(tmp_path / "t.csv", text.getvalue(), encoding))
    assert [tuple(row.values()) for row in found] == rows
    assert all(list(row) == NAMES for row in found)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(TEXT.filter(str.strip), TEXT, TEXT), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t"),
)
def test_what_pandas_writes_is_read_back(
    tmp_path: Path, rows: list[tuple[str, str, str]], delimiter: str
) -> None:
    frame = pandas.DataFrame(rows, columns=NAMES)
    frame.to_csv(tmp_path / "t.csv", sep=delimiter)
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_json(tmp_path / "t.json", orient="records")
    expected = [dict(zip(NAMES, row, strict=True)) for row in rows]
    for name in ("t.csv", "t.parquet", "t.jsonl", "t.json"):
        assert cells(tmp_path / name) == expected, name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300), suffix=st.sampled_from(SUFFIXES), start=st.booleans())
def test_random_bytes_raise_nothing_but_the_one_error(
    tmp_path: Path, content: bytes, suffix: str, start: bool
) -> None:
    path = written(tmp_path / f"t{suffix}", b"path,prompt\n" * start + content)
    for read in (read_rows, strict_rows):
        try:
            assert all(isinstance(row, Row) for row in read(path))
        except InvalidRequest as error:
            assert "\n" not in str(error) and len(str(error)) < len(str(path)) + 260


def test_parquet_of_every_type(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "path": pyarrow.array(["a.wav"]).dictionary_encode(),
            "text": pyarrow.array(["rain"], pyarrow.large_string()),
            "captions": pyarrow.array([["one", "two"]]),
            "price": pyarrow.array([Decimal("1.50")]),
            "missing": pyarrow.array([None], pyarrow.float64()),
            "nan": pyarrow.array([float("nan")]),
            "bytes_of_text": pyarrow.array([b"caf\xc3\xa9"]),
            "__index_level_0__": pyarrow.array([7]),
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    (row,) = strict_rows(tmp_path / "t.parquet")
    assert row.place == "t.parquet, row 1"
    assert row.cells == {
        "path": "a.wav",
        "text": "rain",
        "captions": ["one", "two"],
        "price": Decimal("1.50"),
        "missing": None,
        "nan": None,
        "bytes_of_text": "café",
    }


MILLENNIA = 2**62
MICROSECONDS = pyarrow.timestamp("us")
NO_VALUES = {
    **{f"timestamp {u}": pyarrow.array([MILLENNIA], pyarrow.timestamp(u)) for u in ("ms", "us")},
    "timestamp before": pyarrow.array([-MILLENNIA], MICROSECONDS),
    "timestamp with zone": pyarrow.array([MILLENNIA], pyarrow.timestamp("us", "UTC")),
    "unknown zone": pyarrow.array([0], pyarrow.timestamp("us", "Nowhere/X")),
    "duration": pyarrow.array([MILLENNIA], pyarrow.duration("ms")),
    "date": pyarrow.array([2**31 - 1], pyarrow.int32()).view(pyarrow.date32()),
    "time": pyarrow.array([MILLENNIA]).view(pyarrow.time64("us")),
    "list": pyarrow.array([[0, MILLENNIA]], pyarrow.list_(MICROSECONDS)),
    "struct": pyarrow.array([{"a": MILLENNIA}], pyarrow.struct([("a", MICROSECONDS)])),
    "map": pyarrow.array([[("a", MILLENNIA)]], pyarrow.map_(pyarrow.string(), MICROSECONDS)),
    "text": pyarrow.array([b"\xff\xfe"]).view(pyarrow.string()),
}


@pytest.mark.parametrize("kind", NO_VALUES)
@pytest.mark.parametrize("column", ["when", "prompt"])
def test_a_value_that_python_has_none_for_is_named_with_its_row(
    tmp_path: Path, kind: str, column: str
) -> None:
    nothing = pyarrow.nulls(1, NO_VALUES[kind].type)
    values = pyarrow.chunked_array([nothing, NO_VALUES[kind]])
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"path": ["a.wav", "b.wav"], column: values}), path)
    good, damaged = read_rows(path)
    assert good.problem is None and good.cells == {"path": "a.wav", column: None}
    assert damaged.problem == "row_unreadable"
    fault = "is not UTF-8" if kind == "text" else "is out of range"
    with pytest.raises(InvalidRequest, match=rf"row 2 has a value in '{column}' that {fault}"):
        list(strict_rows(path))


def test_sounds_inside_of_a_table_are_read_one_by_one(tmp_path: Path) -> None:
    audio = [{"bytes": bytes([n]) * 9, "path": f"{n}.wav"} for n in range(5)]
    table = pyarrow.table({"audio": audio, "text": list("abcde")})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    found = [row.cells for row in strict_rows(tmp_path / "t.parquet")]
    assert [row["text"] for row in found] == list("abcde")
    sounds = [row["audio"] for row in found]
    assert all(isinstance(sound, SoundCell) for sound in sounds)
    assert [(sound.path, sound.read()) for sound in reversed(sounds)] == [
        (f"{n}.wav", bytes([n]) * 9) for n in reversed(range(5))
    ]


@pytest.mark.parametrize(
    ("value", "prompts"),
    [
        ("rain", ("rain",)),
        (" rain ", ("rain",)),
        (["a dog barks", "a dog", "a dog"], ("a dog barks", "a dog")),
        ("['a dog', \"it's\"]", ("a dog", "it's")),
        ("['low quality' 'strings']", ("low quality", "strings")),
        ("[laughs] hello", ("[laughs] hello",)),
        ("[laughs]", ("[laughs]",)),
        (808, ("808",)),
        (808.0, ("808",)),
        (None, None),
        ("nan", None),
        ("", ("",)),
        ([], ("",)),
    ],
)
def test_prompts_of_a_cell(value: object, prompts: tuple[str, ...] | None) -> None:
    assert captions(value, "the prompt") == prompts


@pytest.mark.parametrize("value", [{"text": "x"}, True, [["a"]], "\udc83"])
def test_what_is_no_prompt(value: object) -> None:
    with pytest.raises(InvalidRequest, match="the prompt"):
        captions(value, "the prompt")


def test_lists_are_spoken_with_commas() -> None:
    assert joined("['low quality', 'strings']") == "low quality, strings"
    assert joined(["x", None, float("nan"), 3.0]) == "x, 3"
    assert joined(float("nan")) == joined("nan") == joined(None) == ""


def test_files_are_found_as_written_first(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in ("s/a.wav", " b.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    for name, found in {
        "s\\a.wav": "s/a.wav",
        " b.wav": " b.wav",
        " c.wav ": "c.wav",
        "gone.wav ": "gone.wav",
        "nul\0": "nul\0",
    }.items():
        assert named_file(tmp_path, name) == tmp_path / found


def test_names_are_found_in_any_spelling_and_in_order() -> None:
    assert find_column(["File Name", "x"], "path") == "File Name"
    assert find_column(["audio", "FILE-NAME"], "path") == "FILE-NAME"
    assert choose_column(["text", "Prompt"], "prompt", "prompt") == "Prompt"
    assert choose_column(["text"], "words", "prompt") is None
    assert recognize("a;b,c;d").delimiter == ";"


def test_sidecars_are_found_with_suffixes_in_any_case(tmp_path: Path) -> None:
    for name in ("A.WAV", "A.TXT", "b.wav", "b.txt", "b.TXT", "c.wav", "c.Json", "C.txt"):
        (tmp_path / name).touch()
    found = {
        sound.path.name: (sound.text and sound.text.name, sound.fields and sound.fields.name)
        for sound in walk_sounds(tmp_path, [".wav"])
    }
    assert found == {
        "A.WAV": ("A.TXT", None),
        "b.wav": ("b.txt", None),
        "c.wav": (None, "c.Json"),
    }


def test_values_in_messages_are_short_and_plain() -> None:
    assert shown("a\nb\x1b[31m\udc83\u202e") == r"'a\nb\x1b[31m\udc83\u202e'"
    assert len(shown("x" * 10_000)) < 70 and len(shown({"x": ["y" * 999] * 999})) < 70
    assert shown(10**9_999) == "a number of about 10,000 digits"


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_json_beyond_the_limits_is_named(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise MemoryError

    path = tmp_path / name
    row = json.dumps({"path": "a.wav", "prompt": "x" * 200})
    path.write_text(f"{row}\n" if name == "a.jsonl" else f"[{row}]")
    assert [found.problem for found in read_rows(path)] == [None]
    with monkeypatch.context() as less:
        less.setattr("auralith.tables.json_rows._DECODER.decode", decode)
        less.setattr("auralith.tables.json_rows._DECODER.raw_decode", decode)
        with pytest.raises(InvalidRequest, match=rf"{name}\b.*larger than the memory"):
            list(strict_rows(path))
    if name == "a.jsonl":
        monkeypatch.setattr("auralith.tables.json_rows.LONGEST_VALUE", 100)
        with pytest.raises(InvalidRequest, match="line 1 is longer than 100 characters; shorten"):
            list(strict_rows(path))
