"""Run commands of `auralith` in copies of one warm process, each under a limit of memory: python limited.py BYTES

A line of JSON on standard input is a command; the answer is a line with its exit code and what it wrote. A copy may map
BYTES more than the warm process has.
"""

import importlib
import json
import os
import resource
import sys
import tempfile
from pathlib import Path

PRELOADED = (
    *("torch", "transformers", "accelerate", "safetensors.torch", "soundfile", "pyarrow.parquet"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "av", "auralith.cli.main"),
    *("auralith.pipeline", "auralith.training.finetune", "auralith.editing"),
)


def mapped_bytes() -> int:
    """Return the address space of this process."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def serve(more_bytes: int) -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            pid = os.fork()
            if not pid:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                limit = mapped_bytes() + more_bytes
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
                sys.argv = ["auralith", *json.loads(line)]
                from auralith.cli.main import main

                main()
            _, status = os.waitpid(pid, 0)
            texts = [os.pread(file.fileno(), 1 << 20, 0).decode() for file in (out, err)]
        print(json.dumps([os.waitstatus_to_exitcode(status), *texts]), flush=True)


if __name__ == "__main__":
    for name in PRELOADED:
        importlib.import_module(name)
    serve(int(sys.argv[1]))
