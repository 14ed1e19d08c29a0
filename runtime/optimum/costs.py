# SPDX-License-Identifier: Apache-2.0
"""What the links of a model of outcomes cost on a board."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from joulet.records import OutcomeModel

Steps = tuple[tuple[tuple[float, ...], ...], ...]


def link_values(model: OutcomeModel, steps: Steps) -> npt.NDArray[np.float64]:
    """Return ``steps[path][k + 1][j]`` (energy or time of a step, in any unit) for each link, ``(n_links,)``."""
    exit_of = [exit for _, exit in model.nodes]
    values = []
    for source, target in model.links.tolist():
        path = model.nodes[target][0]  # any path through a node has its prefix, so it passes the source too
        from_exit = -1 if source < 0 else exit_of[source]
        values.append(steps[path][from_exit + 1][exit_of[target]])
    return np.asarray(values, np.float64)


def link_path(model: OutcomeModel, link: int) -> tuple[int, int]:
    """Return (path, exit) to ask for when a link is taken."""
    return model.nodes[int(model.links[link, 1])]


def link_index(model: OutcomeModel) -> npt.NDArray[np.int16]:
    """Return ``(n_nodes + 1, n_nodes)``: index of the link from node i − 1 (0: from the start); −1 where there is none."""
    table = np.full((len(model.nodes) + 1, len(model.nodes)), -1, np.int16)
    for index, (source, target) in enumerate(model.links.tolist()):
        table[source + 1, target] = index
    return table
