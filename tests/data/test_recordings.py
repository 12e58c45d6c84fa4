"""Every kind of dataset gives the same recordings; what is wrong with one is said in a line that names it."""

import builtins
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import torch
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from sounds import RATE, sound_bytes, tone, write_sound, write_tar

from auralith.data.recordings import open_recordings
from auralith.errors import AudioError, InvalidRequest
from auralith.sound.extent import read_info
from auralith.sound.reading import read

ROWS = [
    {"path": "a.wav", "prompt": "a tone, low", "genre": "test"},
    {"path": "deep/b.flac", "prompt": "another tone", "genre": ""},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_sound(tmp_path / "a.wav")
    write_sound(tmp_path / "deep/b.flac", tone(0.5, 2))
    return tmp_path


def as_csv(folder: Path) -> Path:
    table = folder / "train_dataset.csv"
    table.write_text(
        'path,prompt,genre\na.wav,"a tone, low",test\ndeep/b.flac,another tone,\n', "utf-8-sig"
    )
    return table


def as_jsonl(folder: Path) -> Path:
    table = folder / "rows.jsonl"
    table.write_text("\n\n".join(json.dumps(row) for row in ROWS))
    return table


def as_parquet(folder: Path) -> Path:
    table = folder / "manifest.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), table)
    return table


def as_folder(folder: Path) -> Path:
    (folder / "a.txt").write_text("a tone, low\n")
    (folder / "a.json").write_text('{"genre": "test", "prompt": "the text file wins"}')
    (folder / "deep/b.json").write_text('{"prompt": "another tone", "genre": null}')
    (folder / "deep/._b.flac").write_text("what another system leaves")
    return folder


def as_shards(folder: Path) -> Path:
    members = {
        "a.txt": b"a tone, low",
        "a.json": b'{"genre": "test"}',
        "a.wav": (folder / "a.wav").read_bytes(),
    }
    write_tar(folder / "s-00.tar", members)
    b = {"deep/b.flac": (folder / "deep/b.flac").read_bytes(), "deep/b.TXT": b"another tone"}
    write_tar(folder / "s-01.tar", b)
    return folder / "s-{00..01}.tar"


KINDS = [as_csv, as_jsonl, as_parquet, as_folder, as_shards]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_the_same_recordings(kind, folder: Path):
    recordings = open_recordings(kind(folder))
    assert [r.prompts for r in recordings] == [("a tone, low",), ("another tone",)]
    assert [dict(r.metadata) for r in recordings] == [{"genre": "test"}, {}]
    assert [r.id.removeprefix("s-00.tar/").removeprefix("s-01.tar/") for r in recordings] == [
        "a.wav",
        "deep/b.flac",
    ]
    assert [recordings.seconds(i) for i in range(2)] == [1.0, 0.5]
    waveform, rate = recordings.read(1)
    assert rate == RATE and waveform.dtype == torch.float32
    assert np.allclose(waveform.T, tone(0.5, 2), atol=1e-4)
    part, _ = recordings.read(1, 1000, 3000)
    assert torch.equal(part, waveform[:, 1000:3000])
    assert recordings.read(1, 5000, 6000)[0].shape == (2, 0)


def test_a_folder_of_shards_and_a_single_shard(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
):
    shards = tmp_path_factory.mktemp("shards")
    for name in ("0.tar", "1.tar"):
        write_tar(shards / name, {f"{name[0]}.flac": sound_bytes(), f"{name[0]}.txt": b"a tone"})
    assert [r.id for r in open_recordings(shards)] == ["0.tar/0.flac", "1.tar/1.flac"]
    assert open_recordings(shards / "1.tar")[0].path == f"{shards / '1.tar'}/1.flac"


def test_members_of_a_shard_group_up_to_the_first_dot(tmp_path: Path):
    members = {"x/1.flac": sound_bytes(), "x/1.json": b'{"prompt": "one", "tags": ["a", "b"]}'}
    members |= {
        "x/2.txt": b"no sound here",
        "__index__": b"",
        "x/._3.flac": b"",
        "y.old/3.flac": sound_bytes(),
    }
    recordings = open_recordings(write_tar(tmp_path / "s.tar", members))
    assert [r.prompts for r in recordings] == [("one",), ("no sound here",), ()]
    assert recordings[0].metadata == {"tags": "a, b"}
    with pytest.raises(AudioError, match=r"s\.tar/x/2\.txt is not a readable sound file"):
        recordings.info(1)


def test_shards_hold_what_webdataset_finds_in_them(tmp_path: Path):
    names = ["a.flac", "a.TXT", "b/c.d.flac", "b/c.txt", "e.flac", "a.json", "plain", "f.x.flac"]
    tables = {name: b"{}" if name.endswith("json") else name.encode() for name in names}
    tables |= {name: sound_bytes() for name in names if name.endswith(".flac")}
    shard = write_tar(tmp_path / "s.tar", tables)
    expected = list(webdataset.compat.WebDataset(str(shard), shardshuffle=False))
    found = open_recordings(shard)
    assert [r.id.removeprefix("s.tar/").split(".")[0] for r in found] == [
        sample["__key__"] for sample in expected
    ]
    assert [r.prompts for r in found] == [
        (sample["txt"].decode(),) if "txt" in sample else () for sample in expected
    ]


def test_members_are_read_from_many_threads(tmp_path: Path):
    tones = {f"{i}.flac": tone(hz=100.0 + 50 * i) for i in range(12)}
    shard = write_tar(tmp_path / "s.tar", {name: sound_bytes(t) for name, t in tones.items()})
    recordings = open_recordings(shard)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(recordings.read, list(range(12)) * 4))
    for (waveform, _), expected in zip(found, list(tones.values()) * 4, strict=True):
        assert np.allclose(waveform.T, expected, atol=1e-4)


