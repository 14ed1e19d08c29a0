# SPDX-License-Identifier: Apache-2.0
"""No policy beats the bounds, whatever the source, the converter and the store."""

from __future__ import annotations

import math

import numpy as np
import pytest
from policy_experience import fake_samples
from session_fakes import cost_table
from simulate_worlds import random_legal_scene

from joulet.errors import UsageError
from joulet.policies import make_policy
from joulet.policies.seam import Policy
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.cell import Cell, Scenario

SEEDS = range(40)
POLICIES = ("fixed", "fixed:smallest", "linear", "threshold", "shadow")
OUTCOMES = fake_samples(400)


def cell_of(seed: int) -> Cell:
    """A random world: traces with silences, converters with bands, capacitors with ESR, batteries, queues."""
    scene = random_legal_scene(seed)
    settings = scene.settings
    period_s = settings.period_s
    kinds = (f"periodic:{period_s}s", f"poisson:{1 / period_s}/s", f"bursty:3x{period_s / 10}s/{3 * period_s}s")
    return Cell(
        Scenario(
            model="fake",
            trace="t",
            family="made up",
            costs=cost_table(scene.scale),
            load=scene.load,
            outcomes=OUTCOMES,
            harvester=scene.harvester,
            span_s=scene.harvester.span_s,
            converter=scene.converter,
            storage=scene.storage(),
            arrivals=parse_arrivals(kinds[seed % 3]),
            duration_s=scene.duration_s,
            capacitor_f=scene.size_f,
            deadline_s=settings.deadline_s,
            queue=settings.queue,
            guard=settings.guard,
            sensing_j=settings.sensing_j or 0.0,
            seed=seed,
        )
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_policy_beats_the_bounds(seed: int) -> None:
    try:
        cell = cell_of(seed)
    except UsageError:
        pytest.skip("this world has no event, or its board can never start")
    deciders: list[Policy] = [make_policy(spec) for spec in POLICIES[: 5 if seed % 5 == 0 else 4]]
    for policy in deciders:
        expected = cell.expect(policy)
        served = int((expected.exit >= 0).sum())
        # the sum of n drawn answers, each between 0 and 1, scatters by at most sqrt(n) / 2; the module owns up to 0.2 %
        slack = 4.0 * math.sqrt(served) / 2.0 + 2e-3 * cell.oracle_energy
        assert float(expected.correct().sum()) <= cell.oracle_energy + slack, policy.name
        realised = float(cell.realise(policy).correct().sum())
        assert realised <= cell.oracle_all * 1.002 + 1e-6, policy.name
    assert np.isfinite(cell.oracle_energy)
