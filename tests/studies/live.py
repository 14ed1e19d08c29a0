# SPDX-License-Identifier: Apache-2.0
"""The firmware's own loop on a virtual board against the host's simulation of it: same model, trace, store and policy.

Both know the costs measured on the virtual board. What differs: the board boots, checks its model after every outage,
sees its store through a converter of 12 bits and estimates its harvest; the host sees all exactly and boots for free.

    python tests/studies/live.py --shared ../shared [--board virtual_m4] [--capacitor 10e-3] [--period 2] [--json]

Exit code 1 when a ledger does not close, no brown-out happened in any run, or an account differs by more than the bound
printed.
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
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.trace import load_trace
from joulet.engine.answers import Answers
from joulet.engine.host import HostEngine
from joulet.live.measure import measured_costs
from joulet.live.run import Job, run_on_board
from joulet.plan.cost import cost_table
from joulet.policies.shadow import Shadow
from joulet.records import RunRecord
from joulet.session import SessionSettings
from joulet.session import run as run_session

TRACES = ("mementos_rf_01", "mementos_rf_03", "react_rf_cart")
# of all energy drawn: boots, a coarser view of the store, and answers that differ for it
BOUND_POINTS = 10.0


def parts(record: RunRecord) -> dict[str, float]:
    """Return where the energy went, in percent of what was drawn from the store or lost."""
    spent = record.ledger.spent_pj
    total = sum(spent.values()) or 1
    return {name: 100.0 * pj / total for name, pj in spent.items()}


def row(trace: str, board: RunRecord, host: RunRecord) -> dict[str, Any]:
    """Return one comparison."""
    on_board, on_host = parts(board), parts(host)
    return {
        "trace": trace,
        "board": _figures(board),
        "host": _figures(host),
        "points": {name: on_board[name] - on_host[name] for name in on_board},
        "drawn_ratio": sum(board.ledger.spent_pj.values()) / max(1, sum(host.ledger.spent_pj.values())),
        "closes": board.ledger.closes and host.ledger.closes,
    }


def _figures(record: RunRecord) -> dict[str, Any]:
    s = record.summary
    energy_mj = {name: pj * 1e-9 for name, pj in record.ledger.spent_pj.items() if pj}
    return {
        "score": s.score,
        "served": s.served,
        "exits": list(s.exits_taken),
        "brownouts": s.brownouts,
        "off_percent": 100.0 * s.off_fraction,
        "residual": record.ledger.residual_fraction,
        "energy_mj": energy_mj,
        "boots": record.settings.get("boots"),
    }


def main() -> int:
    """Run the study; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--board", default="virtual_m4")
    parser.add_argument("--capacitor", type=float, default=10e-3, help="[F]")
    parser.add_argument("--period", type=float, default=2.0, help="[s]")
    parser.add_argument("--duration", type=float, default=300.0, help="[s]")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--traces", default=",".join(TRACES))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    data = args.shared / "data"
    archive = np.load(data / "speech_commands" / "mfcc.npz")
    clips, labels = archive["mfcc_int8"][..., None], archive["y"].astype(np.int64)
    rng = np.random.default_rng(0)
    mixed = rng.permutation(len(clips))
    fit, judge = mixed[args.samples :], mixed[: args.samples]
    result = compile_model(
        data / "mlperf_tiny" / "models" / "kws_ref_model_int8.tflite",
        data={"input_0": clips[fit], "labels": labels[fit]},
        exits=2,
    )
    container, board = Container.from_bytes(result.container), load_board(args.board)
    inputs, truth = [clips[judge]], labels[judge].astype(np.int64)
    costs = cost_table(container, measured_costs(result.container, args.board, (inputs[0][0],)))
    job = Job(
        container=result.container,
        model="kws",
        model_hash=container.model_hash,
        inputs=inputs,
        labels=truth,
        costs=costs,
    )
    answers = Answers(HostEngine(result.container), inputs, truth, costs.prefixes)
    settings = SessionSettings(period_s=args.period, duration_s=args.duration)
    rows = []
    for name in args.traces.split(","):
        records = []
        for on_board in (True, False):
            energy = {
                "harvester": load_trace(data / "energy_traces" / f"{name}.csv.gz", loop=True),
                "converter": ConstantConverter(0.8),
                "storage": Capacitor(
                    args.capacitor, max_v=board.load.max_v, initial_v=board.load.on_v, leakage_ohm=1e6
                ),
            }
            if on_board:
                records.append(run_on_board(job, board, policy=Shadow(), settings=settings, **energy))
            else:
                records.append(run_session(answers, costs, board.load, policy=Shadow(), settings=settings, **energy))
        rows.append(row(name, *records))
        if not args.json:
            _print(rows[-1])
    worst = max(abs(points) for each in rows for points in each["points"].values())
    failed = []
    if not all(each["closes"] for each in rows):
        failed.append("a ledger does not close")
    if not any(each["board"]["brownouts"] for each in rows):
        failed.append("no brown-out")
    if worst > BOUND_POINTS:
        failed.append(f"an account differs by {worst:.1f} points, more than {BOUND_POINTS:g}")
    outcome = {"rows": rows, "worst_points": worst, "bound_points": BOUND_POINTS, "failed": failed}
    print(json.dumps(outcome, indent=2) if args.json else f"largest difference of an account {worst:.2f} points")
    for reason in failed:
        print(f"FAILED: {reason}", file=sys.stderr)
    return 1 if failed else 0


def _print(each: dict[str, Any]) -> None:
    print(f"{each['trace']}: drawn, board / host {each['drawn_ratio']:.3f}")
    for who in ("board", "host"):
        figures = each[who]
        energy = ", ".join(f"{name} {mj:.2f}" for name, mj in figures["energy_mj"].items())
        print(
            f"  {who:<6} score {figures['score']:.3f}, served {figures['served']}, exits {figures['exits']}, brown-outs "
            f"{figures['brownouts']}, off {figures['off_percent']:.1f} %, residual {figures['residual']:.1e}; mJ: {energy}"
        )


if __name__ == "__main__":
    sys.exit(main())
