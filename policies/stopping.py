# SPDX-License-Identifier: Apache-2.0
"""When to stop along the exits, given the price of a joule: solved backwards through the calibrated model of outcomes.

For one price λ the value of standing at an exit with a confidence is the better of stopping, P(correct), and of every
way on, E[value there] − λ × energy of the way. Solved once for a grid of prices; each price then has an expected energy
and accuracy per event, which are the points of a concave envelope.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.policies.seam import PolicyContext
from joulet.records import OutcomeModel

F64 = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way on from an exit, or from the start: path, next exit evaluated, its energy [J] and time [s]."""

    path: int
    exit: int
    energy_j: float
    time_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingPlan:
    """What to do at every exit for every price of a grid.

    Attributes
    ----------
    prices
        ``(n,)`` rising [1/J].
    energy_j, accuracy
        ``(n,)`` expected energy and P(correct) of an event at that price; energy falls with the price.
    starts
        ``starts[price]``: ways to start, the best first, those that are worth their energy.
    ways
        ``ways[node]``: ways on from a node.
    onward
        ``onward[price][node][bin]``: index into the node's ways, −1 to stop.
    """

    prices: F64
    energy_j: F64
    accuracy: F64
    starts: tuple[tuple[Way, ...], ...]
    ways: tuple[tuple[Way, ...], ...]
    onward: tuple[tuple[tuple[int, ...], ...], ...]


def plan_stopping(context: PolicyContext, outcomes: OutcomeModel, prices: F64) -> StoppingPlan:
    """Solve the stopping problem of a model for each price."""
    links = {(int(a), int(b)): table for (a, b), table in zip(outcomes.links, outcomes.transition, strict=True)}
    n_nodes, n_bins = outcomes.accuracy.shape
    worth = np.empty((n_nodes, 3, len(prices), n_bins))  # value, energy, accuracy
    ways: list[tuple[Way, ...]] = [()] * n_nodes
    choice = np.full((len(prices), n_nodes, n_bins), -1)
    for node in sorted(range(n_nodes), key=lambda v: -outcomes.nodes[v][1]):
        path, exit = outcomes.nodes[node]
        ways[node] = tuple(
            Way(path=q, exit=k, energy_j=context.step_j[q][exit + 1][k], time_s=context.step_s[q][exit + 1][k])
            for q in context.switches[path][exit]
            for k in range(exit + 1, context.n_exits)
            if (node, outcomes.node_of[q][k]) in links
        )
        best = np.broadcast_to(outcomes.accuracy[node], (len(prices), n_bins))
        worth[node] = np.stack([best, np.zeros_like(best), best])
        for index, way in enumerate(ways[node]):
            onto = outcomes.node_of[way.path][way.exit]
            there = worth[onto] @ links[node, onto].T
            there[0] -= prices[:, None] * way.energy_j
            there[1] += way.energy_j
            better = there[0] > worth[node, 0]
            worth[node] = np.where(better, there, worth[node])
            choice[:, node] = np.where(better, index, choice[:, node])
    starts, energy_j, accuracy = _starts(context, outcomes, prices, worth)
    onward = tuple(tuple(tuple(bins) for bins in nodes) for nodes in choice.tolist())
    return StoppingPlan(
        prices=prices, energy_j=energy_j, accuracy=accuracy, starts=starts, ways=tuple(ways), onward=onward
    )


def _starts(
    context: PolicyContext, outcomes: OutcomeModel, prices: F64, worth: F64
) -> tuple[tuple[tuple[Way, ...], ...], F64, F64]:
    ways, figures, seen = [], [], set()
    for path in range(context.n_paths):
        for exit in range(context.n_exits):
            node = outcomes.node_of[path][exit]
            # paths that agree up to an exit are one start
            if node in seen:
                continue
            seen.add(node)
            way = Way(path=path, exit=exit, energy_j=context.energy_j(path, exit), time_s=context.step_s[path][0][exit])
            there = worth[node] @ outcomes.start[node]
            there[0] -= prices * way.energy_j
            there[1] += way.energy_j
            ways.append(way)
            figures.append(there)
    table = np.stack(figures)  # (ways, 3, prices)
    order = np.argsort(-table[:, 0], axis=0, kind="stable")
    best, each = order[0], np.arange(len(prices))
    starts = tuple(
        tuple(ways[w] for w in order[:, price] if table[w, 0, price] > 0.0) or (ways[order[0, price]],)
        for price in range(len(prices))
    )
    return starts, table[best, 1, each], table[best, 2, each]
