# SPDX-License-Identifier: Apache-2.0
"""A past to learn from: the fake model's outcomes, drawn so that depth and bits help, and days of made-up light."""

from __future__ import annotations

import numpy as np
from session_fakes import ACCURACY, LOAD, PREFIXES, cost_table

from joulet.optimum.outcomes import fit_outcomes
from joulet.policies.seam import Experience, PolicyContext, Stretch, make_context
from joulet.records import OutcomeModel, SampleOutcomes

DAY_S = 86400.0
NODES = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 1), (0, 2), (1, 2), (2, 2))
NODE_OF = ((0, 2, 5), (1, 3, 6), (1, 4, 7))
FULL_J = 4.86e-3  # 1 mF between 1.8 and 3.6 V; about 40 inferences of full depth


def fake_context(full_j: float = FULL_J, period_s: float = 1.0, scale: int = 1, **changes: float) -> PolicyContext:
    """Context of the fake board; ``scale`` makes inference dearer."""
    return make_context(
        cost_table(scale),
        clock_hz=LOAD.clock_hz,
        energy_j_per_cycle=LOAD.energy_pj_per_cycle * 1e-12,
        wake_cycles=LOAD.wake_cycles,
        store_v=(LOAD.off_v, LOAD.on_v, LOAD.max_v),
        full_j=full_j,
        period_s=period_s,
        deadline_s=changes.pop("deadline_s", period_s),
        **changes,  # type: ignore[arg-type]
    )


def fake_samples(n: int = 2000, seed: int = 0) -> SampleOutcomes:
    """Samples of a difficulty each; a node is right where it is below the node's accuracy, and mostly knows so."""
    assert len(PREFIXES) == len(NODE_OF)
    rng = np.random.default_rng(seed)
    difficulty = rng.random(n)
    correct, confidence = [], []
    for path, exit in NODES:
        margin = ACCURACY[path][exit] - difficulty + 0.08 * rng.standard_normal(n)
        correct.append(margin > 0.0)
        sure = 1.0 / (1.0 + np.exp(-(margin + 0.15 * rng.standard_normal(n)) * 8.0))
        confidence.append(np.minimum(sure * 32768.0, 32767.0).astype(np.uint16))
    return SampleOutcomes(nodes=NODES, node_of=NODE_OF, confidence_q15=np.stack(confidence), correct=np.stack(correct))


def fake_outcomes() -> OutcomeModel:
    """The calibrated model of :func:`fake_samples`."""
    return fit_outcomes(fake_samples())


def sunny_days(n: int, peak_w: float, step_s: float = 60.0, seed: int = 0) -> tuple[Stretch, ...]:
    """Days of half-sine light under clouds that differ from day to day and drift within one; a little drain at night."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(0.0, DAY_S, step_s)
    sun = np.maximum(0.0, -np.cos(time_s / DAY_S * 2.0 * np.pi))
    days = []
    for _ in range(n):
        clouds = np.interp(time_s, np.linspace(0.0, DAY_S, 25), rng.uniform(0.2, 1.0, 25))
        days.append(Stretch(start_s=0.0, step_s=step_s, power_w=peak_w * sun * clouds - 1e-9, event_s=np.empty(0)))
    return tuple(days)


def experience(context: PolicyContext, stretches: tuple[Stretch, ...], seed: int = 0) -> Experience:
    """All of it."""
    return Experience(context=context, outcomes=fake_outcomes(), stretches=stretches, seed=seed)
