"""Run a folder of cases and print what each prints beside what is expected of it.

A case is a folder with `repro.sh`, run from this checkout, and `expected.txt`, in words. Nothing is judged here: a reader
compares the two.

    python scripts/field_cases.py FOLDER [NAME ...]
"""

import subprocess
import sys
from pathlib import Path

SECONDS = 900
"""What a case may take."""


def main(folder: Path, names: list[str]) -> int:
    cases = sorted(path.parent for path in folder.glob("*/repro.sh"))
    unknown = sorted(set(names) - {case.name for case in cases})
    if not cases or unknown:
        print(f"{folder} holds no case {', '.join(unknown)}".rstrip(), file=sys.stderr)
        return 2
    for case in cases:
        if names and case.name not in names:
            continue
        try:
            done = subprocess.run(
                ["bash", str(case.resolve() / "repro.sh")],
                cwd=Path(__file__).parents[1],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=SECONDS,
            )
            printed = done.stdout + done.stderr
        except subprocess.TimeoutExpired:
            printed = f"no end within {SECONDS} s\n"
        print(f"## {case.name}", "", "found:", printed, "expected:", sep="\n")
        print((case / "expected.txt").read_text())
    return 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
