"""The index of landmarks: postings where they belong, whole or not at all, and no index that isn't ours."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from auralith.errors import AuralithError, CheckpointError, InvalidRequest
from auralith.fingerprint import IndexOptions, LandmarkIndex, Landmarks, build_index
from auralith.fingerprint.index import NUM_HASHES


def made(seed: int, count: int = 400, highest: int = 300) -> Landmarks:
    """Made-up landmarks, of few hashes so that buckets fill."""
    rng = np.random.default_rng(seed)
    hashes, frames = rng.integers(0, highest, count), np.sort(rng.integers(0, 1_000, count))
    return Landmarks(hashes, frames, np.ones(count), 1_000, 23.2)


SOUNDS = [(f"song {seed}", made(seed)) for seed in range(12)]


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> LandmarkIndex:
    folder = tmp_path_factory.mktemp("index") / "known"
    assert build_index(SOUNDS, folder) == 12 * 400
    return LandmarkIndex.open(folder)


def all_postings(index: LandmarkIndex) -> set[tuple[int, int, int]]:
    hashes = np.arange(NUM_HASHES)
    place, references, frames = index.postings(hashes)
    return set(zip(hashes[place].tolist(), references.tolist(), frames.tolist(), strict=True))


def test_every_posting_is_found_by_its_hash(index: LandmarkIndex) -> None:
    expected = {
        (hash, number, frame)
        for number, (_, found) in enumerate(SOUNDS)
        for hash, frame in zip(found.hashes.tolist(), found.frames.tolist(), strict=True)
    }
    assert all_postings(index) == expected


def test_a_query_gets_its_places_in_order_even_those_that_repeat(index: LandmarkIndex) -> None:
    one = index.postings(np.array([7]))
    place, references, frames = index.postings(np.array([7, 4_000_000, 7]))
    count = len(one[0])
    assert count > 5
    assert place.tolist() == [0] * count + [2] * count
    assert references.tolist() == one[1].tolist() * 2
    assert frames.tolist() == one[2].tolist() * 2
    assert len(index.postings(np.zeros(0, np.int64))[0]) == 0


def test_references_keep_their_names_and_lengths(index: LandmarkIndex) -> None:
    assert [one.ref_id for one in index.references] == [name for name, _ in SOUNDS]
    assert index.num_frames.tolist() == [1_000] * 12


def test_postings_lie_sorted_and_mapped_into_memory(index: LandmarkIndex) -> None:
    offsets = np.load(index.folder / "offsets.npy")
    assert offsets.shape == (NUM_HASHES + 1,)
    assert offsets[0] == 0
    assert offsets[-1] == 12 * 400
    assert (np.diff(offsets) >= 0).all()
    assert np.load(index.folder / "frames.npy").dtype == np.uint32
    assert all(isinstance(column, np.memmap) for column in index._columns)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(("size", "cap"), [(1, 5), (1_000, 5), (3_999, 4_096)])
def test_merged_shards_are_what_one_shard_is(tmp_path: Path, size: int, cap: int) -> None:
    for name, postings in (("one", 10**9), ("many", size)):
        build_index(SOUNDS, tmp_path / name, IndexOptions(postings, cap))
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    names = {"header.json", "offsets.npy", "references.npy", "frames.npy"}
    assert set(contents(tmp_path / "many")) == names


def test_a_bucket_beyond_the_cap_is_thinned_evenly(tmp_path: Path) -> None:
    count, cap = 1_000, 64
    frames = np.arange(count)
    hum = Landmarks(np.full(count, 5), frames, np.ones(count), count, 23.2)
    rare = Landmarks(np.full(cap, 9), frames[:cap], np.ones(cap), count, 23.2)
    written = build_index([("hum", hum), ("rare", rare)], tmp_path / "x", IndexOptions(300, cap))
    assert written == 2 * cap
    index = LandmarkIndex.open(tmp_path / "x")
    _, references, kept = index.postings(np.array([5]))
    assert set(references.tolist()) == {0}
    assert len(set(kept.tolist())) == cap
    assert kept.min() == 0
    assert set(np.diff(np.sort(kept)).tolist()) <= {count // cap, count // cap + 1}
    assert len(index.postings(np.array([9]))[0]) == cap
    header = json.loads((tmp_path / "x" / "header.json").read_text())
    assert (header["bucket_cap"], header["thinned_buckets"]) == (cap, 1)


def test_every_reference_keeps_its_share_of_a_thinned_bucket(tmp_path: Path) -> None:
    tones = [
        (f"tone {i}", Landmarks(np.full(100, 5), np.arange(100), np.ones(100), 100, 2.3))
        for i in range(10)
    ]
    build_index(tones, tmp_path / "x", IndexOptions(250, 50))
    _, references, _ = LandmarkIndex.open(tmp_path / "x").postings(np.array([5]))
    assert np.bincount(references).tolist() == [5] * 10


def test_references_without_a_hash_are_references(tmp_path: Path) -> None:
    silence = Landmarks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), 40, 1.0)
    assert build_index([("silence", silence)], tmp_path / "x") == 0
    index = LandmarkIndex.open(tmp_path / "x")
    assert len(index.references) == 1
    assert len(index.postings(np.arange(100))[0]) == 0


def failing() -> Iterator[tuple[str, Landmarks]]:
    yield from SOUNDS[:3]
    raise InvalidRequest("the disk of the sounds is gone")


@pytest.mark.parametrize(
    ("sounds", "message"),
    [
        (lambda: iter(()), "no reference"),
        (lambda: iter([SOUNDS[0], SOUNDS[1], SOUNDS[0]]), "song 0"),
        (failing, "is gone"),
    ],
    ids=["none", "twice", "failing"],
)
def test_an_index_is_written_whole_or_not_at_all(
    tmp_path: Path, sounds: Callable[[], Iterator[tuple[str, Landmarks]]], message: str
) -> None:
    with pytest.raises(InvalidRequest, match=message):
        build_index(sounds(), tmp_path / "x", IndexOptions(500))
    assert list(tmp_path.iterdir()) == []


def test_a_name_twice_is_told_before_all_sounds_are_read(tmp_path: Path) -> None:
    def sounds() -> Iterator[tuple[str, Landmarks]]:
        yield from (SOUNDS[0], SOUNDS[0])
        pytest.fail("read on")

    with pytest.raises(InvalidRequest, match="song 0"):
        build_index(sounds(), tmp_path / "x")


def test_an_index_that_is_there_stays(index: LandmarkIndex) -> None:
    before = contents(index.folder)
    with pytest.raises(CheckpointError, match="exists already"):
        build_index(SOUNDS[:2], index.folder)
    assert contents(index.folder) == before


def test_another_index_has_another_digest(index: LandmarkIndex, tmp_path: Path) -> None:
    build_index(SOUNDS[:-1], tmp_path / "x")
    assert LandmarkIndex.open(tmp_path / "x").digest != index.digest
    assert LandmarkIndex.open(index.folder).digest == index.digest


@pytest.fixture
def copy(index: LandmarkIndex, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    folder.mkdir()
    for name, data in contents(index.folder).items():
        (folder / name).write_bytes(data)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(AuralithError) as error:
        LandmarkIndex.open(folder).postings(np.arange(400))
    assert isinstance(error.value, InvalidRequest)
    message = str(error.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


@pytest.mark.parametrize(
    "change",
    [
        lambda header: {"version": header["version"] + 1},
        lambda header: {"parameters": header["parameters"] | {"quantile": 0.9}},
        lambda header: {"parameters": header["parameters"] | {"extra": 1}},
        lambda header: {"parameters": None},
    ],
)
def test_an_index_of_another_version_or_parameters_is_refused(
    copy: Path, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    header = json.loads((copy / "header.json").read_text())
    (copy / "header.json").write_text(json.dumps(header | change(header)))
    assert "index the sounds again" in refused(copy)


@pytest.mark.parametrize(
    "header",
    [b"", b"{", b"[]", b"3", b"null", b'"x"', b"\xff\xfe", b'{"version": 1}', b"PK\x03\x04"],
)
def test_a_damaged_header_is_refused(copy: Path, header: bytes) -> None:
    (copy / "header.json").write_bytes(header)
    assert "is not a landmark index" in refused(copy)


@pytest.mark.parametrize("references", ["x", [["a"]], [["a", "b"]], [3], {"a": 1}, None])
def test_damaged_references_in_the_header_are_refused(copy: Path, references: object) -> None:
    header = json.loads((copy / "header.json").read_text())
    (copy / "header.json").write_text(json.dumps(header | {"references": references}))
    refused(copy)


def test_a_truncated_header_is_refused(copy: Path) -> None:
    data = (copy / "header.json").read_bytes()
    for size in range(0, len(data), 97):
        (copy / "header.json").write_bytes(data[:size])
        refused(copy)


@pytest.mark.parametrize("name", ["offsets", "references", "frames"])
@pytest.mark.parametrize("left", [0.0, 0.5, 0.999, 1.0])
def test_a_cut_or_missing_column_is_refused(copy: Path, name: str, left: float) -> None:
    path = copy / f"{name}.npy"
    data = path.read_bytes()
    path.unlink()
    if left < 1:
        path.write_bytes(data[: int(left * len(data))])
    assert "index again" in refused(copy)


@pytest.mark.parametrize("name", ["offsets", "references", "frames"])
def test_a_column_of_something_else_is_refused(copy: Path, name: str) -> None:
    column = np.load(copy / f"{name}.npy")
    for other in (
        column[:-1],
        column.astype(np.float64),
        np.array([{}] * 9),
        column.reshape(1, -1),
    ):
        np.save(copy / f"{name}.npy", other, allow_pickle=True)
        assert "index again" in refused(copy)


def test_postings_of_references_that_are_not_there_are_refused(copy: Path) -> None:
    np.save(copy / "references.npy", np.load(copy / "references.npy") + np.uint32(1))
    assert "damaged" in refused(copy)


def test_places_out_of_order_are_refused(copy: Path) -> None:
    offsets = np.load(copy / "offsets.npy")
    offsets[3] += 4_000
    np.save(copy / "offsets.npy", offsets)
    assert "damaged" in refused(copy)


def test_places_out_of_order_are_refused_in_unsigned_numbers(copy: Path) -> None:
    offsets = np.load(copy / "offsets.npy").astype(np.uint64)
    offsets[3] += 4_000
    np.save(copy / "offsets.npy", offsets)
    assert "damaged" in refused(copy)


@pytest.mark.parametrize("name", ["offsets", "references", "frames"])
@pytest.mark.parametrize("literal", [b"{'descr': (", b"\0{}", b"{'descr': '\"", b"{1: 2}", b"[]"])
def test_a_header_that_is_no_literal_is_refused(copy: Path, name: str, literal: bytes) -> None:
    path = copy / f"{name}.npy"
    data = path.read_bytes()
    path.write_bytes(data[:10] + literal.ljust(118) + data[128:])
    assert "damaged" in refused(copy)


@pytest.mark.parametrize("length", [-1, 10**30])
def test_a_reference_of_an_impossible_length_is_refused(copy: Path, length: int) -> None:
    header = json.loads((copy / "header.json").read_text())
    header["references"][0][1] = length
    (copy / "header.json").write_text(json.dumps(header))
    assert "is not a landmark index" in refused(copy)


def test_frames_beyond_their_reference_are_refused(copy: Path) -> None:
    np.save(copy / "frames.npy", np.load(copy / "frames.npy") + np.uint32(1 << 30))
    assert "damaged" in refused(copy)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "auralith curate index" in refused(tmp_path / "nowhere")
