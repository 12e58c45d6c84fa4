"""musicnn here and in TensorFlow, one thread each, taking turns on the same windows and weights.

    python benchmarks/tag_music.py --peer PYTHON --package FOLDER [--rounds 5] [--output rows.json]

PYTHON has tensorflow-cpu and tf_keras; FOLDER is the unpacked wheel of musicnn 0.1.0, whose checkpoint both load.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

WINDOWS, SECONDS = 10, 2.992
"""Windows of a round, and how long each is."""


def main() -> None:
    """Compare, and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", required=True)
    parser.add_argument("--package", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        row = _compare(asked.peer, asked.package, asked.rounds, Path(folder))
    print(json.dumps(row, indent=2))
    if asked.output:
        asked.output.write_text(json.dumps(row))


def _compare(python: str, package: Path, rounds: int, folder: Path) -> dict[str, float]:
    import torch
    from measure import alternate, median, relative_difference

    from auralith.embedders.musicnn import read_musicnn

    torch.set_num_threads(1)
    windows = 5 * torch.rand(WINDOWS, 187, 96, generator=torch.Generator().manual_seed(0)) ** 3
    np.save(folder / "windows.npy", windows.numpy())
    network = read_musicnn(package / "musicnn" / "MTT_musicnn")
    command = [python, __file__, "peer", str(package), str(folder)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as peer:
        assert peer.stdin and peer.stdout
        assert peer.stdout.readline() == "ready\n"

        @torch.inference_mode()
        def ours() -> torch.Tensor:
            return torch.cat([network(window).logits for window in windows.split(1)])

        def theirs() -> torch.Tensor:
            assert peer.stdin and peer.stdout
            print("go", file=peer.stdin, flush=True)
            assert peer.stdout.readline() == "done\n"
            return torch.from_numpy(np.load(folder / "logits.npy"))

        seconds, results = alternate({"auralith": ours, "tensorflow": theirs}, rounds, 120)
        peer.stdin.close()
    spent = {name: median(times) for name, times in seconds.items()}
    return {
        "times_real_time": WINDOWS * SECONDS / spent["auralith"],
        "tensorflow_times_real_time": WINDOWS * SECONDS / spent["tensorflow"],
        "ratio": spent["tensorflow"] / spent["auralith"],
        "difference": relative_difference(results["auralith"], results["tensorflow"]),
    }


def _peer(package: str, folder: Path) -> None:
    """Answer each line with a round, in the other interpreter."""
    os.environ |= {"TF_USE_LEGACY_KERAS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    sys.path.insert(0, package)
    import tensorflow as tf  # pyright: ignore[reportMissingImports, reportMissingModuleSource]
    from musicnn import models  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    x, training = v1.placeholder(tf.float32, [None, 187, 96]), v1.placeholder(tf.bool)
    logits, *_, _embedding = models.define_model(x, training, "MTT_musicnn", 50)
    one = v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with v1.Session(config=one) as session:
        v1.train.Saver().restore(session, f"{package}/musicnn/MTT_musicnn/")
        windows = np.load(folder / "windows.npy")
        print("ready", flush=True)
        for _ in sys.stdin:
            feeds = [{x: windows[i : i + 1], training: False} for i in range(len(windows))]
            np.save(folder / "logits.npy", np.concatenate([session.run(logits, f) for f in feeds]))
            print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["peer"]:
        _peer(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