def test_paths_may_be_absolute_and_repeat(folder: Path, tmp_path_factory: pytest.TempPathFactory):
    table = tmp_path_factory.mktemp("elsewhere") / "t.csv"
    path = (folder / "a.wav").as_posix()
    table.write_text(f"file,say\n{path},one\n{path},two\n")
    recordings = open_recordings(table, path_column="file", prompt_column="say")
    assert [r.id for r in recordings] == [path, f"{path}#2"]
    assert recordings.seconds(1) == 1.0


def test_without_a_prompt_column_prompts_are_left_to_the_metadata(folder: Path):
    recordings = open_recordings(as_csv(folder), prompt_column=None)
    assert recordings[0].prompts == ()
    assert recordings[0].metadata == {"prompt": "a tone, low", "genre": "test"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "where,prompt\na.wav,x\n", "no column 'path' \\(it has where, prompt\\)"),
        ("t.csv", "where,says\na.wav,x\n", "no column 'path' and no column 'prompt'"),
        ("t.csv", "path,prompt\n", "has no rows"),
        ("t.csv", "path,prompt\na.wav,a tone, low\n", "line 2 has more cells than the header"),
        ("t.csv", "path,prompt\n,x\n", "line 2 has no path"),
        ("t.csv", b"path,prompt\na.wav,\xff\n", "can't be read"),
        ("t.jsonl", '{"path": "a.wav", "prompt": "x"}\n{"path":\n', "line 2 is not JSON"),
        ("t.jsonl", '["a.wav"]', "line 1 is not one JSON object"),
        ("t.jsonl", '{"path": "a.wav", "prompt": "x"}\n{"prompt": "x"}', "line 2 has no path"),
        ("t.parquet", "PAR1", "can't be read"),
        ("t.tar", "not a tar file", "is not an uncompressed tar"),
        ("t.mid", "", "is no dataset"),
    ],
)
def test_a_damaged_dataset_gets_one_line(
    name: str, text: str | bytes, message: str, tmp_path: Path
):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidRequest, match=message) as caught:
        open_recordings(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_and_empty_places_get_one_line(tmp_path: Path):
    for place in ("nowhere.csv", "nowhere", "s.tar", "s-{0..2}.tar"):
        with pytest.raises(InvalidRequest, match="doesn't exist"):
            open_recordings(tmp_path / place)
    with pytest.raises(InvalidRequest, match="holds no sound files"):
        open_recordings(tmp_path)
    write_tar(tmp_path / "s.tar", {"a.flac": sound_bytes(), "a.FLAC": sound_bytes()})
    with pytest.raises(InvalidRequest, match="duplicate"):
        open_recordings(tmp_path / "s.tar")
    write_tar(tmp_path / "z.tar", {"a.flac": sound_bytes()}, "w:gz")
    with pytest.raises(InvalidRequest, match="gunzip"):
        open_recordings(tmp_path / "z.tar")


def test_damaged_text_beside_a_sound_names_the_sound(tmp_path: Path):
    write_sound(tmp_path / "a.wav")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(InvalidRequest, match=r"beside .*a\.wav is damaged"):
        open_recordings(tmp_path)
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InvalidRequest, match=r"beside .*a\.wav is not one object"):
        open_recordings(tmp_path)


@pytest.mark.parametrize("function", [read_info, read])
def test_unusable_files_are_named(function, tmp_path: Path):
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "noise.raw").write_bytes(b"\1\2" * 99)
    (tmp_path / "text.m4a").write_text("not sound")
    write_sound(tmp_path / "none.wav", np.zeros((0, 1), np.float32))
    for name, message in [
        ("empty.wav", "is empty"),
        ("noise.raw", "is not a readable sound file"),
        ("text.m4a", "is not a readable sound file"),
        ("none.wav", "holds no samples"),
        ("gone.wav", "doesn't exist"),
        ("a" * 5000, "doesn't exist"),
    ]:
        with pytest.raises(AudioError, match=message) as caught:
            function(tmp_path / name, name=name)
        assert str(caught.value).startswith(name)


