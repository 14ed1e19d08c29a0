# SPDX-License-Identifier: Apache-2.0
"""``joulet demo``: the main job on real sensors under a recorded day of light."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from joulet import session
from joulet.boards import DEFAULT_BOARD, Board, load_board
from joulet.compile import compile_model
from joulet.container.read import Container
from joulet.demo import watch
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.trace import TraceHarvester
from joulet.engine.answers import Answers
from joulet.engine.host import HostEngine
from joulet.plan.cost import board_costs, cost_table
from joulet.policies import make_policy
from joulet.records import CostTable, RunRecord
from joulet.report import render, save, table_rows, write
from joulet.units import format_quantity

# Everything that the demo assumes. One set for all policies, written down in the report.
START_H, END_H = 6.0, 18.0
CELL_FACTOR = 0.02  # a wrist indoors: 2 % of the light outside, the daylight factor of a room with windows
CAPACITANCE_F = 10e-3
LEAKAGE_OHM = 1e6
EFFICIENCY = 0.8
QUIESCENT_W = 1.5e-6
PERIOD_S = 5.0
QUICK_PERIOD_S = 30.0
SEED = 1
BEST = "fixed best"
POLICIES = {
    "fixed full": "fixed:w8@last",
    "fixed smallest": "fixed:smallest",
    "threshold": "threshold",
    "linear": "linear",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What every policy meets: the model on the board, the day of light, the events."""

    container: Container
    engine: HostEngine
    board: Board
    time_s: np.ndarray[Any, np.dtype[np.float64]]
    power_w: np.ndarray[Any, np.dtype[np.float64]]
    period_s: float


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser = subparsers.add_parser(
        "demo",
        help="run the main job on recorded sensors under a recorded day of sun",
        description=(
            "Compiles a small smartwatch model (seven exercises, accelerometer and gyroscope) with early exits and "
            "4-bit and mixed precisions, then lets fixed and adaptive policies live on the same recorded day of light: "
            "a 1 cm² solar cell on a wrist indoors feeds a capacitor, a microcontroller recognises what people do who "
            "were in no training data. Prints a table and writes a report that opens in any browser. "
            "Needs the package seglearn, which carries the recordings: pip install 'joulet[demo]'."
        ),
        epilog="example: joulet demo --out my-demo && xdg-open my-demo/report.html",
    )
    parser.add_argument("--out", type=Path, default=Path("joulet-demo"), help="run folder (default: ./joulet-demo)")
    parser.add_argument("--quick", action="store_true", help=f"an event each {QUICK_PERIOD_S:g} s, not {PERIOD_S:g} s")
    parser.add_argument("--json", action="store_true", help="print one JSON object on standard output")


def run(args: argparse.Namespace) -> int:
    """Run the demo; 1 if a ledger does not close."""
    begun_s = time.perf_counter()
    test = watch.load_windows("test")
    args.out.mkdir(parents=True, exist_ok=True)
    note(f"compiling {resource('watch_int8.tflite').name} with exits, w8, w4 and mix")
    scene = make_scene(args.out / "watch.jlt", QUICK_PERIOD_S if args.quick else PERIOD_S)
    table = cost_table(scene.container, board_costs(scene.container, scene.board))
    answers = Answers(scene.engine, [test.x], test.y, table.prefixes)
    runs = {name: live(scene, answers, table, name, spec) for name, spec in POLICIES.items()}
    runs = with_best_fixed(runs, scene, answers, table)
    for name, record in runs.items():
        save(args.out / f"{name.replace(' ', '-')}.json.gz", record)
    text = render(
        runs,
        title="A watch that lives on light",
        lead=lead_of(runs),
        notes=conditions(scene, len(test.y), runs[BEST].policy.removeprefix("fixed:")),
        clock_start_s=START_H * 3600.0,
    )
    report = write(args.out / "report.html", text)
    show(args, runs, report, time.perf_counter() - begun_s)
    return 0 if all(record.ledger.closes for record in runs.values()) else 1


