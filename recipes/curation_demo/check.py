"""Compare what became of the demonstration set's recordings with what should have: exit code 1 if anything differs."""

import json
import sys
from collections import Counter
from pathlib import Path

from auralith.curation.outcomes import outcomes
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.settings import load_settings


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("check.py FOLDER, from where the recipe ran")
    expected = json.loads((Path(sys.argv[1]) / "expected.json").read_text())
    settings = load_settings(CurationSettings, Path(__file__).with_name("recipe.toml"))
    rows = outcomes(Store(settings.folder), settings).to_pylist()
    found = {
        row["rec_id"]: " ".join(
            row[key] for key in ("outcome", "stage", "reason_code") if row[key] is not None
        )
        for row in rows
    }
    for outcome, count in sorted(Counter(found.values()).items()):
        print(f"{count:>5}  {outcome}")
    wrong = {id for id in found.keys() | expected.keys() if found.get(id) != expected.get(id)}
    for id in sorted(wrong):
        print(f"{id}: {found.get(id)}, expected {expected.get(id)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
