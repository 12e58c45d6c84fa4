"""Models into folders of graphs that other runtimes take.

`graphs` cuts a model into networks of plain tensors, `writing` turns these into ONNX or OpenVINO's format beside a
manifest, `calibration` puts the large products of OpenVINO's into int8.
"""

from auralith.exporting.calibration import PROMPTS
from auralith.exporting.writing import export

__all__ = ["PROMPTS", "export"]
