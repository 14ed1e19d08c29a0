# SPDX-License-Identifier: Apache-2.0
"""``joulet run --meter``: this machine, in real time, under a cap on measured power or a budget of joules."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from joulet import __version__
from joulet.boards import DEFAULT_BOARD, load_board
from joulet.edge import EdgeRecord, EdgeSettings, Point, points_of_ladder, points_of_table, run
from joulet.edge.account import parse_cap
from joulet.edge.metered import Metered
from joulet.edge.points import with_levels
from joulet.engine.host import HostEngine
from joulet.engine.samples import load_inputs, load_labels
from joulet.engine.seam import Array, Engine
from joulet.errors import UsageError
from joulet.knobs import KINDS, held, open_knob, restore
from joulet.meters.machine import Machine
from joulet.plan.cost import board_costs, cost_table
from joulet.records import CostTable
from joulet.tools.engines import open_engine
from joulet.units import format_quantity, format_time, parse_quantity

_DURATION = "1min"

EPILOG = """\
With --meter the run is this machine's own, in real time (--engine host or litert): events arrive by the clock, each is answered
at the operating point that the power leaves - bits and exit of a container, file and threads of a ladder, level of a knob - and
the meter says what that took. A calibrated container is asked again at each exit: it goes on where it is in doubt and there is
power for it (--fixed-exits: each event goes to the exit that was chosen before it). What an inference costs at each point is
learnt from the meter; the plan's costs are only where that begins. --power-cap holds the mean over each --window, --budget-j makes
energy last until --horizon. Where nothing fits, events are left unanswered. --dvfs also turns a knob of the machine; it is put
back at the end, and after a crash by the next run or by joulet doctor --restore.

  joulet run kws.jlt --input clips.npz --meter jetson --power-cap 6W --period 100ms --duration 10min
  joulet run a.tflite --engine litert:b.tflite --input x.npz --meter rapl --power-cap 15W,5min:9W --threads 1,2,4
  joulet run kws.jlt --input clips.npz --meter pi5 --budget-j 20kJ --horizon 2h --dvfs

A meter that is lost ends the run, and what was done until then is kept; with --allow-estimate it goes on by what was learnt.

Exit code 1: the cap or the budget was not kept within 1 %, or the meter was lost."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a metered run."""
    group = parser.add_argument_group("with a meter, in real time")
    group.add_argument("--meter", metavar="SOURCE", help="what measures this machine, as for joulet power")
    group.add_argument("--power-cap", metavar="P[,T:P…]", help="most mean power; another from a time on")
    group.add_argument("--window", default="10s", metavar="T", help="over which the mean is taken (10s)")
    group.add_argument("--budget-j", metavar="E", help="energy that is there, in joules or with a unit")
    group.add_argument("--horizon", metavar="T", help="until when it must last")
    group.add_argument("--idle", default="1s", metavar="T", help="idle power is measured so long before (1s)")
    group.add_argument(
        "--rate", type=float, metavar="N", help="readings of the meter a second (50; pi5, a program: 10)"
    )
    group.add_argument("--threads", default="1", metavar="N[,N…]", help="litert: threads, each number a point (1)")
    group.add_argument("--accuracy", metavar="A,A…", help="litert: of each file, 0..1 (later files are better)")
    group.add_argument(
        "--dvfs",
        nargs="?",
        const="auto",
        choices=KINDS,
        metavar="KNOB",
        help=f"also turn a knob: {', '.join(KINDS)} (none)",
    )
    group.add_argument(
        "--fixed-exits", action="store_true", help="decide on the exit before each event, not again at each exit"
    )
    group.add_argument(
        "--allow-estimate", action="store_true", help="go on with what was learnt when the meter is lost"
    )


