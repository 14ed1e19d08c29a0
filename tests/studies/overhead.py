# SPDX-License-Identifier: Apache-2.0
"""What Python adds to the C engine, and what one decision of the session loop costs on this host.

* prepared: a bound call on caller's buffers, minus the C time a sample (slope of batch time over batch size);
* batch: the fixed cost of ``infer`` spread over 256 samples;
* decision: a session run with all answers known beforehand, divided by its decisions.

Targets: 3 µs, 0.2 µs and 20 µs. Medians over repeats; prints a table, or one object with --json.

    python tests/studies/overhead.py [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from joulet import session
from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.engine.host import HostEngine
from joulet.plan.cost import board_costs, cost_table
from joulet.policies import make_policy

MODEL = Path(__file__).resolve().parents[1] / "models" / "dense_int8.tflite"
TARGETS_US = {"prepared": 3.0, "batch_per_sample": 0.2, "decision": 20.0}
BATCH = 256


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Return the median time of one call [s]."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        times.append(time.perf_counter() - begin)
    return float(np.median(times))


def call_overheads_us(container: bytes) -> dict[str, float]:
    """Return what a prepared call and a batch call add over C [µs]."""
    engine = HostEngine(container)
    rng = np.random.default_rng(0)

    def batch(n: int) -> list[np.ndarray]:
        return [rng.integers(-128, 128, (n, *info.shape[1:])).astype(info.dtype) for info in engine.inputs]

    def outputs(n: int) -> list[np.ndarray]:
        return [np.empty((n, *info.shape[1:]), info.dtype) for info in engine.outputs]

    small, large = batch(BATCH), batch(17 * BATCH)
    t_small = median_s(lambda: engine.infer(small), 201)
    t_large = median_s(lambda: engine.infer(large), 101)
    c_s = (t_large - t_small) / (16 * BATCH)
    one = engine.bind(batch(1), outputs(1))
    many = 1000

    def loop() -> None:
        for _ in range(many):
            one()

    prepared_s = median_s(loop, 51) / many
    return {
        "c_per_sample": c_s * 1e6,
        "prepared": (prepared_s - c_s) * 1e6,
        "batch_per_sample": (t_small / BATCH - c_s) * 1e6,
    }


def decision_us() -> float:
    """Return the host time of one decision of the session loop, engine excluded [µs]."""
    data = np.random.default_rng(0).integers(
        -128, 128, (64, *HostEngine(compile_model(MODEL).container).inputs[0].shape[1:])
    )
    compiled = compile_model(MODEL, data={"input_0": data.astype(np.int8)}, exits="auto", board="nucleo_l4r5zi")
    container = Container.from_bytes(compiled.container)
    board = load_board("nucleo_l4r5zi")
    table = cost_table(container, board_costs(container, board))
    answers = Answers(HostEngine(compiled.container), [data.astype(np.int8)], None, table.prefixes)

    def once() -> int:
        record = session.run(
            answers,
            table,
            board.load,
            harvester=TraceHarvester(np.array([0.0, 10000.0]), np.array([20e-3, 20e-3])),
            converter=ConstantConverter(0.8),
            storage=Capacitor(10e-3, max_v=board.load.on_v + 1.0),
            policy=make_policy("linear"),
            settings=session.SessionSettings(period_s=1.0),
        )
        return record.summary.decisions

    decisions = once()
    return median_s(once, 5) / decisions * 1e6


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    figures = call_overheads_us(compile_model(MODEL, exits="off").container)
    figures["decision"] = decision_us()
    if args.json:
        print(json.dumps({"us": figures, "targets_us": TARGETS_US}))
    else:
        for name, value in figures.items():
            target = f"target {TARGETS_US[name]:g} µs" if name in TARGETS_US else ""
            print(f"{name:18} {value:8.3f} µs  {target}")
    return int(any(figures[name] > limit for name, limit in TARGETS_US.items()))


if __name__ == "__main__":
    sys.exit(main())
