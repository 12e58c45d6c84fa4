"""Files of models: every layout is read, checked, loaded, converted and written here.

Each is read as lazy tensors under the published single-file names (`single_file`, `diffusers_folder`, `hub`), checked
against what its config implies (`transform`), and from there loaded (`opening`), converted (`convert`) or only described
(`inspect_checkpoint`). Configs and names are those of the model's family (`auralith.families`). Adapters are files of
their own: `adapter_file` reads ours and `adapter_import` those of other programs, `adapter_changes` finds the weights
that they mean, `adapters` puts them into a transformer or merges them into the weights.
"""

from auralith.checkpoints.adapter_changes import Fit
from auralith.checkpoints.adapter_file import (
    Adapter,
    AdapterConfig,
    AdapterMetadata,
    read_adapter,
    write_adapter,
)
from auralith.checkpoints.adapters import (
    Applied,
    Choice,
    adapter_state,
    adapter_warnings,
    add_adapter,
    fit_adapter,
    import_adapter,
    merge_adapters,
    open_adapters,
    save_adapter,
    transformers_by_set,
    with_adapters,
)
from auralith.checkpoints.choosing import Files
from auralith.checkpoints.convert import convert
from auralith.checkpoints.opening import (
    AutoencoderCheckpoint,
    Checkpoint,
    Inspection,
    inspect_checkpoint,
    locate,
    open_autoencoder,
    open_checkpoint,
    open_located,
)
from auralith.checkpoints.single_file import save_autoencoder, save_single_file
from auralith.families.family import Spec
from auralith.families.model_config import config_from_json, config_to_json

__all__ = [
    "Adapter",
    "AdapterConfig",
    "AdapterMetadata",
    "Applied",
    "AutoencoderCheckpoint",
    "Checkpoint",
    "Choice",
    "Files",
    "Fit",
    "Inspection",
    "Spec",
    "adapter_state",
    "adapter_warnings",
    "add_adapter",
    "config_from_json",
    "config_to_json",
    "convert",
    "fit_adapter",
    "import_adapter",
    "inspect_checkpoint",
    "locate",
    "merge_adapters",
    "open_adapters",
    "open_autoencoder",
    "open_checkpoint",
    "open_located",
    "read_adapter",
    "save_adapter",
    "save_autoencoder",
    "save_single_file",
    "transformers_by_set",
    "with_adapters",
    "write_adapter",
]
