"""The only code that knows foreign names and files.

Every layout is read as lazy tensors under the published single-file names (`single_file`, `diffusers_folder`, `hub`),
checked against what its config implies (`config_json`, `transform`), and from there loaded (`opening`), converted
(`convert`) or only described (`inspection`). The names themselves are small tables in `rename`.
"""

from auralith.checkpoints.config_json import Spec, config_from_json, config_to_json
from auralith.checkpoints.convert import convert
from auralith.checkpoints.inspection import Inspection, inspect_checkpoint
from auralith.checkpoints.opening import (
    AutoencoderCheckpoint,
    Checkpoint,
    open_autoencoder,
    open_checkpoint,
)
from auralith.checkpoints.single_file import save_autoencoder, save_single_file

__all__ = [
    "AutoencoderCheckpoint",
    "Checkpoint",
    "Inspection",
    "Spec",
    "config_from_json",
    "config_to_json",
    "convert",
    "inspect_checkpoint",
    "open_autoencoder",
    "open_checkpoint",
    "save_autoencoder",
    "save_single_file",
]
