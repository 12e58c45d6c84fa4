"""Pictures of a report: where a system's frames lie beside the reference's, and how its values are spread over ids."""

from io import BytesIO
from typing import Any

import numpy as np

from auralith.evaluation.comparison import FramePlane
from auralith.evaluation.measures import MetricValue
from auralith.extras import require

_WIDTH, _HEIGHT = 5.0, 3.6
"""In inches, at 100 dots each."""


def distribution_png(plane: FramePlane) -> bytes:
    """Draw a system's frames over the ellipses of one and two standard deviations of the reference."""
    figure, axes = _figure()
    angle = np.linspace(0, 2 * np.pi, 200)
    for deviations in (1, 2):
        x, y = (deviations * spread for spread in plane.spread)
        label = "reference, 1 and 2 σ" if deviations == 1 else None
        axes.plot(x * np.cos(angle), y * np.sin(angle), color="tab:gray", label=label)
    points = np.array(plane.generated)
    axes.scatter(points[:, 0], points[:, 1], s=6, alpha=0.5, label="generated frames")
    axes.set_xlabel(f"two main axes of the reference ({plane.explained:.0%} of its variance)")
    axes.legend(fontsize=8, loc="upper right")
    return _png(figure)


def values_png(one: MetricValue) -> bytes:
    """Draw a histogram of a metric's values by id, its mean marked."""
    figure, axes = _figure()
    axes.hist(list(one.by_id.values()), bins=min(40, max(5, len(one.by_id) // 4)))
    axes.axvline(one.value, color="black", label=f"mean {one.value:.4g}")
    axes.set_xlabel(one.metric)
    axes.set_ylabel("ids")
    axes.legend(fontsize=8, loc="upper right")
    return _png(figure)


def _figure() -> tuple[Any, Any]:
    figure_module = require("matplotlib.figure", "evaluate")
    figure = figure_module.Figure((_WIDTH, _HEIGHT), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Any) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()