def run_metered(args: argparse.Namespace, machine: Machine | None = None) -> int:
    """Run; return the exit code."""
    from joulet.tools.run import check_folder

    around = machine or Machine()
    for name in ("trace", "policy", "survive", "cap", "capacitor", "battery"):
        if getattr(args, name) is not None:
            raise UsageError(
                f"--{name} belongs to a run without --meter, where energy is a model; leave one of them out"
            )
    if args.engine.partition(":")[0] not in ("host", "litert"):
        raise UsageError(
            f"--engine {args.engine}: a meter in real time goes with host and litert, which run on this machine"
        )
    check_folder(args.out)
    if args.rate is None:
        args.rate = 10.0 if args.meter.startswith("pi5") else 50.0
    settings_of(args, "")
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(args.model, args.engine, threads=threads_of(args.threads)))
        inputs = load_inputs(args.input, engine.inputs)
        labels = load_labels(args.input, len(inputs[0]))
        table = table_of(args, engine)
        points, values = points_of(args, engine, inputs, table)
        knob = None
        if args.dvfs is not None:
            for line in restore(around):  # before the knob is read: what a crash left is not how things are
                print(f"joulet: {line}", file=sys.stderr)
            knob = open_knob(args.dvfs, around)
            stack.enter_context(held(knob, around))
            points = with_levels(points, knob.levels, knob.speeds)
        metered = Metered(args.meter, around, rate_hz=args.rate, allow_estimate=args.allow_estimate)
        stack.callback(metered.close)
        record = run(
            engine, inputs, labels, points, metered, around, settings_of(args, values), knob=knob,
            table=None if args.fixed_exits else table, progress=_progress(),
        )  # fmt: skip
        notes = knob.notes if knob is not None else ()
    record = replace(
        record, model=args.model.name, engine=args.engine, notes=(*record.notes, *notes),
        settings=_told(settings_of(args, values), args),
    )  # fmt: skip
    write_folder(args.out, record, args, notes)
    if args.json:
        print(
            json.dumps(
                {"out": str(args.out), "model": args.model.name, "engine": args.engine, **record.to_dict()}, indent=2
            )
        )
    else:
        print(text_of(record, args))
    if record.ended is not None:
        print(f"joulet: error: {record.ended}. What was done until then is in {args.out}", file=sys.stderr)
    return 0 if record.kept and record.ended is None else 1


def settings_of(args: argparse.Namespace, values: str) -> EdgeSettings:
    """Return what the options ask for, checked."""
    if args.power_cap is None and args.budget_j is None:
        raise UsageError("--meter: say what to keep to: --power-cap 6W, or --budget-j 500J with --horizon 10min")
    if not 0.5 <= args.rate <= 1000.0:
        raise UsageError(f"--rate is {args.rate:g}; it is from 0.5 to 1000 readings a second")

    def time_s(name: str) -> float | None:
        text = getattr(args, name)
        return None if text is None else parse_quantity(text, "s", what=f"--{name}")

    period_s, horizon_s = time_s("period") or 1.0, time_s("horizon")
    budget_j = None if args.budget_j is None else parse_quantity(args.budget_j, "J", what="--budget-j")
    duration_s = time_s("duration") or horizon_s or parse_quantity(_DURATION, "s")
    if horizon_s is not None and duration_s > horizon_s:
        raise UsageError(f"--duration {args.duration} is past --horizon {args.horizon}: the budget must last that long")
    return EdgeSettings(
        period_s=period_s, duration_s=duration_s, deadline_s=time_s("deadline"),
        cap=None if args.power_cap is None else parse_cap(args.power_cap), window_s=time_s("window") or 10.0,
        budget_j=budget_j, horizon_s=horizon_s, values=values,
        idle_s=parse_quantity(args.idle, "s", what="--idle", allow_zero=True), block_s=max(0.5, 5.0 / args.rate),
    )  # fmt: skip


def _told(settings: EdgeSettings, args: argparse.Namespace) -> dict[str, float | int | str | None]:
    """Return what a report says of the options: numbers in base units."""
    return {
        "period_s": settings.period_s, "deadline_s": settings.deadline_s or settings.period_s,
        "block_s": settings.block_s, "idle_s": settings.idle_s, "readings_per_s": args.rate, "threads": args.threads,
        "budget_j": settings.budget_j, "horizon_s": settings.horizon_s,
    }  # fmt: skip


