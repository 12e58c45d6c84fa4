"""How well the metadata search finds what was damaged (facts 8.2, quality)."""

from math import isnan

import numpy as np
import pytest

from auralith.curation.metadata import Catalogue, Searcher
from auralith.curation.metadata.catalogue import Work
from benchmarks.metadata_catalogue import generate_catalogue
from benchmarks.metadata_corruptions import (
    CORRUPTIONS,
    Recall,
    corrupted,
    precision_recall,
    recall_by_corruption,
    recall_of,
)

SEED = 11


@pytest.fixture(scope="module")
def searcher() -> Searcher:
    return Searcher(generate_catalogue(2_500, seed=1))


@pytest.fixture(scope="module")
def recalls(searcher: Searcher) -> dict[str, Recall]:
    sample = searcher.catalogue.works[::4]
    return {one.corruption: one for one in recall_by_corruption(searcher, sample, SEED)}


def test_identity_recall_is_exactly_one_and_all_of_it_tier_a(searcher: Searcher) -> None:
    works = searcher.catalogue.works
    identity = recall_of("identity", searcher, works, SEED)
    assert identity.recall == 1
    assert identity.by_tier["A"] == identity.total == len(works)


def test_identity_is_one_for_titles_and_names_of_every_kind() -> None:
    texts = [
        "@",
        "-",
        "=",
        "<1",
        "(Live)",
        "feat. X",
        "Кино",
        "北京",
        "01.mp3",
        "&amp;",
        "¤¤",
        "The",
        "3",
        "あ.mp3",
    ]
    works = tuple(Work(f"{i}-{j}", a, b) for i, a in enumerate(texts) for j, b in enumerate(texts))
    searcher = Searcher(Catalogue(works, len(works)))
    for work, found in zip(works, searcher.search(works), strict=True):
        assert [match.tier for match in found.matches if match.ref_id == work.id] == ["A"]


@pytest.mark.parametrize(
    ("corruption", "at_least"),
    [
        ("identity", 1.0),
        ("typo", 0.96),
        ("swap", 0.94),
        ("reorder", 1.0),
        ("feat.", 1.0),
        ("transliteration", 0.97),
        ("mojibake", 0.97),
        ("qualifier", 1.0),
        ("file name", 1.0),
    ],
)
def test_recall_by_corruption(recalls: dict[str, Recall], corruption: str, at_least: float) -> None:
    one = recalls[corruption]
    assert one.total >= 25
    assert sum(one.by_tier.values()) == one.found <= one.total
    assert one.recall >= at_least


def test_recall_without_anything_to_corrupt_is_not_a_number(searcher: Searcher) -> None:
    plain = [work for work in searcher.catalogue.works if f"{work.title}{work.artist}".isascii()][
        :5
    ]
    found = {one.corruption: one for one in recall_by_corruption(searcher, plain, SEED)}
    assert isnan(found["mojibake"].recall)


def test_corruptions_repeat_with_their_seed(searcher: Searcher) -> None:
    sample = searcher.catalogue.works[:50]
    for corruption in CORRUPTIONS:
        assert corrupted(sample, corruption, 3) == corrupted(sample, corruption, 3)
    assert corrupted(sample, "typo", 3) != corrupted(sample, "typo", 4)


def test_corruptions_survive_empty_text() -> None:
    for corrupt in CORRUPTIONS.values():
        corrupt(Work("x", "", ""), np.random.default_rng(0))


def test_precision_rises_and_recall_falls_with_the_threshold(searcher: Searcher) -> None:
    sample = searcher.catalogue.works[::20]
    strangers = generate_catalogue(300, seed=2).works
    curve = precision_recall(searcher, sample, strangers, [60.0, 80.0, 90.0, 100.0], SEED)
    recalls, precisions = [one.recall for one in curve], [one.precision for one in curve]
    assert recalls == sorted(recalls, reverse=True)
    assert recalls[0] > 0.95 and recalls[-1] > 0.4
    assert precisions[2] > 0.98
    assert precisions[0] < precisions[2]


def test_strangers_are_seldom_flagged(searcher: Searcher) -> None:
    strangers = generate_catalogue(800, seed=99).works
    known = {work.artist for work in searcher.catalogue.works}
    strangers = [work for work in strangers if work.artist not in known]
    flagged = sum(found.total > 0 for found in searcher.search(strangers))
    assert flagged / len(strangers) < 0.05


def test_a_generated_catalogue_has_what_real_ones_have() -> None:
    catalogue = generate_catalogue(1_000, seed=3)
    assert catalogue.num_rows == 1_000
    assert catalogue.duplicates == 200
    assert catalogue == generate_catalogue(1_000, seed=3)
    titles = [work.title for work in catalogue.works]
    assert any("feat." in title for title in titles) and any("(Live)" in title for title in titles)
    assert any(not title.isascii() for title in titles)
