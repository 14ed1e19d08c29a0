# SPDX-License-Identifier: Apache-2.0
"""The exact passes in their order, with the graph verified before and after."""

from __future__ import annotations

from joulet.ir import Graph
from joulet.passes.dead import eliminate_dead
from joulet.passes.fold import fold_constants
from joulet.passes.fuse import fuse_activations
from joulet.passes.verify import verify


def exact_passes(graph: Graph) -> Graph:
    """Return a smaller graph that computes the same bytes.

    Raises
    ------
    ModelError
        When the graph is broken before or after the passes; the message names the op.
    """
    verify(graph)
    for rewrite in (fold_constants, fuse_activations, eliminate_dead):
        graph = rewrite(graph)
    verify(graph)
    return graph
