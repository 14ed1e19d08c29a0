# SPDX-License-Identifier: Apache-2.0
"""``joulet profile``: measured energy and latency of an inference, along every path to every exit, and of each step."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from joulet.engine.seam import Array, Engine
from joulet.errors import DataError, MeterError, UsageError
from joulet.link import wire
from joulet.meters.machine import Machine
from joulet.meters.open import open_meter
from joulet.profile.board import (
    Case,
    Taken,
    idle_power_w,
    rows_of,
    take,
    windows_by_clock,
    windows_by_markers,
)
from joulet.profile.figures import Interval, Profile, Sync
from joulet.tools.bench import is_float, samples_for
from joulet.tools.engines import open_engine
from joulet.tools.profile_bench import open_bench, provenance_of, steps_of, virtual_bench
from joulet.units import format_quantity, parse_quantity

if TYPE_CHECKING:
    pass

Windows = npt.NDArray[np.float64]

EPILOG = """\
With --engine virtual:BOARD a simulated PPK2 hangs at the virtual board's supply and at its marker pins: what comes out is
what a real one would see of a board that draws what board.toml says. With --engine serial:PORT and --meter ppk2:… it is
measured. On this machine (--engine host, litert) any source of joulet power will do; many inferences run between readings.

  joulet profile kws.jlt --engine virtual:virtual_m4
  joulet profile kws.jlt --engine serial:/dev/ttyACM0 --meter ppk2:/dev/ttyACM1,voltage=3.3V --out kws.json
  joulet profile kws.jlt --engine host --meter rapl --window 2s
  joulet compare before.json after.json

