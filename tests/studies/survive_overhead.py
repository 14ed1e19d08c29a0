# SPDX-License-Identifier: Apache-2.0
"""What surviving power cuts costs: one keyword after the other on a virtual board, with each strategy.

The energy of computing and of memory with a strategy, over that of as many inferences with steady power and without one. What
the strategy takes is printed with it: cycles between commits and the voltage from which on it holds back.

    python tests/studies/survive_overhead.py --shared ../shared [--capacitor 20e-3] [--power 50e-3] [--events 2] [--json]

The target is that of steady power, which the defaults are. Exit code 1 when a strategy costs more, or an answer is missing or
differs from the host's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.synthetic import ConstantHarvester
from joulet.engine.host import HostEngine
from joulet.live.measure import measured_costs
from joulet.live.run import Job, Survival, run_on_board
from joulet.live.survive import survival_for
from joulet.plan.cost import cost_table
from joulet.policies.fixed import Fixed
from joulet.records import RunRecord
from joulet.session import SessionSettings

BOARD = "virtual_m4"
STRATEGIES = ("in-nvm", "jit-copy", "restart-from-exit")
TARGET_PERCENT = 5.0
_ACCOUNTS = ("compute", "abandoned", "policy")  # memory is waited for outside of computing, so it is booked as policy
_LEAKAGE_OHM = 1e6


def job_of(shared: Path, n: int) -> Job:
    """Return keyword spotting with random features: what is computed does not depend on them."""
    model = shared / "data" / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite"
    container = with_isa_plan(compile_model(model, exits="off").container, load_board(BOARD).isa)
    engine = HostEngine(container)
    x = np.random.default_rng(3).integers(-128, 128, (n, *engine.inputs[0].shape[1:]), np.int8)
    decoded = Container.from_bytes(container)
    costs = cost_table(decoded, measured_costs(container, BOARD, (x[0],)))
    return Job(container=container, model="kws", model_hash=decoded.model_hash, inputs=[x], labels=None, costs=costs)


def measure(job: Job, survival: Survival, args: argparse.Namespace) -> RunRecord:
    """Return one run."""
    load = load_board(BOARD).load
    return run_on_board(
        job,
        load_board(BOARD),
        harvester=ConstantHarvester(args.power),
        converter=ConstantConverter(0.8),
        storage=Capacitor(args.capacitor, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=_LEAKAGE_OHM),
        policy=Fixed("w8@last"),
        settings=SessionSettings(period_s=args.period, duration_s=args.period * args.events),
        survival=survival,
    )


def spent_mj(record: RunRecord) -> float:
    """Return what running took, without sleep and losses [mJ]."""
    return sum(record.ledger.spent_pj[name] for name in _ACCOUNTS) * 1e-9


def right(job: Job, record: RunRecord) -> int:
    """Return how many events have the host's answer."""
    answers = HostEngine(job.container).infer(job.inputs, path="w8")
    return sum(
        event.confidence_q15 == int(answers.confidence_q15[event.sample])
        for event in record.events
        if event.exit is not None
    )


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--capacitor", type=float, default=20e-3, help="[F]")
    parser.add_argument("--power", type=float, default=50e-3, help="[W]")
    parser.add_argument("--period", type=float, default=2.0, help="[s]")
    parser.add_argument("--events", type=int, default=2)
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    job = job_of(args.shared, args.events)
    container, board = Container.from_bytes(job.container), load_board(BOARD)
    steady = argparse.Namespace(capacitor=20e-3, power=50e-3, period=2.0, events=args.events)
    plain = measure(job, Survival(), steady)  # what is compared with, whatever the store
    rows: list[dict[str, Any]] = []
    for name in args.strategies.split(","):
        storage = Capacitor(args.capacitor, max_v=board.load.max_v, initial_v=board.load.on_v, leakage_ohm=_LEAKAGE_OHM)
        survival = survival_for(container, board, storage, name)
        record = measure(job, survival, args)
        rows.append(
            {
                "strategy": name,
                "commit_cycles": survival.commit_cycles,
                "warn_mv": survival.warn_mv,
                "spent_mj": spent_mj(record),
                "overhead_percent": 100.0 * (spent_mj(record) / spent_mj(plain) - 1.0),
                "parts_mj": {key: record.ledger.spent_pj[key] * 1e-9 for key in _ACCOUNTS},
                "right": right(job, record),
                "served": record.summary.served,
                "brownouts": record.summary.brownouts,
            }
        )
    if args.json:
        print(json.dumps({"plain_mj": spent_mj(plain), "events": args.events, "rows": rows}))
    else:
        print(f"without: {spent_mj(plain):.3f} mJ, {plain.summary.served} of {args.events}")
        for row in rows:
            print(
                f"{row['strategy']:<18} every {row['commit_cycles']:>9,} cycles, warning {row['warn_mv']:>4} mV: "
                f"{row['spent_mj']:.3f} mJ, {row['overhead_percent']:+.2f} %, {row['right']} of {args.events} right, "
                f"{row['brownouts']} brown-outs"
            )
            print("   " + ", ".join(f"{key} {value:.3f}" for key, value in row["parts_mj"].items()))
    good = all(row["right"] == args.events and row["overhead_percent"] <= TARGET_PERCENT for row in rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
