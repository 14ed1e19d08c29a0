# SPDX-License-Identifier: Apache-2.0
"""How much integer tables and menus of plans give away against exact look-ahead, and prices as slopes against differences.

A small chain (three exits, two precisions and a switch between them) lives on a source that is a Markov chain itself, so
that value iteration knows the truth. For stores of 1 to 200 full-depth inferences the same stream of events is decided by

* exact look-ahead: every step at every exit by the expectation over all that may follow, in floating point;
* ``table``: the integer table a board would hold, fitted on another stretch of the same source and told that it stays
  as it is;
* ``shadow``: the same as users get it, which does not take a source seen for less than a day for granted;
* slopes: exact look-ahead, but c joules cost dJ/dE · c.

    python tests/studies/lookahead.py [--events 20000] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1]))

from policy_experience import fake_context, fake_outcomes
from session_fakes import LOAD, cost_table

from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import MarkovHarvester
from joulet.optimum.bound import chain_of
from joulet.optimum.costs import link_path, link_values
from joulet.optimum.harvest import HarvestChain, HarvestShape
from joulet.optimum.value import Pace, Store, iterate
from joulet.policies.seam import Experience, PolicyContext
from joulet.policies.shadow import Shadow, ShadowSettings
from joulet.records import Action, Decision, Observation, OutcomeModel
from joulet.simulate.folds import stretches_of
from joulet.simulate.loop import Events, Governors, Model, run
from joulet.simulate.world import lay_out

STORES = (1.0, 2.0, 5.0, 20.0, 200.0)
PERIOD_S = 1.0
LEVELS_W = (0.0, 3e-5, 1.2e-4)  # full depth every period asks for 120 uW
TRANSITION = ((0.90, 0.08, 0.02), (0.10, 0.80, 0.10), (0.02, 0.18, 0.80))


class LookAhead:
    """Decides every step by the expectation over all that may follow it.

    Parameters
    ----------
    worth : array (n_harvest, n_levels)
        Value of energy from brown-out to full.
    slopes : bool
        Price energy by the slope of ``worth`` at what is held, instead of by differences.
    """

    def __init__(self, worth: Any, model: OutcomeModel, *, slopes: bool) -> None:
        self.name = "slopes" if slopes else "look-ahead"
        self._worth, self._model, self._slopes = worth, model, slopes
        self._slope = np.gradient(worth, axis=1)

    def reset(self, context: PolicyContext) -> None:
        """Take the costs."""
        self._context = context
        self._link_j = link_values(self._model, context.step_j) + context.decision_j
        self._from: dict[int, list[int]] = {}
        for link, (source, _) in enumerate(self._model.links.tolist()):
            self._from.setdefault(source, []).append(link)

    def decide(self, seen: Observation) -> Decision:
        """Compare stopping with every way on."""
        level = int(np.argmin(np.abs(np.asarray(LEVELS_W) - max(seen.harvest_power_w, 0.0))))
        held_j = seen.usable_energy_j

        def price(left_j: float) -> float:
            place = left_j / self._context.full_j * (self._worth.shape[1] - 1)
            if not self._slopes:
                return float(np.interp(place, np.arange(self._worth.shape[1]), self._worth[level]))
            at = held_j / self._context.full_j * (self._worth.shape[1] - 1)
            return float(np.interp(at, np.arange(self._worth.shape[1]), self._slope[level])) * place

        @cache
        def best(node: int, left_j: float) -> Any:
            stop = self._model.accuracy[node] + price(left_j)
            for link in self._from.get(node, []):
                if self._link_j[link] <= left_j:
                    ahead = self._model.transition[link] @ best(
                        int(self._model.links[link, 1]), left_j - self._link_j[link]
                    )
                    stop = np.maximum(stop, ahead)
            return stop

        def ahead(link: int, at: int) -> float:
            target = int(self._model.links[link, 1])
            return float(self._model.transition[link][at] @ best(target, held_j - self._link_j[link]))

        if seen.exit is None:
            ways = [link for link in self._from[-1] if self._link_j[link] <= held_j]
            values = [ahead(link, 0) for link in ways]
            if not ways or max(values) <= price(held_j):
                return Decision(action=Action.DEFER)
            path, exit = link_path(self._model, ways[int(np.argmax(values))])
            return Decision(action=Action.START, path=path, exit=exit)
        node = self._model.node_of[seen.path or 0][seen.exit]
        at = self._model.bin_of(node, seen.confidence_q15 or 0)
        ways = [link for link in self._from.get(node, []) if self._link_j[link] <= held_j]
        values = [ahead(link, at) for link in ways]
        if not ways or max(values) <= float(self._model.accuracy[node][at]) + price(held_j):
            return Decision(action=Action.STOP)
        path, exit = link_path(self._model, ways[int(np.argmax(values))])
        return Decision(action=Action.CONTINUE, path=path, exit=exit)


def exact_worth(context: PolicyContext, model: OutcomeModel, inferences: float) -> Any:
    """Return the value of energy under the true source, fine enough for single steps, ``(n_harvest, n_levels)``."""
    shape = HarvestShape(window_s=PERIOD_S, n_quick=3, n_slow=1, n_slots=1, quick_shift=0, slow_shift=0)
    chain = HarvestChain(
        shape=shape,
        slow_w=np.zeros(0),
        quick_w=np.array([[1.5e-5, 7e-5]]),
        power_w=np.array([LEVELS_W]),
        transition=np.array([TRANSITION]),
    )
    parts = 4 if inferences <= 20 else 1
    epochs = int((80 + 15 * inferences) * parts)
    pace = Pace(
        epoch_s=PERIOD_S / parts, phases=parts, arrival=1.0, survival=1.0, n_epochs=epochs, n_sweeps=1,
        epochs_per_window=parts,
    )  # fmt: skip
    store = Store(
        full_j=context.full_j,
        off_j=context.off_j,
        on_j=context.on_j,
        leak_tau_s=context.leak_tau_s,
        sleep_w=LOAD.sleep_w,
    )
    link_j = link_values(model, context.step_j) + context.decision_j
    served, keep = chain_of(model, link_j, link_values(model, context.step_s), np.arange(len(model.links)))
    levels = int(min(1024, max(128, 60 * inferences)))
    worth, _ = iterate(served, store, chain, pace, deadline_s=PERIOD_S, n_levels=levels)
    del keep
    return worth[0]


def judge(inferences: float, n_events: int) -> dict[str, float]:
    """Return expected scores of all on one store."""
    model, table = fake_outcomes(), cost_table()
    full_j = inferences * 1.2e-4
    capacitance_f = 2.0 * full_j / (LOAD.max_v**2 - LOAD.off_v**2)
    storage = Capacitor(capacitance_f, max_v=LOAD.max_v, initial_v=LOAD.on_v)
    context = replace(
        fake_context(full_j=full_j, period_s=PERIOD_S),
        off_j=storage.energy_at_j(LOAD.off_v),
        on_j=storage.energy_at_j(LOAD.on_v) - storage.energy_at_j(LOAD.off_v),
        sleep_w=LOAD.sleep_w,
    )

    def source(seed: int) -> Any:
        harvester = MarkovHarvester(LEVELS_W, TRANSITION, step_s=PERIOD_S, duration_s=n_events * PERIOD_S, seed=seed)
        return lay_out(harvester, ConstantConverter(1.0), storage, LOAD, duration_s=n_events * PERIOD_S)

    event_s = np.arange(n_events) * PERIOD_S
    past = stretches_of(source(1), event_s, [(0.0, n_events * PERIOD_S)], step_s=PERIOD_S, clock_start_s=0.0)
    tables = {}
    for name, settings in (("table", ShadowSettings(scales=(1.0,), n_slow_short=1)), ("shadow", ShadowSettings())):
        shadow = Shadow(settings)
        shadow.fit(Experience(context=context, outcomes=model, stretches=past))
        assert shadow.table is not None
        tables[name] = shadow.table.to_bytes()
    worth = exact_worth(context, model, inferences)
    deciders: list[Any] = [
        LookAhead(worth, model, slopes=False),
        Governors("table", (tables["table"],)),
        Governors("shadow", (tables["shadow"],)),
        LookAhead(worth, model, slopes=True),
    ]
    supply, drawn = source(2), Model(table, model, seed=5)
    scores = {}
    for decider in deciders:
        if isinstance(decider, LookAhead):
            decider.reset(context)
        done = run(supply, drawn, Events(event_s=event_s, deadline_s=PERIOD_S), decider, context, LOAD)
        scores[decider.name] = float(done.correct().mean())
    return scores


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = {store: judge(store, args.events) for store in STORES}
    if args.json:
        print(json.dumps(rows, indent=1))
        return 0
    others = ("table", "shadow", "slopes")
    print(f"{'store':>6} {'look-ahead':>11}" + "".join(f" {name:>8} {'of it':>8}" for name in others))
    for store, row in rows.items():
        exact = row["look-ahead"]
        cells = "".join(f" {row[name]:8.4f} {100 * row[name] / exact:7.2f}%" for name in others)
        print(f"{store:6g} {exact:11.4f}{cells}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
