# SPDX-License-Identifier: Apache-2.0
"""What a report shows of a cell beside its figures: voltage and answers over time, and what the price policy would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from joulet.policies import make_policy
from joulet.policies.governor import Governor, Question
from joulet.policies.shadow import Shadow
from joulet.policies.tables import NO_NODE
from joulet.records import Action, PriceMap, StepRecord
from joulet.simulate.cell import Cell

_POINTS = 2000
_MAP_LEVELS = 48


def timeline(cell: Cell, specs: Sequence[str]) -> dict[str, tuple[StepRecord, ...]]:
    """Return, per policy, the store and the answer at (thinned) events."""
    return {spec: _timeline(cell, spec) for spec in specs if spec != "best-fixed"}


def _timeline(cell: Cell, spec: str) -> tuple[StepRecord, ...]:
    run = cell.realise(cell.prepare(lambda: make_policy(spec)))
    supply, storage = cell.supply, cell.scenario.storage
    event_s = cell.events.event_s
    kept = np.unique(np.linspace(0, len(event_s) - 1, min(_POINTS, len(event_s))).astype(int))
    segment = np.searchsorted(supply.segment_s, event_s[kept], side="right") - 1
    missed = run.status == 3
    steps = []
    for index, at in zip(kept.tolist(), segment.tolist(), strict=True):
        answered = run.exit[index] >= 0
        steps.append(
            StepRecord(
                time_s=float(event_s[index]),
                event="answer" if answered else "sample",
                store_voltage_v=storage.voltage_at_v(float(run.stored_j[index])),
                harvest_power_w=float(supply.harvest_w[at]),
                powered=not bool(missed[index]),
                path=int(run.path[index]) if answered else None,
                exit=int(run.exit[index]) if answered else None,
            )
        )
    return tuple(steps)


def price_maps(cell: Cell) -> tuple[PriceMap, ...]:
    """Return maps of price and choice over energy and time of day, for the lower, middle and upper harvest level."""
    shadow = Shadow()
    shadow.fit(cell.experience(0))
    assert shadow.table is not None
    levels = sorted({1 % shadow.table.n_harvest, shadow.table.n_harvest // 2, shadow.table.n_harvest - 1})
    return tuple(_map(cell, shadow, level) for level in levels)


def _middling(cell: Cell, governor: Governor, question: Question) -> tuple[int, int] | None:
    """Return (path, exit) at which an event ends whose confidence is middling at every exit; None: it is not started."""
    context, table = cell.context, governor.table
    answer, reached, energy = governor.decide(question), -1, question.energy_q16
    if answer.action is not Action.START:
        return None
    while True:
        path, exit = answer.path, answer.exit
        spent_j = context.step_j[path][reached + 1][exit]
        energy = max(0, energy - round(spent_j / context.full_j * governor.top_q16))
        reached = exit
        node = table.node_of[path, exit]
        if exit == context.n_exits - 1 or node == NO_NODE:
            return path, exit
        borders = table.borders_q15[node]
        middling = int(borders[len(borders) // 2]) if len(borders) else 0
        answer = governor.decide(
            replace(question, energy_q16=energy, path=path, exit=exit, confidence_q15=middling, at_exit=True)
        )
        if answer.action is Action.STOP:
            return path, exit


def _map(cell: Cell, shadow: Shadow, level: int) -> PriceMap:
    table = shadow.table
    assert table is not None
    governor, costs, context = Governor(table), cell.scenario.costs, cell.context
    slow = table.n_slow // 2
    slow_nw = int(table.slow_nw[slow - 1]) if slow else 0
    borders = [0, *table.harvest_nw[slow].tolist()]
    harvest_nw = (
        borders[level] + (borders[level + 1] - borders[level]) // 2 if level + 1 < len(borders) else borders[level]
    )
    energies = np.linspace(0, governor.top_q16, _MAP_LEVELS).astype(np.int64)
    names = [f"{path}@{exit}" for path in costs.path_names for exit in costs.exit_names]
    price = np.zeros((table.n_slots, _MAP_LEVELS))
    point = np.full((table.n_slots, _MAP_LEVELS), -1, np.int16)
    worth = table.worth[:, slow, level].astype(np.float64) * 2.0 ** (8 - table.gain_q)
    per_j = (table.n_levels - 1) / context.full_j
    for slot in range(table.n_slots):
        places = energies / 65536.0
        price[slot] = np.interp(places, np.arange(table.n_levels), np.gradient(worth[slot])) * per_j
        for column, energy in enumerate(energies.tolist()):
            question = Question(
                energy_q16=energy,
                harvest_nw=harvest_nw,
                slow_nw=slow_nw,
                deadline_left_us=int(cell.deadline_s * 1e6),
                half_hour=slot * 48 // table.n_slots,
            )
            place = _middling(cell, governor, question)
            if place is not None:
                point[slot, column] = place[0] * len(costs.exit_names) + place[1]
    return PriceMap(
        policy="shadow",
        harvest_w=harvest_nw * 1e-9,
        energy_j=energies / governor.top_q16 * context.full_j,
        slot_s=np.arange(table.n_slots) * 86400.0 / table.n_slots,
        price_per_j=price,
        point=point,
        point_names=tuple(names),
    )
