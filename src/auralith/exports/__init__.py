"""Folders of graphs that other runtimes take, and such a folder in the place of a model's networks.

`ports` names the graphs and their tensors, `manifest` describes a folder, and `running` opens one as a checkpoint whose
networks OpenVINO computes. `auralith.exporting` writes them.
"""

from auralith.exports.manifest import MANIFEST, Manifest, is_export, read_manifest
from auralith.exports.running import ExportedTransformer, open_export

__all__ = [
    "MANIFEST",
    "ExportedTransformer",
    "Manifest",
    "is_export",
    "open_export",
    "read_manifest",
]
