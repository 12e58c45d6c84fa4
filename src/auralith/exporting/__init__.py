"""Models into folders of graphs that other runtimes take.

`graphs` cuts a model into networks of plain tensors, `writing` turns these into ONNX or OpenVINO's format beside a
manifest.
"""

from auralith.exporting.writing import export

__all__ = ["export"]
