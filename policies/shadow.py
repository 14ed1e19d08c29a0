# SPDX-License-Identifier: Apache-2.0
"""Every joule at its price: value iteration gives the worth J of stored energy, and each decision maximises the right
answers it may bring plus the worth of what it leaves, so that spending c costs J(E) − J(E − c).

One table decides starts, depths, bits and waiting. It is fitted on past harvest and samples, and exported as integers; a
board and this file decide alike (:mod:`joulet.policies.governor`).

A slope dJ/dE would do for large stores. Where one inference is a visible share of the store it misprices every step; the
differences do not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import PolicyError
from joulet.optimum.bound import chain_of
from joulet.optimum.costs import link_path, link_values
from joulet.optimum.harvest import HarvestChain, HarvestShape, fit_harvest
from joulet.optimum.outcomes import flat_outcomes
from joulet.optimum.plans import Menus, Plan, make_menus
from joulet.optimum.value import Pace, Store, iterate
from joulet.policies.governor import Governor, HarvestMean, Question, to_decision
from joulet.policies.seam import Experience, PolicyContext, Stretch
from joulet.policies.tables import BYTES_LIMIT, HEADER_BYTES, LINK, NO_NODE, OPTION, PolicyTable
from joulet.records import Decision, Observation, OutcomeModel

Array = npt.NDArray[np.float64]
_EXACT_BELOW = 8.0  # full-depth inferences in a full store: below it plans are no substitute for steps
_DAY_S = 86400.0
_CLUMPED = 1.4  # standard deviation over mean of the gaps between events


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowSettings:
    """Sizes of the fit and of the table.

    Attributes
    ----------
    n_slots
        Slots of the day where the experience knows days, dividing 48.
    n_quick, n_slow
        Levels of the quick and of the slow mean of harvest.
    scales, piece_windows, changes_steps
        Strengths between which a source changes that was seen for less than a day, how long it keeps one, and least
        length of the past that is made up so.
    n_levels
        Most levels of energy in the table; fewer where 8 kB would not hold them.
    fit_levels, exact_levels
        Levels in value iteration, with plans and with single steps.
    most_plans
        Plans kept at the start, and at a bin of an exit.
    quick_shift
        Weight 2^−quick_shift of a new window in the quick mean; the slow one spans a day, or ``slow_windows``.
    """

    n_slots: int = 12
    n_quick: int = 6
    n_slow: int = 1
    scales: tuple[float, ...] = (0.0, 0.0, 0.0, 0.3, 1.0, 1.0, 1.0, 1.0, 1.0, 2.0)
    changes_steps: int = 16000
    piece_windows: int = 8
    n_slow_short: int = 2
    slow_windows: int = 64
    n_levels: int = 128
    fit_levels: int = 512
    exact_levels: int = 192
    most_plans: tuple[int, int] = (4, 3)
    quick_shift: int = 0


class Shadow:
    """The policy that pays for every joule what it could have brought later.

    Parameters
    ----------
    settings : ShadowSettings, optional
        Sizes.
    table : PolicyTable, optional
        Already fitted; ``fit`` leaves it alone.
    name : str
        The spec it was made from.

    Notes
    -----
    ``reset`` without a fit makes a table from the context alone, for a source of which nothing is known.
    """

    def __init__(
        self, settings: ShadowSettings | None = None, *, table: PolicyTable | None = None, name: str = "shadow"
    ) -> None:
        self.name = name
        self._settings = settings or ShadowSettings()
        self._given = table is not None
        self.table = table
        self._governor: Governor | None = None
        self._mean: HarvestMean | None = None

    def fit(self, experience: Experience) -> None:
        """Learn the worth of energy from past harvest, events and samples."""
        if self._given:
            return
        self.table = fit_table(experience, self._settings)

    def reset(self, context: PolicyContext) -> None:
        """Begin a run."""
        if self.table is None:
            self.table = fit_table(without_experience(context), self._settings)
        sizes = (self.table.n_paths, self.table.n_exits)
        if sizes != (context.n_paths, context.n_exits):
            raise PolicyError(
                f"policy {self.name}: its table is for {sizes[0]} paths and {sizes[1]} exits, the model has "
                f"{context.n_paths} and {context.n_exits}; fit it on this model"
            )
        self._governor = Governor(self.table)
        self._mean = HarvestMean(self.table)

    def decide(self, observation: Observation) -> Decision:
        """Answer as the governor does."""
        governor, mean = self._governor, self._mean
        assert governor is not None
        assert mean is not None
        top, full_j = governor.top_q16, observation.full_energy_j
        now_nw = int(min(max(observation.harvest_power_w * 1e9, 0.0), 2147483647.0))
        time_us, delivered_nj = int(observation.time_s * 1e6), math.floor(observation.delivered_j * 1e9)
        mean.take(time_us, delivered_nj, now_nw)
        question = Question(
            energy_q16=int(min(max(math.floor(observation.usable_energy_j / full_j * top), 0.0), top)),
            harvest_nw=mean.mean_nw,
            slow_nw=mean.slow_nw,
            deadline_left_us=int(min(max(math.floor(observation.deadline_left_s * 1e6), 0.0), 4294967295.0)),
            half_hour=observation.slot,
            path=observation.path or 0,
            exit=observation.exit or 0,
            confidence_q15=observation.confidence_q15 or 0,
            at_exit=observation.exit is not None,
        )
        return to_decision(governor.decide(question), top, full_j)


def without_experience(context: PolicyContext) -> Experience:
    """Return what to assume of a source nobody has seen: a third of what full depth asks for, coming and going."""
    demand_w = context.energy_j(0, context.n_exits - 1) / context.period_s
    steps = np.tile(np.repeat([0.0, 0.2, 0.5, 1.0, 0.3], 12), 20) * demand_w
    stretch = Stretch(
        start_s=0.0,
        step_s=context.period_s,
        power_w=steps,
        event_s=np.arange(len(steps), dtype=np.float64) * context.period_s,
    )
    outcomes = flat_outcomes(context.accuracy, context.switches)
    return Experience(context=context, outcomes=outcomes, stretches=(stretch,))


def fit_table(experience: Experience, settings: ShadowSettings) -> PolicyTable:
    """Return the table fitted to an experience."""
    context, model = experience.context, experience.outcomes
    link_j = link_values(model, context.step_j) + context.decision_j
    link_s = link_values(model, context.step_s)
    allowed = (link_j <= context.full_j) & (link_s <= context.deadline_s)
    if not allowed[model.links[:, 0] < 0].any():
        allowed[int(np.argmin(np.where(model.links[:, 0] < 0, link_j, np.inf)))] = True  # legal, if hopeless
    menus = make_menus(model, link_j, allowed=allowed, most=settings.most_plans)
    inferences = context.full_j / max(rows[0][-1] for rows in context.step_j)
    exact = inferences < _EXACT_BELOW
    harvest = _harvest(experience, settings)
    periodic, again = _gaps(experience)
    pace = _pace(context, harvest, periodic, again, inferences)
    chain, keep = _chain(model, menus, link_j, link_s, exact)
    store = Store(
        full_j=context.full_j,
        off_j=context.off_j,
        on_j=context.on_j,
        leak_tau_s=context.leak_tau_s,
        sleep_w=context.sleep_w,
    )
    worth, _ = iterate(
        chain,
        store,
        harvest,
        pace,
        deadline_s=context.deadline_s,
        n_levels=settings.exact_levels if exact else settings.fit_levels,
    )
    del keep
    return _table(context, model, menus, harvest, worth, settings, patient=periodic)


def _harvest(experience: Experience, settings: ShadowSettings) -> HarvestChain:
    stretches, window_s = experience.stretches, experience.context.period_s
    knows_days = sum(len(s.power_w) * s.step_s for s in stretches) >= 0.75 * _DAY_S
    seen = sum(len(s.power_w) * s.step_s for s in stretches) / window_s
    spans = _DAY_S / window_s if knows_days else min(max(seen, 4.0), settings.slow_windows)
    shape = HarvestShape(
        window_s=window_s,
        n_quick=settings.n_quick,
        n_slow=settings.n_slow if knows_days else settings.n_slow_short,
        n_slots=settings.n_slots if knows_days else 1,
        quick_shift=settings.quick_shift,
        slow_shift=min(15, max(1, round(math.log2(spans)))),
    )
    if not knows_days:
        stretches = _with_changes(stretches, settings, window_s, experience.seed)
    return fit_harvest(
        [s.power_w for s in stretches], [s.step_s for s in stretches], [s.start_s for s in stretches], shape
    )


def _with_changes(
    stretches: tuple[Stretch, ...], settings: ShadowSettings, window_s: float, seed: int
) -> tuple[Stretch, ...]:
    """Return a longer past in which the source changes its strength, or falls silent, every few windows.

    A minute of radio says little about the next hour. A policy that takes what it saw for granted starves where the
    source is worse and idles where it is better; one that has met both keeps what it needs to bridge a silence.
    """
    rng = np.random.default_rng(seed)
    step_s = min(s.step_s for s in stretches)
    once = np.concatenate([np.repeat(s.power_w, max(1, round(s.step_s / step_s))) for s in stretches])
    piece = max(1, min(len(once), round(settings.piece_windows * window_s / step_s)))
    repeats = max(1, math.ceil(settings.changes_steps / len(once)))
    power_w = np.tile(once, repeats)
    scales = rng.choice(settings.scales, math.ceil(len(power_w) / piece))
    power_w = power_w * np.repeat(scales, piece)[: len(power_w)]
    return (Stretch(start_s=0.0, step_s=step_s, power_w=power_w, event_s=stretches[0].event_s),)


def _gaps(experience: Experience) -> tuple[bool, float]:
    """Return whether events come like clockwork, and P(an event is followed by another at once): bursts."""
    gaps = np.concatenate([np.diff(s.event_s) for s in experience.stretches])
    if gaps.size < 2:
        return False, 0.0
    spread = float(gaps.std()) / max(float(gaps.mean()), 1e-12)
    # the gaps of a Poisson process spread as much as they last; more than that is clumping
    again = float((gaps < 0.5 * gaps.mean()).mean()) if spread > _CLUMPED else 0.0
    return spread < 0.1, min(again, 0.95)


def _pace(context: PolicyContext, harvest: HarvestChain, periodic: bool, again: float, inferences: float) -> Pace:
    n_slots = len(harvest.power_w)
    parts = 4 if inferences < _EXACT_BELOW else 1 if periodic else 2
    epoch_s = context.period_s / parts
    # a store forgets after a few fillings; iterating longer would change nothing
    memory = math.ceil((60.0 + 5.0 * inferences) * parts)
    n_epochs = min(math.ceil(_DAY_S / n_slots / epoch_s), memory) if n_slots > 1 else 2 * memory
    n_sweeps = 1 if n_slots == 1 else min(8, 2 + math.ceil(inferences / 10.0))
    late = max(0.0, 1.0 - epoch_s / context.deadline_s)
    return Pace(
        epoch_s=epoch_s,
        phases=parts if periodic else 1,
        arrival=1.0 if periodic else -math.expm1(-(1.0 - again) / parts),
        survival=1.0 if periodic and context.deadline_s >= context.period_s else late,
        n_epochs=n_epochs,
        n_sweeps=n_sweeps,
        epochs_per_window=parts,
        again=again,
    )


def _chain(model: OutcomeModel, menus: Menus, link_j: Array, link_s: Array, exact: bool) -> tuple[Any, Any]:
    """Return how an event is served: step by step, or by a plan of the menu at its expected energy."""
    if exact:
        return chain_of(model, link_j, link_s, np.asarray(menus.links, np.int64))
    plans = menus.start
    count = len(plans)
    stand_in = replace(
        flat_outcomes((tuple(plan.gain for plan in plans),), None),
        links=np.stack([np.full(count, -1), np.arange(count)], axis=1).astype(np.int16),
        transition=np.ones((count, 1, 1)),
    )
    cost_j = np.asarray([plan.cost_j for plan in plans])
    return chain_of(stand_in, cost_j, np.zeros(count), np.arange(count))


def _table(
    context: PolicyContext,
    model: OutcomeModel,
    menus: Menus,
    harvest: HarvestChain,
    worth: Array,
    settings: ShadowSettings,
    *,
    patient: bool,
) -> PolicyTable:
    nodes = sorted({int(model.links[link, 1]) for link in menus.links})
    links = sorted({plan.link for plan in _all_plans(menus, nodes)})
    shape = harvest.shape
    n_rows = shape.n_slots * shape.n_slow * shape.n_quick
    lists = [menus.start, *(menus.at_exit[node][at] for node in nodes for at in range(model.n_bins))]
    lists = [tuple(plan for plan in plans if int(model.links[plan.link, 1]) in nodes) for plans in lists]
    fixed = HEADER_BYTES + 2 * len(links) + 16 * sum(map(len, lists)) + len(nodes) * model.n_bins * 8 + 512
    n_levels = min(settings.n_levels, (BYTES_LIMIT - fixed) // (2 * n_rows))
    top = (n_levels - 1) << 16
    per_j = top / context.full_j
    grid = np.linspace(0.0, 1.0, n_levels)
    fine = np.linspace(0.0, 1.0, worth.shape[2])
    rows = np.stack([[np.interp(grid, fine, row) for row in slot] for slot in worth])
    gain_q = int(min(23, math.floor(math.log2(65535.0 * 256.0 / max(float(rows.max()), 1e-6)))))
    unit = 2.0**gain_q
    need_j, need_s = link_values(model, context.step_j), link_values(model, context.step_s)
    options = [
        (
            round(min(plan.gain, 1.0) * unit),
            min(round(plan.cost_j * per_j), 2**32 - 1),
            min(math.ceil(need_j[plan.link] * per_j), 2**32 - 1),
            min(math.ceil(need_s[plan.link] * 1e6 / 256.0), 2**24 - 1) << 8 | links.index(plan.link),
        )
        for plans in lists
        for plan in plans
    ]
    node_of = np.full((context.n_paths, context.n_exits), NO_NODE, np.uint8)
    for path, row in enumerate(model.node_of):
        for exit, node in enumerate(row):
            if node in nodes:
                node_of[path, exit] = nodes.index(node)
    return PolicyTable(
        n_levels=n_levels,
        n_slots=shape.n_slots,
        n_slow=shape.n_slow,
        n_harvest=shape.n_quick,
        n_nodes=len(nodes),
        n_bins=model.n_bins,
        n_paths=context.n_paths,
        n_exits=context.n_exits,
        gain_q=gain_q,
        mean_shift=shape.quick_shift,
        slow_shift=shape.slow_shift,
        window_us=round(0.9 * shape.window_s * 1e6),
        inflow_q32=min(round(per_j * 1e-15 * 2.0**52), 2**32 - 1),
        patience_q15=32768 if patient else 21845,  # two thirds
        slow_nw=np.minimum(harvest.slow_w * 1e9, 2.0**32 - 1).astype(np.uint32),
        harvest_nw=np.minimum(harvest.quick_w * 1e9, 2.0**32 - 1).astype(np.uint32),
        links=np.asarray([link_path(model, link) for link in links], LINK),
        options=np.asarray(options, OPTION),
        stop_gain=np.round(model.accuracy[nodes] * unit).astype(np.uint32),
        menus=np.concatenate([[0], np.cumsum([len(plans) for plans in lists])]).astype(np.uint16),
        borders_q15=model.borders_q15[nodes],
        worth=np.round(rows * unit / 256.0).astype(np.uint16).reshape(shape.n_slots, shape.n_slow, shape.n_quick, -1),
        node_of=node_of,
    )


def _all_plans(menus: Menus, nodes: list[int]) -> list[Plan]:
    return [*menus.start, *(plan for node in nodes for plans in menus.at_exit[node] for plan in plans)]
