"""Duplicates: confirmed in order, joined above the largest refuted cosine, and both counts."""

from auralith.memorization.duplicates import Pair, confirmed, find_duplicates, refuted_cosine

IDS = list("abcdefgh")


def test_tests_come_in_order() -> None:
    asked: list[str] = []

    def landmarks(first: str, second: str) -> bool:
        asked.append(f"landmarks {first}{second}")
        return first == "c"

    def mel(first: str, second: str) -> bool:
        asked.append(f"mel {first}{second}")
        return first == "e"

    near = [("a", "b", 1.0), ("c", "d", 0.99), ("e", "f", 0.98), ("g", "h", 0.97)]
    found = confirmed(near, {"a": "1", "b": "1", "g": "", "h": ""}, landmarks, mel)
    assert [one.confirmed_by for one in found] == ["samples", "landmarks", "mel", None]
    assert asked == ["landmarks cd", "landmarks ef", "mel ef", "landmarks gh", "mel gh"]
    assert refuted_cosine(found) == 0.97
    assert refuted_cosine(found[:3], 0.9) == 0.9


def test_groups_and_both_counts() -> None:
    pairs = [
        Pair("b", "c", 0.999, "mel"),
        Pair("a", "c", 0.995, "samples"),
        Pair("d", "e", 0.99, None),
        Pair("f", "g", 0.985, "mel"),
    ]
    found = find_duplicates(IDS, pairs)
    assert found.threshold == 0.99
    assert found.confirmed == {"a": ["a", "b", "c"]}
    assert found.copies == {"a": ["a", "b", "c"], "f": ["f", "g"]} and found.copied == 5
    assert found.by_embedding == {"a": ["a", "b", "c"], "d": ["d", "e"]}
    assert (found.pairs, found.confirmed_pairs) == (3, 2)
    assert (found.repeated_by_embedding, found.repeated) == (5, 3)
    lower = find_duplicates(IDS, pairs, 0.98)
    assert lower.confirmed == {"a": ["a", "b", "c"], "f": ["f", "g"]}
    assert (lower.repeated_by_embedding, lower.repeated) == (7, 5)