--sync says how power and inferences are put together: markers (the firmware shows its phase on three pins, wired to D0, D1 and
D2 of the meter, and which exit was reached by pulses of a fourth, D3; where only one is wired, or D3 tells nothing, exits are
the board's word, and the result says which), clock (its time stamps, and the host's clock), or auto, which takes markers where
they are seen. A window
ends with the last op of an inference; sending the input and fetching the answer lie outside. Intervals are 95 % of the mean
(Student's t), what the sync may be off, and 100 ppm for clocks; what the meter's gain may be off is not in them. Energies
include idle power.

--steps goes through all exits op by op. A virtual board tells exactly what each op draws; with --meter, the simulated one too,
the firmware ends each op by a pulse of its fourth marker pin (wired to D3), with a pause that lies outside. An end falls on a
sample of the meter, which the intervals hold: at 10 us a sample, short ops want many --repeats.

--write-board and --write-container leave energies and their intervals where joulet inspect --costs, run, simulate and sweep find
them: in a file for --board, with the energy of a cycle at the mean measured power, or in the container. What was measured and
what was simulated do not go into one table; --replace takes out what is there.

  joulet profile kws.jlt --engine serial:/dev/ttyACM0 --meter ppk2:/dev/ttyACM1,voltage=3.3V --write-board my_board.toml
  joulet run kws.jlt --board my_board.toml --input clips.npz --trace sun.csv --policy shadow
"""
_WITHOUT = "to the end of the last op; without sending the input and fetching the answer"
_INSIDE = {
    "markers": f"from the beginning of the first op {_WITHOUT}",
    "clock fit": f"from START, by the board's timer, {_WITHOUT}",
}
_INSIDE_HOST = "calls of the engine one after the other: all that this machine draws meanwhile on the rails that count"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "profile",
        help="measured energy and latency of an inference, per path and exit",
        description="Measure what an inference costs, along every path to every exit, with a meter.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container from joulet compile")
    parser.add_argument(
        "--engine", default="host", metavar="E", help="where it runs: host, litert, virtual:BOARD, serial:PORT"
    )
    parser.add_argument(
        "--meter", metavar="SOURCE", help="as for joulet power (virtual: a simulated PPK2; host: the best there is)"
    )
    parser.add_argument("--input", type=Path, metavar="IN.npz", help="samples (random ones without)")
    parser.add_argument("--precision", metavar="NAME", help="only this path (all integer ones)")
    parser.add_argument("--depth", metavar="K", help="only this exit, by number or name (all)")
    parser.add_argument(
        "--repeats", type=int, metavar="N", help="inferences a case, windows of them on this machine (10; here 3)"
    )
    parser.add_argument("--steps", action="store_true", help="also each op at each precision; see below")
    parser.add_argument("--sync", default="auto", choices=("auto", "markers", "clock"), help="see below (auto)")
    parser.add_argument(
        "--marker-lines",
        metavar="D0-D3",
        help="of the meter, to which the board's marker pins go: four, three, or the first alone (D0-D3)",
    )
    _add_host_options(parser)
    parser.add_argument("--allow-estimate", action="store_true", help="also take what is not measured, marked as such")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the profile there, for joulet compare")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the rows there")
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="write what was recorded: .ppk2 for Nordic's Power Profiler, .json for Perfetto",
    )
    _add_write_options(parser)
    parser.add_argument("--json", action="store_true", help="print the profile as one JSON object")


def _add_write_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--write-board", type=Path, metavar="FILE.toml", help="write measured costs into a board's file"
    )
    parser.add_argument(
        "--write-container", type=Path, metavar="OUT.jlt", help="write the model with measured costs there"
    )
    parser.add_argument("--replace", action="store_true", help="drop what these hold of the board and model before")


def _add_host_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--window", default="1s", metavar="T", help="host: length of a window (1s)")
    parser.add_argument("--idle", default="1s", metavar="T", help="host: idle power is measured so long before (1s)")
    parser.add_argument(
        "--rate", type=float, default=50.0, metavar="N", help="host: readings of the meter a second (50)"
    )


def run(args: argparse.Namespace) -> int:
    """Profile; return the exit code."""
    if args.repeats is not None and args.repeats < 2:
        raise UsageError(f"--repeats is {args.repeats}; an interval needs 2 or more")
    marker_lines(args.marker_lines, args.meter)
    if not args.model.is_file():
        raise UsageError(f"cannot read '{args.model}': no such file; make one with joulet compile")
    kind = args.engine.partition(":")[0]
    if kind == "qemu":
        raise UsageError("--engine qemu: QEMU tells neither power nor cycles; virtual:BOARD does")
    on_board = kind in ("virtual", "serial")
    if not on_board and (args.write_board or args.write_container):
        raise UsageError(
            "--write-board, --write-container: costs are those of a board (--engine virtual:BOARD, serial:PORT)"
        )
    profile = _on_board(args) if on_board else _on_host(args)
    if args.out is not None:
        profile.save(args.out)
    if args.csv is not None:
        from joulet.profile.export import rows_csv

        args.csv.write_text(rows_csv(profile), encoding="utf-8")
    print(json.dumps(profile.to_dict()) if args.json else text_of(profile))
    _write_back(args, profile)
    return 0


def cases_of(engine: Engine, precision: str | None, depth: str | None) -> list[Case]:
    """Return the paths and exits asked for."""
    from joulet.tools.infer import pick_depth, pick_path

    if precision is not None:
        paths = [pick_path(engine, precision)]
    else:
        paths = [name for name in engine.path_names if not is_float(engine, name)] or list(engine.path_names)
    if depth is None:
        exits = list(range(len(engine.exit_names)))
    else:
        chosen = pick_depth(engine, depth)
        if chosen == "auto":
            raise UsageError(
                "--depth auto: a profile tells each exit by itself; give a number or name, or leave it out"
            )
        exits = [len(engine.exit_names) - 1 if chosen == "last" else int(chosen)]
    return [Case(path=path, exit=exit) for path in paths for exit in exits]


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r  {done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)


# a board


def _on_board(args: argparse.Namespace) -> Profile:
    if args.trace is not None and args.trace.suffix.lower() not in (".ppk2", ".json"):
        raise UsageError(f"--trace {args.trace}: end it in .ppk2 (Nordic's Power Profiler) or .json (Perfetto)")
    with ExitStack() as stack:
        bench = stack.enter_context(open_bench(args))
        engine, board, counter, meter, recorder = bench.engine, bench.board, bench.counter, bench.meter, bench.recorder
        cases = cases_of(engine, args.precision, args.depth)
        sample = samples_for(args.input, engine.inputs, 1)
        engine.marks = 0 if args.sync == "clock" else wire.CODES["Mark"]["EXIT"]
        taken = take(engine, board, counter, recorder, sample, cases, args.repeats or 10, _progress)
        windows, sync, doubt_j = _synced(args, taken)
        rows = rows_of(taken, windows, sync, engine.exit_names, doubt_j)
        if args.trace is not None:
            from joulet.profile.export import write_trace

            write_trace(args.trace, taken, windows, engine.exit_names, Machine().wall())
        steps = None
        if args.steps:
            lines = marker_lines(args.marker_lines, args.meter)
            steps = steps_of(args, bench, sample, lines, provenance_of(args, board), _progress)
        name, count = board.hello.board, len(taken.trace.power_w)
        notes = [*meter.notes]
        if taken.trace.lost or taken.trace.uncertain:
            where = (
                f"{taken.trace.uncertain} of them by more than the counter tells"
                if taken.trace.uncertain
                else "counted"
            )
            notes.append(f"{taken.trace.lost} samples were lost ({where}); inferences with losses are left out")
        return Profile(
            model=args.model.name, model_hash=engine.model_hash, engine=args.engine, meter=meter.source,
            provenance=provenance_of(args, board), sync=sync, inside=_INSIDE[sync.method], idle_w=idle_power_w(taken, windows),
            coverage=1.0 - taken.trace.lost / count, rows=tuple(rows), notes=tuple(notes), steps=steps, board=name,
        )  # fmt: skip


def _write_back(args: argparse.Namespace, profile: Profile) -> None:
    if args.write_board is None and args.write_container is None:
        return
    from joulet.tools.profile_write import measured_of, write_board, write_container

    costs = measured_of(profile, Machine().wall())
    if args.write_board is not None:
        write_board(args.write_board, costs, replace=args.replace)
    if args.write_container is not None:
        write_container(args.write_container, args.model.read_bytes(), costs, replace=args.replace)


def _synced(args: argparse.Namespace, taken: Taken) -> tuple[Windows, Sync, Windows | None]:
    if args.sync == "clock":
        return windows_by_clock(taken)
    try:
        return *windows_by_markers(taken, *marker_lines(args.marker_lines, args.meter)), None
    except DataError as error:
        if args.sync == "markers":
            raise
        windows, sync, doubt_j = windows_by_clock(taken)
        return windows, replace(sync, detail=f"{sync.detail}; no markers: {error}"), doubt_j


def marker_lines(text: str | None, meter: str | None) -> tuple[int, int]:
    """Return (first line, how many) of ``D0-D3``, ``D0-D2`` or ``D7``; a LPM01A has only D7.

    Raises
    ------
    UsageError
        If it is neither one line nor three or four that are neighbours.
    """
    if text is None:
        return (7, 1) if (meter or "").startswith("lpm01a") else (0, 4)
    match = re.fullmatch(r"[Dd]([0-7])(?:-[Dd]([0-7]))?", text)
    if match is None or (match[2] is not None and int(match[2]) - int(match[1]) not in (2, 3)):
        raise UsageError(
            f"--marker-lines {text}: give three or four neighbours such as D0-D3, or the one that the first pin goes to, D7"
        )
    return int(match[1]), 1 if match[2] is None else 1 + int(match[2]) - int(match[1])


# this machine


def _on_host(args: argparse.Namespace) -> Profile:
    from joulet.profile.counted import Integrator, measure
    from joulet.tools.power import best_source

    if args.trace is not None:
        raise UsageError(
            "--trace: on this machine nothing is sampled fast enough to be worth a trace; joulet power --csv"
        )
    if args.steps:
        raise UsageError(
            "--steps: a meter of this machine cannot tell ops apart; a board can (--engine virtual:, serial:)"
        )
    if args.sync == "markers":
        raise UsageError("--sync markers: this machine has no marker pins; leave --sync out")
    window_s = parse_quantity(args.window, "s", what="--window")
    idle_s = parse_quantity(args.idle, "s", what="--idle", allow_zero=True)
    machine = Machine()
    with ExitStack() as stack:
        engine = stack.enter_context(open_engine(args.model, args.engine))
        meter = open_meter(args.meter or best_source(machine), machine, allow_estimate=args.allow_estimate)
        stack.callback(meter.close)
        cases, inputs = cases_of(engine, args.precision, args.depth), samples_for(args.input, engine.inputs, 1)
        integrator = Integrator(meter, machine, args.rate)
        stack.callback(integrator.close)
        windows = args.repeats or 3
        rows, idle_w, sync = measure(
            engine,
            inputs,
            cases,
            integrator,
            machine,
            window_s=window_s,
            windows=windows,
            idle_s=idle_s,
            progress=_progress,
        )
        words = integrator.quality.words()
        if not integrator.provenance:
            raise MeterError(f"meter '{meter.source}' gave no readings")
        return Profile(
            model=args.model.name, model_hash=engine.model_hash, engine=args.engine, meter=meter.source,
            provenance="; ".join(integrator.provenance), sync=sync, inside=_INSIDE_HOST, idle_w=idle_w, coverage=1.0,
            rows=tuple(rows), notes=(*meter.notes, *([f"readings are {', '.join(words)}"] if words else [])),
        )  # fmt: skip


# telling


def text_of(profile: Profile) -> str:
    """Return a profile for people."""
    head = (
        f"  {'path':<10} {'exit':<10} {'n':>4} {'energy':>10} {'95 %':>16} {'latency':>10} {'95 %':>16} {'power':>10}"
    )
    lines = [f"{profile.model} on {profile.engine}, {profile.meter}", head]
    for row in profile.rows:
        energy, latency = row.energy_j, row.latency_s
        lines.append(
            f"  {row.path:<10} {row.exit:<10} {row.n:>4} {_q(energy.mean, 'J'):>10} {_half(energy, 'J'):>16} "
            f"{_q(latency.mean, 's'):>10} {_half(latency, 's'):>16} {_q(row.power_w, 'W'):>10}"
            + (f"  {row.excluded} left out" if row.excluded else "")
        )
    if profile.idle_w is not None:
        lines.append(f"  idle: {_q(profile.idle_w, 'W')}, part of the energies")
    lines.append(f"  sync: {profile.sync.method}, ends within {_q(profile.sync.error_s, 's')}; {profile.sync.detail}")
    lines += [f"  inside: {profile.inside}", f"  energy: {profile.provenance}"]
    lines += _step_lines(profile)
    return "\n".join([*lines, *(f"  note: {note}" for note in profile.notes)])


def _step_lines(profile: Profile) -> list[str]:
    if profile.steps is None:
        return []
    lines = [
        f"  {'precision':<10} {'exit':<10} {'n':>4} {'energy':>10} {'95 %':>16} {'latency':>10} {'95 %':>16} {'power':>10}  step"
    ]
    for row in profile.steps.rows:
        name = row.name.split(";")[0]
        lines.append(
            f"  {row.precision:<10} {row.exit or '':<10} {row.n:>4} {_q(row.energy_j.mean, 'J'):>10} "
            f"{_half(row.energy_j, 'J'):>16} {_q(row.latency_s.mean, 's'):>10} {_half(row.latency_s, 's'):>16} "
            f"{_q(row.power_w, 'W'):>10}  {name[-40:]}"
        )
    return [*lines, f"  steps: {profile.steps.method}", f"  energy of steps: {profile.steps.provenance}"]


def _q(value: float, unit: str) -> str:
    return format_quantity(value, unit, digits=4)


def _half(value: Interval, unit: str) -> str:
    return "±" + _q(value.half, unit) if np.isfinite(value.half) else "unknown"


__all__: Sequence[str] = ["Array", "add_parser", "cases_of", "run", "text_of", "virtual_bench"]