def make_scene(target: Path, period_s: float) -> Scene:
    """Compile the model to ``target`` and read the day of light."""
    x, labels = calibration_data()
    board = load_board(DEFAULT_BOARD)
    compiled = compile_model(
        resource("watch_int8.tflite").read_bytes(),
        data={"input_0": x, "labels": labels},
        exits="auto",
        precisions=("w8", "w4", "mix"),
        board=DEFAULT_BOARD,
    )
    target.write_bytes(compiled.container)
    day = np.loadtxt(gzip.decompress(resource("trace.csv.gz").read_bytes()).decode().splitlines()[1:], delimiter=",")
    lit = (day[:, 0] >= START_H * 3600.0) & (day[:, 0] < END_H * 3600.0)
    engine = HostEngine(compiled.container)
    return Scene(
        container=engine.container,
        engine=engine,
        board=board,
        time_s=day[lit, 0] - START_H * 3600.0,
        power_w=day[lit, 1] * CELL_FACTOR,
        period_s=period_s,
    )


def calibration_data() -> tuple[np.ndarray[Any, np.dtype[np.int8]], np.ndarray[Any, np.dtype[np.int64]]]:
    """Return windows and labels for heads, confidences and biases: people 1 to 8.

    Heads are weights, and two people are too few to fit them; the people whom the network has not seen in training
    come with twice as many windows, so that the confidences do not rest on familiar ones alone.
    """
    parts = (watch.load_windows("train", hop=128), watch.load_windows("calibration", hop=64))
    return np.concatenate([part.x for part in parts]), np.concatenate([part.y for part in parts])


def resource(name: str) -> Any:
    """Return a data file of the package."""
    return resources.files("joulet.demo") / name


def live(scene: Scene, answers: Answers, table: CostTable, name: str | None, spec: str) -> RunRecord:
    """Let one policy live through the day; ``name`` is told to who waits."""
    if name is not None:
        note(f"running {name}")
    load = scene.board.load
    record = session.run(
        answers,
        table,
        load,
        harvester=TraceHarvester(scene.time_s, scene.power_w, name="runtime/demo/trace.csv.gz"),
        converter=ConstantConverter(EFFICIENCY, quiescent_w=QUIESCENT_W),
        storage=Capacitor(CAPACITANCE_F, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=LEAKAGE_OHM),
        policy=make_policy(spec),
        settings=session.SessionSettings(period_s=scene.period_s, shuffle_seed=SEED),
        model="watch_int8.tflite",
        model_hash=scene.engine.model_hash,
        provenance=scene.board.provenance,
    )
    return replace(record, settings={**record.settings, "policy": spec})


def with_best_fixed(
    runs: Mapping[str, RunRecord], scene: Scene, answers: Answers, table: CostTable
) -> dict[str, RunRecord]:
    """Return the runs with the best fixed point among them, found by trying every one on this very day."""
    note("trying every fixed point for the best in hindsight")
    constant = [name for name in table.path_names if ">" not in name]
    tried = [
        live(scene, answers, table, None, f"fixed:{path}@{exit}") for path in constant for exit in table.exit_names
    ]
    best = max(tried, key=lambda record: record.summary.score or 0.0)
    found = dict(runs)
    adaptive = {name: found.pop(name) for name in runs if not name.startswith("fixed")}
    return {**found, BEST: best, **adaptive}


def lead_of(runs: Mapping[str, RunRecord]) -> str:
    """Return one sentence on what the day gave."""
    scores = {name: run.summary.score or 0.0 for name, run in runs.items()}
    adaptive = max((name for name in scores if not name.startswith("fixed")), key=lambda name: scores[name])
    first = next(iter(runs.values()))
    return (
        f"A wrist sensor recognises one of seven exercises every {first.settings['period_s']:g} s for twelve hours, on "
        f"nothing but the light of one cloudy day. The whole network at 8 bits each time answers "
        f"{100 * scores['fixed full']:.1f} % of the events rightly and on time, the best fixed choice in hindsight "
        f"{100 * scores[BEST]:.1f} %; the best adaptive policy here, {adaptive}, {100 * scores[adaptive]:.1f} %."
    )


