# SPDX-License-Identifier: Apache-2.0
"""Keep what a policy learns from apart from what it is judged on.

Time is cut into blocks: days, or halves of a recording shorter than two days. Blocks alternate between two folds, and
samples are divided at random between them. On the blocks of a fold, events bring the samples of that fold, and what
decides was fitted on the blocks and samples of the other one. So everything is judged, and nothing on what it was
fitted on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.policies.seam import Learner, Policy, PolicyContext, Stretch
from joulet.records import Decision, Observation, SampleOutcomes
from joulet.simulate.world import SupplyArrays

DAY_S = 86400.0
Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Blocks of ``block_s``, one after the other in fold 0, 1, 0, …; ``pass_s`` is the length after which a trace repeats."""

    block_s: float
    pass_s: float
    duration_s: float

    def of(self, time_s: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the fold of each time."""
        return (np.floor(np.asarray(time_s, np.float64) / self.block_s) % 2).astype(np.int64)

    def blocks(self, fold: int) -> list[tuple[float, float]]:
        """Return (begin, end) of the blocks of a fold within one pass and the run [s]."""
        end_s = min(self.pass_s, self.duration_s)
        begins = np.arange(fold * self.block_s, end_s - 1e-9, 2.0 * self.block_s)
        return [(float(begin), float(min(begin + self.block_s, end_s))) for begin in begins]


def make_folds(span_s: float, duration_s: float) -> Folds:
    """Return folds for a trace of ``span_s`` that runs, repeated or cut, for ``duration_s``."""
    once_s = min(span_s, duration_s)
    return Folds(block_s=DAY_S if once_s >= 2.0 * DAY_S else once_s / 2.0, pass_s=once_s, duration_s=duration_s)


def divide_samples(outcomes: SampleOutcomes, seed: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the samples of either fold, in random order."""
    order = np.random.default_rng(seed).permutation(outcomes.n_samples)
    half = (len(order) + 1) // 2
    return order[:half], order[half:] if len(order) > 1 else order


def select(outcomes: SampleOutcomes, samples: npt.NDArray[np.int64]) -> SampleOutcomes:
    """Return the outcomes of some samples."""
    return SampleOutcomes(
        nodes=outcomes.nodes,
        node_of=outcomes.node_of,
        confidence_q15=outcomes.confidence_q15[:, samples],
        correct=outcomes.correct[:, samples],
    )


def stretches_of(
    supply: SupplyArrays, event_s: Array, blocks: list[tuple[float, float]], *, step_s: float, clock_start_s: float
) -> tuple[Stretch, ...]:
    """Return the past of some blocks: harvest as it reaches a well-filled store, and events."""
    edges_s = np.append(supply.segment_s, supply.duration_s)
    # the topmost band of the converter: where a store that works is
    gathered_j = np.concatenate([[0.0], np.cumsum(supply.output_w[-1] * np.diff(edges_s))])
    found = []
    for begin_s, end_s in blocks:
        count = max(2, int((end_s - begin_s) / step_s))
        grid_s = np.linspace(begin_s, end_s, count + 1)
        found.append(
            Stretch(
                start_s=(clock_start_s + begin_s) % DAY_S,
                step_s=(end_s - begin_s) / count,
                power_w=np.diff(np.interp(grid_s, edges_s, gathered_j)) / ((end_s - begin_s) / count),
                event_s=event_s[(event_s >= begin_s) & (event_s < end_s)] - begin_s,
            )
        )
    return tuple(found)


class Folded:
    """Two copies of a policy that take turns by block, each fitted on the other's blocks."""

    def __init__(self, policies: tuple[Policy, Policy], folds: Folds) -> None:
        self.name = policies[0].name
        self._policies, self._block_s = policies, folds.block_s

    def reset(self, context: PolicyContext) -> None:
        """Begin a run with both."""
        for policy in self._policies:
            policy.reset(context)

    def decide(self, observation: Observation) -> Decision:
        """Ask whose turn it is."""
        return self._policies[int(observation.time_s // self._block_s) % 2].decide(observation)


def learns(policy: Policy) -> bool:
    """Return whether a policy is fitted before it runs."""
    return isinstance(policy, Learner)