def test_nan_is_found_at_its_sample(tmp_path: Path):
    samples = tone(channels=2)
    samples[700, 1] = np.nan
    path = write_sound(tmp_path / "n.wav", samples)
    for start in (0, 500):
        with pytest.raises(
            AudioError, match=r"n\.wav is not finite: NaN or infinity at sample 700"
        ):
            read(path, start, name="n.wav")
    assert read(path, 0, 700)[0].shape == (2, 700)


@settings(max_examples=30)
@given(
    start=st.integers(0, 90_000),
    length=st.integers(0, 4_000),
    suffix=st.sampled_from([".flac", ".ogg", ".mp3"]),
)
def test_a_stretch_is_what_the_whole_file_has_there(
    tmp_path_factory: pytest.TempPathFactory, start: int, length: int, suffix: str
):
    path = tmp_path_factory.getbasetemp() / f"stretch{suffix}"
    if not path.exists():
        write_sound(path, tone(5.0, 1, 16_000), 16_000)
    whole, _ = read(path)
    assert whole.shape[1] == read_info(path).num_samples
    part, _ = read(path, start, start + length)
    assert torch.allclose(part, whole[:, start : start + length], atol=1e-6)


def write_aac(path: Path, samples: np.ndarray, rate: int) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="stereo")
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = rate, 0
        for part in (frame, None):
            container.mux(stream.encode(part))
    return path


@pytest.mark.parametrize("suffix", [".m4a", ".aac", ".mka"])
def test_pyav_reads_what_libsndfile_cant(suffix: str, tmp_path: Path):
    samples = tone(2.0, 2, 44_100)
    path = write_aac(tmp_path / f"t{suffix}", samples, 44_100)
    info = read_info(path)
    assert (info.sample_rate, info.channels) == (44_100, 2)
    whole, rate = read(path)
    assert rate == 44_100 and abs(whole.shape[1] - info.num_samples) < 1024
    assert abs(info.seconds - 2.0) < 0.1
    for start, stop in ((30_000, 40_000), (17_000, 17_001), (100, 5_000), (99_999, 200_000)):
        part, _ = read(path, start, stop)
        assert torch.allclose(part, whole[:, start:stop], atol=5e-3)  # noise bands differ
    if suffix == ".m4a":
        assert np.abs(whole.numpy().T[2000:80_000] - samples[2000:80_000]).mean() < 0.02
    shard = write_tar(tmp_path / "s.tar", {path.name: path.read_bytes()})
    member = open_recordings(shard)
    assert member.info(0) == info
    assert torch.equal(member.read(0)[0], whole)


def test_the_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_aac(tmp_path / "t.m4a", tone(0.2, 2, 44_100), 44_100)
    real = builtins.__import__

    def without_av(name: str, *rest) -> ModuleType:
        if name == "av":
            raise ModuleNotFoundError("no av", name="av")
        return real(name, *rest)

    monkeypatch.setattr("auralith.extras.import_module", without_av)
    with pytest.raises(AudioError, match=r"t\.m4a can't be read: .*auralith\[av\]"):
        read_info(path, name="t.m4a")
    (tmp_path / "x.wav").write_text("no sound")
    with pytest.raises(AudioError, match="not a readable sound file"):
        read_info(tmp_path / "x.wav", name="x.wav")


def test_a_playlist_opens_no_other_file(tmp_path: Path):
    write_aac(tmp_path / "segment.m4a", tone(1.0, 2, 44_100), 44_100)
    playlist = tmp_path / "list.m4a"
    playlist.write_text(
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsegment.m4a\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError, match="not a readable sound file"):
        read_info(playlist, name=playlist.name)


def test_sounds_inside_and_beside_a_parquet_table(tmp_path: Path):
    for name in ("a.wav", "b.wav"):
        write_sound(tmp_path / name, tone(0.5))
    content = (tmp_path / "a.wav").read_bytes()
    audio = [{"bytes": content, "path": "x.wav"}, {"bytes": None, "path": "b.wav"}]
    audio += [{"bytes": None, "path": "gone.wav"}, {"bytes": content, "path": None}]
    table = pyarrow.table({"audio": audio, "text": ["one", "two", "three", "four"]})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet", row_group_size=3)
    recordings = open_recordings(tmp_path / "t.parquet")
    assert [r.prompts[0] for r in recordings] == ["one", "two", "three", "four"]
    assert [r.id for r in recordings] == ["x.wav", "b.wav", "gone.wav", "row 4"]
    assert [recordings.seconds(i) for i in (0, 1, 3)] == [0.5] * 3
    assert torch.equal(recordings.read(0)[0], recordings.read(1)[0])
    with pytest.raises(AudioError, match=r"t\.parquet/gone\.wav doesn't exist"):
        recordings.info(2)
