"""Runs the toy stage and a whole curation on a local Ray: `python -m tests.curation.ray_job FOLDER ROWS CALLS RECIPE`.

A process of its own, because Daft has one runner for each.
"""

import sys
from pathlib import Path

from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.settings import load_settings
from tests.curation.toy_pipeline import run_toy, start_ray, toy_recordings
from tests.curation.toy_stages import ToySettings

if __name__ == "__main__":
    folder, num_rows, calls, recipe = sys.argv[1:]
    start_ray()
    run_toy(Path(folder), toy_recordings(int(num_rows)), ToySettings(), Path(calls))
    for _ in curate(load_settings(CurationSettings, recipe)):
        pass