def threads_of(text: str) -> tuple[int, ...]:
    """Return the numbers of threads, each once."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= 64 for word in words):
        raise UsageError(f"--threads {text}: give numbers from 1 to 64, such as 1,2,4")
    return tuple(dict.fromkeys(int(word) for word in words))


def table_of(args: argparse.Namespace, engine: Engine) -> CostTable | None:
    """Return the costs of a container on a board, of which only ratios count; None for what has none."""
    if not isinstance(engine, HostEngine):
        return None
    return cost_table(engine.container, board_costs(engine.container, load_board(args.board or DEFAULT_BOARD)))


def points_of(
    args: argparse.Namespace, engine: Engine, inputs: Sequence[Array], table: CostTable | None
) -> tuple[tuple[Point, ...], str]:
    """Return the operating points of an engine and what their value is."""
    from joulet.tools.bench import is_float

    if table is not None:
        if args.accuracy is not None or args.threads != "1":
            raise UsageError(
                "--accuracy and --threads belong to --engine litert; a container says what its exits are worth"
            )
        return points_of_table(table, leave_out=[name for name in engine.path_names if is_float(engine, name)])
    names = engine.path_names
    n_threads = len(threads_of(args.threads))
    n_files = len(names) // n_threads
    if args.accuracy is None:
        worth, values = [(1.0 + k) / n_files for k in range(n_files)], "order of the files: later ones are better"
    else:
        worth, values = _accuracies(args.accuracy, n_files), "accuracy as given"
    seconds = [_timed(engine, inputs, name) for name in names]
    return points_of_ladder(names, seconds, [worth[k // n_threads] for k in range(len(names))]), values


def _accuracies(text: str, n_files: int) -> list[float]:
    try:
        found = [float(word) for word in text.split(",")]
    except ValueError:
        found = []
    if len(found) != n_files or not all(0.0 < each <= 1.0 for each in found):
        raise UsageError(f"--accuracy {text}: give one number above 0 and up to 1 for each of the {n_files} files")
    return found


def _timed(engine: Engine, inputs: Sequence[Array], path: str) -> float:
    """Return the time of the second inference; the first one allocates [s]."""
    import time

    one = [x[:1] for x in inputs]
    engine.infer(one, path=path)
    began_s = time.perf_counter()
    engine.infer(one, path=path)
    return time.perf_counter() - began_s


def write_folder(folder: Path, record: EdgeRecord, args: argparse.Namespace, notes: Sequence[str]) -> None:
    """Write the run folder beside its place, then put it there whole."""
    from joulet.tools.run import FORMAT, put_folder, sha256_of

    options = {
        k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in ("command", "out", "json")
    }
    about: dict[str, Any] = {
        "format": FORMAT, "kind": "metered", "joulet": __version__, "python": platform.python_version(),
        "numpy": np.__version__, "machine": platform.machine(), "options": options, "settings": dict(record.settings),
        "model": {"file": args.model.name, "model_hash": record.model_hash, "sha256": sha256_of(args.model)},
        "input": {"file": args.input.name, "sha256": sha256_of(args.input)}, "meter": record.meter,
        "provenance": list(record.provenance), "knob_notes": list(notes),
    }  # fmt: skip
    files = {
        "events.jsonl": "".join(f"{json.dumps(asdict(event))}\n" for event in record.events),
        "ledger.json": json.dumps({**asdict(record.ledger), "closes": record.ledger.closes}, indent=2) + "\n",
        "summary.json": json.dumps(record.to_dict(), indent=2) + "\n",
    }
    put_folder(folder, record, files, about)


def text_of(record: EdgeRecord, args: argparse.Namespace) -> str:
    """Return a run for people."""
    lines = [f"{args.model.name} on {args.engine}, {record.meter}, {format_time(record.duration_s)}"]
    if record.cap is not None:
        cap = record.cap
        steps = ", ".join((f"from {format_time(t)} " if t else "") + format_quantity(p, "W") for t, p in cap.steps)
        lines.append(f"  cap        {steps} over {format_time(cap.window_s)}: {'kept' if cap.kept else 'NOT KEPT'}")
        worst = (
            "no whole window" if cap.worst_mean_w is None else f"worst window {format_quantity(cap.worst_mean_w, 'W')}"
        )
        lines.append(
            f"  mean       {format_quantity(cap.mean_w, 'W')}; {worst}; {cap.windows_over} of {cap.windows} windows over, "
            f"by {format_quantity(cap.over_j, 'J')} in all"
        )
    if record.budget_j is not None and record.horizon_s is not None:
        lines.append(
            f"  budget     {format_quantity(record.energy_j, 'J')} of {format_quantity(record.budget_j, 'J')} for "
            f"{format_time(record.horizon_s)}"
        )
    right = (
        ""
        if record.correct is None
        else f", {record.correct} right ({record.correct / max(record.arrived, 1):.1%} of all)"
    )
    lines.append(
        f"  events     {record.arrived}: {record.on_time} on time, {record.answered - record.on_time} late, "
        f"{record.skipped} left unanswered, {record.missed} missed{right}"
    )
    lines.append(f"  idle       {format_quantity(record.idle_w, 'W')}")
    for point in record.points:
        if point.chosen:
            spread = format_quantity(point.sd_j, "J", digits=2)
            lines.append(
                f"  {point.name:<24} {point.chosen:>6} times, {format_quantity(point.energy_j, 'J')} ±{spread} each"
            )
    lines.append(f"  energy     {format_quantity(record.measured_j, 'J')}: {'; '.join(record.provenance)}")
    if record.estimated_s > 0.0:
        lines.append(
            f"             {format_quantity(record.estimated_j, 'J')} estimated, for {format_time(record.estimated_s)} "
            "without readings"
        )
    ledger = record.ledger
    lines.append(
        f"  ledger     {'closes' if ledger.closes else 'DOES NOT CLOSE'}: idle {format_quantity(ledger.idle_j, 'J')}, inferences "
        f"{format_quantity(sum(ledger.points_j.values()), 'J')}, not explained {ledger.residual_fraction:.2%}"
    )
    lines.append(f"  value      {record.values}; decided {record.decided}")
    lines += [f"  note       {note}" for note in record.notes]
    return "\n".join([*lines, f"  report     {args.out / 'report.html'}"])


def _progress() -> Callable[[float], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda done: print(f"\r  {100 * done:3.0f} %", end="\n" if done >= 1.0 else "", file=sys.stderr, flush=True)


__all__ = ["EPILOG", "add_options", "run_metered"]
