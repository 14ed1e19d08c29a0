# SPDX-License-Identifier: Apache-2.0
"""What one event can be made worth: the best ways through the exits at every price of energy.

At a price λ per joule the best way is an optimal stopping problem on the chain of exits, solved backwards. Going
through all prices from free to prohibitive gives a *menu* of plans at the start and at every bin of every exit: each
has its expected right answers and its expected energy, and no mixture of others beats it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.records import OutcomeModel

_PRICES = 160
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """First step (index of a link), expected right answers of the whole plan, 0..1, and its expected energy [J]."""

    link: int
    gain: float
    cost_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Menus:
    """Plans worth having.

    Attributes
    ----------
    start
        At the start, rising in cost.
    at_exit
        ``at_exit[node][bin]``: ways on from there; empty where stopping is best at every price.
    links
        Links that any of these plans may take, rising.
    """

    start: tuple[Plan, ...]
    at_exit: tuple[tuple[tuple[Plan, ...], ...], ...]
    links: tuple[int, ...]


@dataclass(slots=True)
class _Solution:
    """Best behaviour at one price: per node and bin the link taken (−1: stop), gain and cost."""

    link: npt.NDArray[np.int64]
    gain: Array
    cost_j: Array
    start: Plan


def make_menus(
    model: OutcomeModel, link_j: Array, *, allowed: npt.NDArray[np.bool_] | None = None, most: tuple[int, int] = (10, 4)
) -> Menus:
    """Return the menus of a model.

    Parameters
    ----------
    model : OutcomeModel
        Chain of exits.
    link_j : array (n_links,)
        Energy of each link [J].
    allowed : array (n_links,), optional
        Links that may be used at all.
    most : (int, int)
        Plans kept at the start and at a bin; those whose loss costs least are left out.
    """
    usable = np.ones(len(link_j), bool) if allowed is None else allowed
    scale = 1.0 / float(link_j[usable].max())
    prices = np.concatenate([[0.0], np.geomspace(1e-3, 1e2, _PRICES) * scale])
    solutions = [_solve(model, link_j, usable, price) for price in prices]
    start = _thin([solution.start for solution in solutions], most[0])
    at_exit = []
    for node in range(len(model.nodes)):
        row = []
        for at in range(model.n_bins):
            plans = [
                Plan(link=int(s.link[node, at]), gain=float(s.gain[node, at]), cost_j=float(s.cost_j[node, at]))
                for s in solutions
                if s.link[node, at] >= 0
            ]
            row.append(_thin(plans, most[1]))
        at_exit.append(tuple(row))
    return Menus(start=start, at_exit=tuple(at_exit), links=_used(model, solutions))


def _solve(model: OutcomeModel, link_j: Array, usable: npt.NDArray[np.bool_], price: float) -> _Solution:
    n_nodes, n_bins = model.accuracy.shape
    worth = model.accuracy.copy()
    gain = model.accuracy.copy()
    cost_j = np.zeros((n_nodes, n_bins))
    taken = np.full((n_nodes, n_bins), -1)
    start, best = Plan(link=-1, gain=0.0, cost_j=0.0), -np.inf
    # deeper nodes have larger indices: from the last one back, all that a node leads to is known
    for link in np.argsort(-model.links[:, 0], kind="stable").tolist():
        source, target = (int(i) for i in model.links[link])
        if not usable[link]:
            continue
        after = model.transition[link] @ np.stack([worth[target], gain[target], cost_j[target]], axis=1)
        value = after[:, 0] - price * link_j[link]
        if source >= 0:
            better = value > worth[source] + 1e-12
            worth[source] = np.where(better, value, worth[source])
            gain[source] = np.where(better, after[:, 1], gain[source])
            cost_j[source] = np.where(better, after[:, 2] + link_j[link], cost_j[source])
            taken[source] = np.where(better, link, taken[source])
        elif value[0] > best:
            best = float(value[0])
            start = Plan(link=link, gain=float(after[0, 1]), cost_j=float(after[0, 2] + link_j[link]))
    return _Solution(link=taken, gain=gain, cost_j=cost_j, start=start)


def _used(model: OutcomeModel, solutions: list[_Solution]) -> tuple[int, ...]:
    """Return the links that the solutions take with more than no probability."""
    used: set[int] = set()
    for solution in solutions:
        todo = [(solution.start.link, 0)]
        seen: set[tuple[int, int]] = set()
        while todo:
            link, at = todo.pop()
            used.add(link)
            target = int(model.links[link, 1])
            for end in np.flatnonzero(model.transition[link][at] > 0.0).tolist():
                following = int(solution.link[target, end])
                if following >= 0 and (target, end) not in seen:
                    seen.add((target, end))
                    todo.append((following, end))
    return tuple(sorted(used))


def _thin(plans: list[Plan], most: int) -> tuple[Plan, ...]:
    """Return the plans on the upper hull of gain over cost, at most ``most``, rising in cost."""
    hull: list[Plan] = []
    for plan in sorted(plans, key=lambda p: (p.cost_j, -p.gain)):
        if hull and plan.gain <= hull[-1].gain + 1e-9:
            continue
        while len(hull) > 1 and _height(hull[-2], hull[-1], plan) <= 0.0:
            hull.pop()
        hull.append(plan)
    while len(hull) > most:
        heights = [_height(hull[i - 1], hull[i], hull[i + 1]) for i in range(1, len(hull) - 1)]
        del hull[1 + int(np.argmin(heights))]
    return tuple(hull)


def _height(left: Plan, middle: Plan, right: Plan) -> float:
    """Return how far ``middle`` rises above the line from ``left`` to ``right``."""
    share = (middle.cost_j - left.cost_j) / max(right.cost_j - left.cost_j, 1e-30)
    return middle.gain - (left.gain + share * (right.gain - left.gain))
