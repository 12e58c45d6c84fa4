"""The data set card: DATASET_CARD.md, of which every number is read from the tables of the curation.

Its front matter is YAML whose values are JSON, which every YAML parser reads. Texts from outside (names, tags, contact)
are escaped, so that none of them can end the front matter, open a tag, or break a table.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from auralith.curation.keys import evidence_of, newest_key
from auralith.curation.publish.funnel import DROPS, Funnels, StageCount, Tally, funnels, total
from auralith.curation.publish.manifest import read_manifest
from auralith.curation.review import Agreement, agreement, is_begun, newest_entry, withdrawals
from auralith.curation.settings import CurationSettings, PublishSettings
from auralith.curation.steps import step_of, steps
from auralith.curation.store import EvidenceKey, Store, compute
from auralith.curation.tagging.meter import COLUMNS as TAG_COLUMNS
from auralith.curation.tagging.meter import calibrate
from auralith.escaping import json_line, markdown
from auralith.files import whole_file

NAME = "DATASET_CARD.md"
_HUB_LICENSES = ("CC0-1.0", "CC-BY-2.0", "CC-BY-2.5", "CC-BY-3.0", "CC-BY-4.0")
"""SPDX ids that the hub lists, which writes them in lower case."""
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))
_LARGEST = "1M<n<10M"
_TAGS_SHOWN = 6
MOST_DESCRIBED = 10_000
"""Characters of the description."""
_LIMITS = (
    "Licenses are what uploaders state; nobody has checked that they hold the rights.",
    "Commercial music is found only if it is in a list or an index that was searched.",
    "Titles, tags and descriptions are as written, in many languages, and may be wrong.",
    "CC BY without a version is kept apart as `LicenseRef-CC-BY-unversioned`: the version is on the source's page.",
    "Recordings under Sampling+ (`partition` = `sampling+`) may not be sold as a whole.",
)


def write_card(
    store: Store,
    settings: CurationSettings,
    counted: Funnels | None = None,
) -> Path:
    """Write `DATASET_CARD.md` into the curation's folder. `counted` is the result of `funnels`, if the caller has it.

    Raises:
        InvalidRequest: the manifest has not been written yet, or the calibration can't be used.
        ResourceError: it can't be written.
    """
    counted = funnels(store, settings) if counted is None else counted
    path = store.folder / NAME
    with whole_file(path) as file:
        file.write(card(store, settings, counted).encode())
    return path


def card(store: Store, settings: CurationSettings, counted: Funnels) -> str:
    """Return the text of the card."""
    options = settings.publish
    columns = ["source", "tags", "license_spdx", "high_fidelity", "copies_under"]
    manifest = read_manifest(store.folder, columns)
    parts = [
        front_matter(options, counted),
        f"# {markdown(options.name)}\n\n{_introduction(options, counted)}",
        _section("Recordings", _contents(counted, manifest)),
        _section("What was left out, and where", _funnel(counted)),
        _section("Steps and settings", f"{_steps(store, settings)}\n\n{_copies(manifest)}"),
        _section("What uploaders prefer", _preferences(store, settings)),
        _section("Review by people", _review(store.folder)),
        _section("Known limits", "\n".join(f"- {limit}" for limit in _LIMITS)),
        _section("Credits and removal", _removal(options)),
    ]
    return "\n\n".join(parts) + "\n"


def front_matter(options: PublishSettings, counted: Funnels) -> str:
    """Return YAML between two lines of dashes."""
    ids = sorted({license for _, license in counted.accepted})
    is_one = len(ids) == 1 and ids[0] in _HUB_LICENSES
    values: dict[str, object] = {"pretty_name": options.name}
    values["license"] = ids[0].lower() if is_one else "other"
    if not is_one:
        values["license_name"] = " AND ".join(ids) or "none"
    values["size_categories"] = [size_category(counted.all.accepted.recordings)]
    values["task_categories"] = ["text-to-audio"]
    values["tags"] = ["audio", "sound-effects", "music", "croissant"]
    return "\n".join(
        ["---", *(f"{key}: {json_line(value)}" for key, value in values.items()), "---"]
    )


def size_category(recordings: int) -> str:
    """Return the Hub's name for a number of recordings."""
    return next((name for limit, name in _SIZES if recordings < limit), _LARGEST)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are numbers. Cells must be escaped."""
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, rule, *rows))


def _section(title: str, text: str) -> str:
    return f"## {title}\n\n{text}"


def _introduction(options: PublishSettings, counted: Funnels) -> str:
    accepted = counted.all.accepted
    facts = (
        f"{accepted.recordings:,} recordings, {accepted.hours:,.1f} h; version {options.version}."
    )
    if accepted.unknown_lengths:
        facts += f" Of {accepted.unknown_lengths:,} the length is unknown; they count as 0 h."
    return "\n\n".join(filter(None, [markdown(options.description, MOST_DESCRIBED), facts]))


def _contents(counted: Funnels, manifest: pa.Table) -> str:
    if not counted.accepted:
        return "No recording is accepted."
    sources = dict.fromkeys(source for source, _ in counted.accepted)
    rows: list[list[str]] = []
    for source in sources:
        parts = {under: tally for (of, under), tally in counted.accepted.items() if of == source}
        rows += [_share(source, license, tally) for license, tally in parts.items()]
        rows.append(_share(source, "all", total(parts.values())))
    for license in dict.fromkeys(license for _, license in counted.accepted):
        parts = {of: tally for (of, under), tally in counted.accepted.items() if under == license}
        rows.append(_share("all", license, total(parts.values())))
    rows.append(_share("all", "all", counted.all.accepted))
    high = compute.sum(manifest["high_fidelity"]).as_py() or 0
    return "\n\n".join(
        [
            table(("source and license", "recordings", "hours"), rows),
            f"Of high fidelity: {high:,} recordings.",
            *(_common_tags(source, manifest) for source in sources),
        ]
    )


def _share(source: str, license: str, tally: Tally) -> list[str]:
    return [
        f"{markdown(source)}, {markdown(license)}",
        f"{tally.recordings:,}",
        f"{tally.hours:,.1f}",
    ]


def _common_tags(source: str, manifest: pa.Table) -> str:
    lists = manifest["tags"].filter(compute.equal(manifest["source"], source))
    counts = compute.value_counts(compute.list_flatten(lists)).to_pylist()
    counts.sort(key=lambda count: (-count["counts"], count["values"] or ""))
    names = [markdown(count["values"]) for count in counts[:_TAGS_SHOWN] if count["values"]]
    return f"Most common tags, {markdown(source)}: {', '.join(names) or 'none'}."


def _funnel(counted: Funnels) -> str:
    header = ("step", "in", *DROPS, "out", "hours out")
    reasons = [line for stage in counted.all.stages for line in _reason_lines(stage)]
    rejected = [
        f"- rows of metadata without a recording, {markdown(source)}: {markdown(reason)} {count:,}"
        for source, by_reason in counted.rejected.items()
        for reason, count in by_reason.items()
    ]
    lists = "\n".join([*rejected, *reasons]) or "Nothing was left out."
    return f"{table(header, map(_stage_row, counted.all.stages))}\n\n{lists}"


def _stage_row(stage: StageCount) -> list[str]:
    numbers = [stage.entered, *map(stage.dropped_as, DROPS), stage.passed]
    counts = [f"{tally.recordings:,}" for tally in numbers]
    return [stage.stage, *counts, f"{stage.passed.hours:,.1f}"]


def _reason_lines(stage: StageCount) -> list[str]:
    return [
        f"- {stage.stage}, {drop}: {markdown(reason)} {tally.recordings:,} ({tally.hours:,.1f} h)"
        for drop in DROPS
        for reason, tally in stage.dropped[drop].items()
    ]


def _steps(store: Store, settings: CurationSettings) -> str:
    keys = {step.name: newest_key(store, step) for step in steps(settings)}
    lines = [f"- {name}: {_key(key)}" for name, key in keys.items()]
    text = ["\n".join(lines), f"Accepted licenses: {', '.join(settings.license.licenses)}."]
    if "tag" in keys:
        text.append(_tagging(settings))
    return "\n\n".join([*text, _duplicates(settings)])


def _duplicates(settings: CurationSettings) -> str:
    equal = "equal files, equal samples"
    if "fingerprint" in settings.stages:
        equal += " and landmarks that agree over nine tenths of the shorter one"
    kept = "one of each group is kept" if settings.dedupe else "all of them are kept"
    return f"Duplicates are recordings with {equal}; they share a `dup_group`, and {kept}."


def _copies(manifest: pa.Table) -> str:
    """Return the licenses of accepted recordings that are equal to others under other licenses."""
    found = Counter(manifest["copies_under"].drop_null().to_pylist())
    if not found:
        return "No recording is equal to one under another license."
    lines = [f"- {markdown(names)}: {count:,}" for names, count in sorted(found.items())]
    head = "Equal sounds were found under different licenses (`copies_under`), of which one may be wrong:"
    return "\n".join([head, "", *lines])


def _key(key: EvidenceKey | None) -> str:
    if key is None:
        return "not run under these settings"
    version, hash = markdown(key.provider_version), key.params_hash[:12]
    return f"{markdown(key.provider)}, version {version}, settings {hash}"


def _tagging(settings: CurationSettings) -> str:
    rule = settings.tag
    rule_text = (
        f"Music is what has {rule.min_seconds:g} s ({rule.rule}) of the class set {rule.class_set}"
        f" at a probability of {rule.heard_from:g} or more, by {rule.tagger}."
    )
    if settings.publish.calibration is None:
        return f"{rule_text} The threshold was not calibrated on known music here."
    found = calibrate(Store(settings.publish.calibration).read("tag", TAG_COLUMNS))
    largest = "none of the grid" if found.threshold is None else f"{found.threshold:.2f}"
    return (
        f"{rule_text} Calibrated on {found.num_tracks:,} tracks of known music: the largest threshold that misses none"
        f" is {largest}; with 95 % confidence at most {found.false_negative_bound:.3%} of music is missed there."
    )


def _preferences(store: Store, settings: CurationSettings) -> str:
    step = step_of(settings, "preference")
    if step is None:
        return "What uploaders say about generative AI was not looked at."
    rows = evidence_of(store, step, ["rec_id", "preference", "verdict"])
    last = {row["rec_id"]: (row["preference"], row["verdict"]) for row in rows.to_pylist()}
    counts = Counter(last.values())
    use = f"Intended use: {settings.preference.intended_use}."
    honored = "Preferences are honored." if settings.preference.honor else "They are not honored."
    header = ("preference, verdict", "recordings")
    cells = [
        (f"{markdown(str(preference))}, {verdict}", f"{count:,}")
        for (preference, verdict), count in sorted(counts.items(), key=str)
    ]
    return f"{use} {honored}" + (f"\n\n{table(header, cells)}" if cells else "")


def _review(folder: Path) -> str:
    found = agreement(folder) if is_begun(folder) else []
    return "\n\n".join(filter(None, (_agreement(found), _withdrawals(folder), _log(folder))))


def _withdrawals(folder: Path) -> str:
    reasons = Counter(one.reason for one in withdrawals(folder))
    if not reasons:
        return ""
    rows = [(markdown(reason), f"{count:,}") for reason, count in sorted(reasons.items())]
    return "Taken out on request:\n\n" + table(("reason", "recordings"), rows)


def _log(folder: Path) -> str:
    """Return a line with the newest entry of the review log, by which a log that is cut later is detected."""
    head = newest_entry(folder)
    if head is None:
        return ""
    return (
        f"The review log has {head.entries:,} entries; the hash of the last one is `{head.hash}`."
    )


def _agreement(found: Sequence[Agreement]) -> str:
    if not found:
        return "Nothing was reviewed by people."
    header = ("step", "items with two decisions", "Cohen's κ")
    rows = [
        (one.stage, f"{one.num_items:,}", "undefined" if one.kappa is None else f"{one.kappa:.3f}")
        for one in found
    ]
    return table(header, rows)


def _removal(options: PublishSettings) -> str:
    contact = markdown(options.contact) or "no address is stated; set `contact` before publishing"
    return (
        "Every recording is credited on the attribution page that comes with this data set, with title, author,"
        f" source and license.\n\nTo have a recording taken out, write to: {contact}"
    )
