# SPDX-License-Identifier: Apache-2.0
"""Made-up simulation records, timelines and price maps, plausible enough to look at; no figure in them means anything."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from joulet.records import ACCOUNTS, Block, PriceMap, SimulationRecord, StepRecord

# skill: share of the optimum; small: the same with stores below five inferences; bits and exit: what it tends to
POLICIES: dict[str, tuple[float, float, float, float]] = {
    "fixed": (0.66, 0.55, 8.0, 3.0),
    "fixed:smallest": (0.83, 0.80, 4.0, 0.0),
    "threshold": (0.93, 0.79, 6.4, 1.6),
    "atm": (0.91, 0.77, 6.0, 1.4),
    "linear": (0.945, 0.81, 5.6, 1.5),
    "eno": (0.90, 0.74, 6.1, 1.7),
    "zygarde": (0.925, 0.80, 6.8, 1.2),
    "bandit": (0.94, 0.80, 5.8, 1.3),
    "bandit:ucbv": (0.93, 0.79, 5.7, 1.3),
    "qlearning": (0.95, 0.82, 5.5, 1.4),
    "mpc": (0.965, 0.83, 5.4, 1.5),
    "shadow": (0.985, 0.90, 5.2, 1.6),
}
TRACES = {"solar": ("denver", "oslo"), "rf": ("office-a", "office-b"), "indoor": ("desk",)}


def block_list(*pairs: tuple[int, int]) -> tuple[Block, ...]:
    """Return blocks from (arrived, correct)."""
    return tuple(Block(arrived=arrived, correct=correct, expected=float(correct)) for arrived, correct in pairs)


def make_record(policy: str = "shadow", **changes: object) -> SimulationRecord:
    """Return one small record, with ``changes`` to its fields."""
    energy = {"harvested": 10e6, "stored": 1e6, **dict.fromkeys(ACCOUNTS, 1e6), "residual": 0.0}
    fields: dict[str, object] = {
        "policy": policy, "model": "kws", "board": "NUCLEO-L4R5ZI", "trace": "denver", "family": "solar",
        "capacitor_f": 4.7e-3, "arrivals": "periodic:60s", "harvest_ratio": 1.0, "store_inferences": 20.0,
        "arrived": 400, "served": 300, "on_time": 290, "late": 10, "missed": 80, "dropped": 5, "expired": 10, "lost": 5,
        "pending": 0, "correct_on_time": 240, "score": 0.6, "score_low": 0.55, "score_high": 0.65, "expected_score": 0.61,
        "oracle_energy_score": 0.65, "oracle_all_score": 0.7, "pct_of_oracle_energy": 100 * 0.61 / 0.65,
        "pct_of_oracle_all": 100 * 0.6 / 0.7, "brownouts": 3, "cut": 1, "time_off": 0.2, "longest_outage_s": 4000.0,
        "latency_p50_s": 0.01, "latency_p95_s": 0.02, "latency_p99_s": 3.0, "mean_bits": 6.0, "mean_exit": 1.5,
        "exits_taken": (100, 100, 100), "paths_taken": (200, 100), "decisions": 900, "energy_nj": energy, "residual": 1e-7,
        "blocks": block_list((200, 100), (200, 140)), "provenance": {"compute": "modelled: test"},
    }  # fmt: skip
    return SimulationRecord(**{**fields, **changes})  # type: ignore[arg-type]


def make_study(
    *,
    days: int = 20,
    per_day: int = 240,
    stores: Sequence[float] = (0.5, 1.0, 5.0, 20.0, 200.0),
    ratios: Sequence[float] = (0.3, 1.0, 3.0),
    arrivals: Sequence[str] = ("periodic:6min", "poisson:0.00278/s", "bursty:10x1h"),
    models: Sequence[str] = ("kws", "resnet8"),
    seed: int = 1,
) -> list[SimulationRecord]:
    """Return records of every policy in every cell: 2 × 3 × 5 × 5 × 3 = 450 cells as it stands."""
    rng = np.random.default_rng(seed)
    traces = [(family, trace) for family, names in TRACES.items() for trace in names]
    weather = {trace: rng.uniform(0.5, 1.2, size=days) for _, trace in traces}
    records = []
    for (family, trace), model, store, ratio, spec in itertools.product(traces, models, stores, ratios, arrivals):
        top = 0.94 if model == "kws" else 0.86
        optimum = (
            top * ratio / (ratio + 0.35) * (0.55 + 0.45 * store / (store + 1.5)) * (0.8 if family == "rf" else 1.0)
        )
        cell = (family, trace, model, store, ratio, spec)
        daily = per_day if not (family == "rf" and store < 1.0 and ratio < 1.0) else 4
        arrived = rng.poisson(daily, size=days) + 1
        records += [_cell(policy, cell, optimum, arrived, weather[trace], rng) for policy in POLICIES]
    return records


def _cell(
    policy: str,
    cell: tuple[str, str, str, float, float, str],
    optimum: float,
    arrived: np.ndarray,
    weather: np.ndarray,
    rng: np.random.Generator,
) -> SimulationRecord:
    family, trace, model, store, ratio, spec = cell
    large, small, bits, exit_ = POLICIES[policy]
    skill = (large if store >= 5 else small) * (0.97 if family == "rf" else 1.0) + rng.normal(0.0, 0.008)
    skill = min(skill + (0.25 * (1 - skill) if ratio > 2 else 0.0), 0.999)
    chance = np.clip(optimum * skill * weather / weather.mean(), 0.0, 1.0)
    correct = rng.binomial(arrived, chance)
    expected = arrived * chance
    total, right = int(arrived.sum()), int(correct.sum())
    served = min(int(right / 0.85), total)
    one_nj = 3.0e5 if model == "kws" else 2.4e6
    harvested = ratio * one_nj * total / 0.75
    want = one_nj * total * (0.25 + 0.75 * bits / 8 * (exit_ + 1) / 4)
    used = min(want, 0.7 * harvested)
    rest = harvested - used
    spent = {
        "compute": 0.84 * used, "redone": 0.0, "abandoned": (1 - skill) * 0.3 * used, "sleep": 0.07 * used,
        "sensing": 0.0, "policy": 0.02 * used, "conversion": 0.6 * rest * min(1.0, 0.7 / ratio), "leakage": 0.05 * rest,
    }  # fmt: skip
    spent["clipped"] = max(0.97 * harvested - sum(spent.values()), 0.0)
    energy = {"harvested": harvested, "stored": harvested - sum(spent.values()), **spent, "residual": 0.0}
    bound = min(optimum * 1.004, 1.0)
    score, expectation = right / total, float(expected.sum()) / total
    return make_record(
        policy, model=model, trace=trace, family=family, capacitor_f=store * one_nj * 1e-9 / 3.0, arrivals=spec,
        harvest_ratio=ratio, store_inferences=store, arrived=total, served=served, on_time=served, late=0,
        missed=total - served, dropped=0, expired=0, lost=0, correct_on_time=right, score=score,
        expected_score=expectation, oracle_energy_score=bound, oracle_all_score=min(1.03 * bound, 1.0),
        pct_of_oracle_energy=min(100 * expectation / bound, 100.0),
        pct_of_oracle_all=min(100 * score / min(1.03 * bound, 1.0), 100.0),
        brownouts=int(total * 0.02 / (store + 0.5)), time_off=0.6 / (1 + ratio) / (1 + 0.1 * store),
        latency_p99_s=400.0 / (1 + store), mean_bits=bits, mean_exit=exit_, energy_nj=energy,
        blocks=tuple(
            Block(arrived=int(a), correct=int(c), expected=float(e)) for a, c, e in zip(arrived, correct, expected, strict=True)
        ),
    )  # fmt: skip


def make_timelines(policies: Sequence[str], *, hours: float = 48.0, seed: int = 2) -> dict[str, list[StepRecord]]:
    """Return two days of one step a minute: dark at night, the store emptied at different speeds."""
    found = {}
    for order, policy in enumerate(policies):
        rng = np.random.default_rng(seed + order)
        volts, powered, steps = 2.4, True, []
        for minute in range(int(hours * 60)):
            hour = minute / 60 % 24
            sun = max(0.0, np.sin(np.pi * (hour - 6) / 12)) * 2e-3 * rng.uniform(0.6, 1.0)
            plenty = volts > 2.6
            volts = min(
                max(volts + 4.0 * sun - (0.0019 + 0.0006 * order) * (1.6 if plenty else 0.7) * powered, 1.7), 3.4
            )
            event, path, at = (
                ("answer", int(plenty), 2 if plenty else int(rng.integers(0, 2)))
                if powered
                else ("sample",) + (None,) * 2
            )
            if powered and volts < 1.8:
                powered, event, path, at = False, "brownout", None, None
            elif not powered and volts > 2.2:
                powered, event = True, "power_good"
            steps.append(
                StepRecord(
                    time_s=60.0 * minute, event=event, store_voltage_v=float(volts), harvest_power_w=float(sun),
                    powered=powered, path=path, exit=at,
                )
            )  # fmt: skip
        found[policy] = steps
    return found


def make_price_map(harvest_w: float = 2e-4, *, n_t: int = 48, n_e: int = 128, wide: bool = False) -> PriceMap:
    """Return a map that is dear at night and with an empty store; ``wide`` over four orders of magnitude."""
    slots = np.arange(n_t) * 86_400.0 / n_t
    energy = np.linspace(0.0, 0.02, n_e)
    sun = np.clip(np.sin(np.pi * (slots / 3600 - 6) / 12), 0.0, None)
    scarce = (1.0 - 0.8 * sun[:, None]) * np.exp(-energy[None, :] / (0.001 if wide else 0.008))
    names = ("w4@exit0", "w4@exit1", "w4@exit2", "w4@final", "w8@exit0", "w8@exit1", "w8@exit2", "w8@final")
    rank = np.clip((1.0 - scarce) * 9.0 - 1.0, -1, 7).astype(np.int16)
    rank[:, 0] = -1
    price = np.where((sun[:, None] > 0.9) & (energy > 0.018), 0.0, 900.0 * scarce)
    return PriceMap(
        policy="shadow", harvest_w=harvest_w, energy_j=energy, slot_s=slots, price_per_j=price, point=rank,
        point_names=names,
    )  # fmt: skip