def conditions(scene: Scene, samples: int, best: str) -> dict[str, str]:
    """Return every assumption, for the reader of the report."""
    load = scene.board.load
    usable_j = 0.5 * CAPACITANCE_F * (load.max_v**2 - load.off_v**2)
    return {
        "input": (
            f"{samples} windows of 2.56 s from people 9 and 10 (in neither training nor calibration), in a shuffled "
            f"order (seed {SEED}), begun again when used up; recordings of the package seglearn (BSD)"
        ),
        "events": f"one every {scene.period_s:g} s from {START_H:g}:00 to {END_H:g}:00, the deadline is the next event",
        "light": "global irradiance at an NREL site, 14 October 2018, one value a minute (measured; see TRACE.md)",
        "cell": (
            f"1 cm² of 15 % efficiency with {100 * CELL_FACTOR:g} % of the light outside, as on a wrist in a room with "
            "windows (assumed)"
        ),
        "converter": f"{100 * EFFICIENCY:g} % efficient, {format_quantity(QUIESCENT_W, 'W')} quiescent (assumed)",
        "store": (
            f"capacitor of {format_quantity(CAPACITANCE_F, 'F')}, leakage {format_quantity(LEAKAGE_OHM, 'Ω')}; "
            f"{format_quantity(usable_j, 'J')} usable from {load.max_v} V to {load.off_v} V; it starts at "
            f"{load.on_v} V (assumed)"
        ),
        BEST: (
            f"{best}, the fixed point that scores best when every one of them is tried on this very day: nobody knows "
            "it beforehand, so it is what a fixed choice could reach at most"
        ),
        "heads and confidences": (
            "fitted on people 1 to 8; the network itself on people 1 to 6. Confidences rest mostly on people whom the "
            "network knows, so they are somewhat too high for strangers"
        ),
        "not counted": (
            "the motion sensor's own supply: a six-axis sensor that runs all the time needs more than the inferences. "
            "Here it belongs to the watch."
        ),
    }


def show(args: argparse.Namespace, runs: Mapping[str, RunRecord], report: Path, took_s: float) -> None:
    """Print the result."""
    if args.json:
        rows = {name: summary_of(record) for name, record in runs.items()}
        print(json.dumps({"report": str(report), "seconds": round(took_s, 2), "policies": rows}))
        return
    print(terminal_table(runs))
    print()
    print(energy_table(runs))
    print(f"\nreport: {report.resolve()} ({took_s:.0f} s)")


def summary_of(record: RunRecord) -> dict[str, object]:
    """Return the figures of a run for JSON."""
    s = record.summary
    return {
        "policy": record.policy,
        "arrived": s.arrived,
        "answered": s.served,
        "correct_on_time": s.correct_on_time,
        "score": s.score,
        "mean_bits": s.mean_bits,
        "mean_exit": s.mean_exit,
        "brownouts": s.brownouts,
        "off_fraction": s.off_fraction,
        "latency_p50_s": s.latency_p50_s,
        "latency_p99_s": s.latency_p99_s,
        "mean_energy_j": s.mean_energy_j,
        "energy_j": record.energy_stack_j(),
        "ledger_closes": record.ledger.closes,
        "residual_fraction": record.ledger.residual_fraction,
    }


def aligned(rows: list[list[str]]) -> str:
    """Return rows of text as columns: the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def terminal_table(runs: Mapping[str, RunRecord]) -> str:
    """Return the table of policies."""
    heads, rows = table_rows(runs)
    return aligned([list(heads), *rows])


def energy_table(runs: Mapping[str, RunRecord]) -> str:
    """Return where the energy went, a column a policy."""
    stacks = {name: record.energy_stack_j() for name, record in runs.items()}
    keys = [key for key in next(iter(stacks.values())) if any(stack[key] for stack in stacks.values())]
    rows = [[key, *(format_quantity(stack[key], "J") for stack in stacks.values())] for key in keys]
    return aligned([["energy", *stacks], *rows])


def note(line: str) -> None:
    """Tell what is going on, beside the result."""
    print(line, file=sys.stderr)
