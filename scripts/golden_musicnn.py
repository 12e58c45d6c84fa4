"""Record musicnn's own numbers, and a small checkpoint of TensorFlow, for the tests.

    PYTHONPATH=PACKAGE:tests python scripts/golden_musicnn.py PACKAGE tests/golden/musicnn

PACKAGE is the unpacked wheel of musicnn 0.1.0. Needs tensorflow-cpu 2.21, tf_keras, librosa 0.11 and safetensors. librosa 0.7,
which the package asks for, padded by reflection; that is asked for here. Rounding of mel powers and the logarithm are done
as numpy 1 does them, with which the package was made: float16, then float32.
"""

# pyright: reportMissingImports=false, reportMissingModuleSource=false
import os
import sys
from pathlib import Path

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # layers of TensorFlow 1

import librosa
import numpy as np
import tensorflow as tf
from musicnn import models
from musicnn_cases import SAMPLE_RATE, TINY, random_tensors, sound, tiny_tensors, windows
from safetensors.numpy import save_file

tf.compat.v1.disable_eager_execution()


def log_mel() -> np.ndarray:
    """The package's spectrogram of the sound."""
    mel = librosa.feature.melspectrogram(
        y=sound(), sr=SAMPLE_RATE, n_fft=512, hop_length=256, n_mels=96, pad_mode="reflect"
    )
    return np.log10(10_000 * mel.T.astype(np.float16).astype(np.float32) + 1)


def outputs(checkpoint: str | None, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Last layer before the tags and logits, with the weights of a checkpoint or random ones."""
    tf.compat.v1.reset_default_graph()
    x = tf.compat.v1.placeholder(tf.float32, [None, *batch.shape[1:]])
    training = tf.compat.v1.placeholder(tf.bool)
    logits, *_, embedding = models.define_model(x, training, "MTT_musicnn", 50)
    variables = tf.compat.v1.global_variables()
    with tf.compat.v1.Session() as session:
        if checkpoint is None:
            drawn = random_tensors({v.op.name: tuple(v.shape.as_list()) for v in variables})
            for variable in variables:
                variable.load(drawn[variable.op.name], session)
        else:
            tf.compat.v1.train.Saver().restore(session, checkpoint)
        return tuple(session.run([embedding, logits], {x: batch, training: False}))


def write_tiny(folder: Path) -> None:
    """A checkpoint with a counter beside the tensors."""
    tf.compat.v1.reset_default_graph()
    with tf.compat.v1.Session() as session:
        for name, values in tiny_tensors().items():
            tf.compat.v1.get_variable(name, initializer=tf.constant(values))
        tf.compat.v1.get_variable("counter", initializer=tf.constant(7, tf.int64))
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.train.Saver().save(session, f"{folder}/", write_meta_graph=False)
    (folder / "checkpoint").unlink(missing_ok=True)


def main(package: str, target: str) -> None:
    """Write the files."""
    folder = Path(target)
    spectrogram = log_mel()
    found = {"log_mel": spectrogram[::8].copy()}
    heard = spectrogram[: 2 * 187].reshape(2, 187, 96)
    for name in (None, "MTT", "MSD"):
        checkpoint = None if name is None else f"{package}/musicnn/{name}_musicnn/"
        embedding, logits = outputs(checkpoint, windows())
        found |= {f"{name}.embedding": embedding, f"{name}.logits": logits}
        if name is not None:
            found[f"{name}.sound.logits"] = outputs(checkpoint, heard)[1]
    save_file(found, folder / "golden.safetensors")
    write_tiny(folder / TINY)


if __name__ == "__main__":
    main(*sys.argv[1:])
