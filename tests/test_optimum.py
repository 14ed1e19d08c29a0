# SPDX-License-Identifier: Apache-2.0
"""The bounds against cases worked out by hand, and what must hold of any optimum."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_experience import fake_outcomes

from joulet.optimum.bound import Costs, World, oracle_all, oracle_energy
from joulet.optimum.costs import link_values
from joulet.optimum.outcomes import fit_outcomes, flat_outcomes
from joulet.optimum.plans import make_menus
from joulet.records import OutcomeModel, SampleOutcomes

ONE_EXIT = flat_outcomes(((0.8,),), None)
TWO_EXITS = flat_outcomes(((0.6, 0.9),), None)


def world(*, harvest_w: float = 0.0, initial_j: float = 0.0, full_j: float = 10.0, n_events: int = 4) -> World:
    """One event a second; brown-out at 0 J, power-good at 1 J, no leakage, no sleep."""
    return World(
        segment_s=np.zeros(1),
        duration_s=float(n_events),
        band_j=np.zeros(1),
        output_w=np.array([[harvest_w]]),
        full_j=full_j,
        off_j=0.0,
        on_j=1.0,
        initial_j=initial_j,
        leak_tau_s=np.inf,
        sleep_w=0.0,
        event_s=np.arange(n_events, dtype=np.float64),
        deadline_s=1.0,
        period_s=1.0,
    )


def costs(*rows: tuple[float, ...]) -> Costs:
    """``rows[path]``: energy from the start to each exit; from exit to exit the difference. Inference takes no time."""
    step_j, step_s = [], []
    for row in rows:
        done = (0.0, *row)
        table = [tuple(np.inf if j < k else row[j] - done[k] for j in range(len(row))) for k in range(len(row) + 1)]
        step_j.append(tuple(table))
        step_s.append(tuple(tuple(0.0 if np.isfinite(v) else np.inf for v in line) for line in table))
    return Costs(step_j=tuple(step_j), step_s=tuple(step_s))


def test_a_store_without_harvest_serves_what_it_holds() -> None:
    # 4 events, each costs 2 J and is worth 0.8; 5 J serve two
    assert oracle_energy(world(initial_j=5.0), costs((2.0,)), ONE_EXIT, levels=501) == pytest.approx(1.6)
    assert oracle_energy(world(initial_j=9.0), costs((2.0,)), ONE_EXIT, levels=501) == pytest.approx(3.2)


def test_an_empty_store_that_never_fills_serves_nothing() -> None:
    assert oracle_energy(world(initial_j=0.0), costs((2.0,)), ONE_EXIT) == 0.0


def test_energy_that_arrives_within_a_slot_may_serve_its_event() -> None:
    # 1 J is held, 1 J a second arrives: 2 J are there by the end of each event's second, then 1 J is short every time
    value = oracle_energy(world(initial_j=1.0, harvest_w=1.0), costs((2.0,)), ONE_EXIT, levels=501)
    assert value == pytest.approx(2 * 0.8)


def test_the_dearer_exit_is_taken_where_its_joules_bring_most() -> None:
    # exits at 1 J (0.6) and 3 J (0.9): with 4 J, four shallow answers (2.4) beat one deep and one shallow (1.5)
    assert oracle_energy(world(initial_j=4.0), costs((1.0, 3.0)), TWO_EXITS, levels=501) == pytest.approx(2.4)
    # with 10 J: three deep ones need 9 J and leave one shallow: 3 · 0.9 + 0.6
    assert oracle_energy(world(initial_j=10.0), costs((1.0, 3.0)), TWO_EXITS, levels=501) == pytest.approx(3.3)


def test_all_knowing_serves_the_cheapest_right_answers() -> None:
    hit_j = np.array([3.0, np.inf, 1.0, 2.0])
    assert oracle_all(world(initial_j=3.0), costs((1.0, 3.0)), hit_j, levels=501) == pytest.approx(2.0)
    assert oracle_all(world(initial_j=10.0), costs((1.0, 3.0)), hit_j, levels=501) == pytest.approx(3.0)


def test_what_overflows_is_lost() -> None:
    # a store of 2 J under 10 W: one inference of 2 J an event, and none of 3 J ever
    rich = world(initial_j=2.0, harvest_w=10.0, full_j=2.0)
    assert oracle_energy(rich, costs((2.0,)), ONE_EXIT, levels=201) == pytest.approx(3.2)
    assert oracle_energy(rich, costs((3.0,)), ONE_EXIT, levels=201) == 0.0


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    initial_j=st.floats(0.0, 8.0),
    more_j=st.floats(0.0, 2.0),
    more_w=st.floats(0.0, 0.5),
)
def test_more_energy_never_lowers_the_optimum(seed: int, initial_j: float, more_j: float, more_w: float) -> None:
    rng = np.random.default_rng(seed)
    n = 30
    base = replace(
        world(initial_j=initial_j, n_events=n),
        segment_s=np.arange(n, dtype=np.float64),
        output_w=rng.exponential(0.5, (1, n)) * rng.integers(0, 2, (1, n)) - 0.01,
        leak_tau_s=100.0,
        sleep_w=0.02,
        off_j=0.0,
    )
    price = costs((0.5, 1.5))
    richer = replace(base, initial_j=min(initial_j + more_j, base.full_j), output_w=base.output_w + more_w)
    for levels in (64, 400):
        poor, rich = (oracle_energy(w, price, TWO_EXITS, levels=levels) for w in (base, richer))
        assert rich >= poor - 1e-4  # the tables are single precision


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), inferences=st.sampled_from([0.6, 2.0, 8.0, 30.0]))
def test_finer_grids_and_fewer_links_lower_the_bound(seed: int, inferences: float) -> None:
    """Rounding down the energy of an inference can only help; leaving ways out can only harm."""
    model = fake_outcomes()
    rng = np.random.default_rng(seed)
    n = 60
    table = costs((0.4, 0.8, 1.2), (0.2, 0.4, 0.6), (0.2, 0.6, 1.0))
    scene = replace(
        world(initial_j=inferences, full_j=1.2 * inferences, n_events=n),
        segment_s=np.arange(n, dtype=np.float64),
        output_w=rng.exponential(0.4, (1, n)),
        on_j=0.3 * inferences,
    )
    some = make_menus(model, link_values(model, table.step_j)).links
    full = oracle_energy(scene, table, model, levels=400)
    assert oracle_energy(scene, table, model, links=some, levels=400) <= full + 1e-3
    if inferences <= 4.0:  # rounded down; above, interpolated
        # what flows in and out is interpolated between levels: the module says by how much that may be too low
        fine, coarse = (oracle_energy(scene, table, model, levels=levels) for levels in (3001, 601))
        assert fine <= coarse * 1.002
    else:
        assert oracle_energy(scene, table, model, levels=3001) == pytest.approx(full, rel=5e-3)


def test_menus_hold_what_brute_force_finds() -> None:
    """At any price, the best plan of the menu is as good as the best of all deterministic stopping rules."""
    model = fit_outcomes(_three_kinds(), n_bins=3, smoothing=0.0)
    table = costs((1.0, 2.0, 4.0))
    link_j = link_values(model, table.step_j)
    menus = make_menus(model, link_j, most=(100, 100))
    for price in (0.0, 0.01, 0.05, 0.1, 0.3, 1.0):
        best = max(plan.gain - price * plan.cost_j for plan in menus.start)
        assert best == pytest.approx(_brute_force(model, link_j, price), abs=2e-3)


def _three_kinds() -> SampleOutcomes:
    """Easy samples are right from the first exit on, middling ones from the second, hard ones from the third; all say so."""
    kind = np.repeat([0, 1, 2], [50, 30, 20])
    correct = np.stack([kind <= exit for exit in range(3)])
    confidence = np.where(correct, 30000 + 10 * kind, 8000 + 10 * kind).astype(np.uint16)
    return SampleOutcomes(
        nodes=((0, 0), (0, 1), (0, 2)), node_of=((0, 1, 2),), confidence_q15=confidence, correct=correct
    )


def _brute_force(model: OutcomeModel, link_j: np.ndarray, price: float) -> float:
    links = {(int(a), int(b)): i for i, (a, b) in enumerate(model.links)}

    def on(node: int, at: int) -> float:
        best = float(model.accuracy[node, at])
        for after in range(node + 1, 3):
            link = links[(node, after)]
            ahead = sum(model.transition[link][at, end] * on(after, end) for end in range(model.n_bins))
            best = max(best, float(ahead) - price * float(link_j[link]))
        return best

    firsts = []
    for first in range(3):
        link = links[(-1, first)]
        ahead = sum(model.transition[link][0, end] * on(first, end) for end in range(model.n_bins))
        firsts.append(float(ahead) - price * float(link_j[link]))
    return max(firsts)


def test_outcome_models_are_distributions_and_monotone() -> None:
    model = fake_outcomes()
    assert np.allclose(model.start.sum(axis=1), 1.0)
    assert np.allclose(model.transition.sum(axis=2), 1.0)
    assert (np.diff(model.accuracy, axis=1) >= -1e-12).all()
    for node in range(len(model.nodes)):
        assert model.bin_of(node, 0) == 0 or model.borders_q15[node][0] == 0
        assert model.bin_of(node, 32767) == model.n_bins - 1
