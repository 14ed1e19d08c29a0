# SPDX-License-Identifier: Apache-2.0
"""What all figures through matplotlib share: how they look, and how they become PNG."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from joulet.errors import MissingDependencyError
from joulet.report import svg

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE: Mapping[str, Any] = {
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa7b5",
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.axisbelow": True,
    "grid.color": svg.GRID,
    "legend.frameon": False,
}
DPI = 160


def matplotlib_module() -> Any:
    """Return matplotlib.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        import matplotlib
        import matplotlib.figure
    except ImportError as error:
        raise MissingDependencyError("matplotlib is not installed; pip install joulet[report]") from error
    return matplotlib


def figure_of(wide: float, tall: float) -> Figure:
    """Return an empty figure of a size [inches]."""
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, tall), layout="constrained")


def png_of(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes each time."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()
