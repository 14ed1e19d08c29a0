# SPDX-License-Identifier: Apache-2.0
"""``joulet simulate``: policies against each other and against the optimum, over traces and stores, without a board."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from joulet.boards import DEFAULT_BOARD
from joulet.energy.load import SPECS
from joulet.errors import UsageError
from joulet.policies import make_policy, policy_names
from joulet.policies.shadow import Shadow
from joulet.records import LearningRecord, SimulationRecord
from joulet.simulate.arrivals import USAGE as ARRIVALS
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.cell import Cell
from joulet.simulate.job import Job, judge, make_cell
from joulet.simulate.show import price_maps, timeline
from joulet.tools.energy_path import CAPACITOR, add_path_options, esr_ohm, leakage_ohm, quiescent_w, start_v
from joulet.units import format_quantity, format_time, parse_quantity

EPILOG = """\
sources for --trace:
{sources}

policies (several, separated by commas; "best-fixed" tries every operating point and keeps the best in hindsight):
{policies}

Every sample runs once through the engine, at every exit of every path; the result is cached. The loop of events, store and
policy then runs in C. Learned policies (shadow, qlearning, bandit, mpc) never decide on days or samples that they were
fitted on: days alternate between two folds, each judged with what was learnt on the other (halves of a short recording;
--train names other traces to learn from). The first word of a line of results:

  score     correct on time / arrived; a missed event counts as wrong
  oracle %  expected score / that of a planner that knows harvest and arrivals, both under the calibrated model

  joulet simulate kws.jlt --data clips.npz --trace sun.csv --policy shadow,linear,fixed
  joulet simulate kws.jlt --data clips.npz --trace rf.csv.gz --policy shadow,best-fixed --capacitor 1mF,10mF \\
      --arrivals poisson:0.2/s --deadline 1s --json
  joulet simulate kws.jlt --data clips.npz --trace sun.csv --policy shadow --harvest-ratio 0.3 --store-inferences 5 --out s
  joulet simulate kws.jlt --data clips.npz --trace rec.h5 --policy shadow --battery 1J,10J --converter bq25570 --esr 5ohm
  joulet simulate kws.jlt --data noisy.npz --trace sun.csv --policy shadow --refit exit1 --refit-surplus price
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    listed = "\n".join(f"  {usage}" for usage in policy_names().values())
    parser = subparsers.add_parser(
        "simulate",
        help="compare policies with each other and with the optimum over traces and stores",
        description="Simulate policies over harvesting traces and stores, and say how far from the optimum they are.",
        epilog=EPILOG.format(policies=listed, sources=SPECS),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container from joulet compile")
    parser.add_argument("--data", type=Path, required=True, metavar="EVAL.npz", help="samples with labels")
    parser.add_argument("--trace", nargs="+", required=True, metavar="T", help="harvested power over time; see below")
    parser.add_argument("--policy", required=True, metavar="A,B", help="what decides; see below")
    parser.add_argument("--json", action="store_true", help="print a list with one object a result")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a comparison report, CSV and JSON here")
    parser.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="fit shadow on all of the first cell and write its table: bytes for shadow:FILE, or C source (.c)",
    )
    events = parser.add_argument_group("events")
    events.add_argument("--arrivals", default="periodic:1s", metavar="SPEC", help=f"{ARRIVALS}; several with commas")
    events.add_argument("--deadline", metavar="T", help="from event to answer (mean time between events)")
    events.add_argument("--queue", type=int, default=1, metavar="N", help="events that may wait; the newest wins (1)")
    events.add_argument("--duration", metavar="T", help="length of the run (the trace's; an hour of shorter ones)")
    events.add_argument("--clock-start", default="0s", metavar="T", help="time of day at the beginning (0s)")
    events.add_argument("--seed", type=int, default=0, metavar="N", help="of arrivals, order of samples, fits (0)")
    energy = parser.add_argument_group("energy")
    energy.add_argument("--board", default=DEFAULT_BOARD, metavar="NAME", help=f"board or board.toml ({DEFAULT_BOARD})")
    add_path_options(energy, several=True)
    energy.add_argument("--scale", type=float, default=1.0, metavar="X", help="factor on the trace's power (1)")
    energy.add_argument(
        "--harvest-ratio",
        metavar="R,…",
        help="scale so that what reaches a well-filled store is R times what full-depth w8 takes",
    )
    energy.add_argument("--sensing", metavar="E", help="energy of taking one sample (the board's figure)")
    learning = parser.add_argument_group("learning")
    learning.add_argument("--refit", metavar="EXIT", help="fit this exit's head again, in surplus (none)")
    learning.add_argument(
        "--refit-from",
        choices=("labels", "last"),
        default="labels",
        help="who teaches: the labels, or the last exit where it is sure, which confirms its own mistakes (labels)",
    )
    learning.add_argument("--refit-rule", default="", metavar="R", help="forgetting=0.998,prior=0.1,target=96 or some")
    learning.add_argument(
        "--refit-surplus",
        metavar="V",
        help="store from which on: a voltage; price with shadow (four fifths of the store)",
    )
    learning.add_argument("--label-delay", default="0s", metavar="T", help="from an answer to its label (0s)")
    work = parser.add_argument_group("work")
    work.add_argument(
        "--train", nargs="+", default=[], metavar="T", help="traces to learn from (other days of the same)"
    )
    work.add_argument("--no-oracle", action="store_true", help="leave the bounds out")
    work.add_argument("--cache", type=Path, metavar="DIR", help="outcomes of the engine (~/.cache/joulet)")
    work.add_argument("--family", metavar="WORD", help="kind of source, for the report (guessed)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    jobs = make_jobs(args)
    records: list[SimulationRecord] = []
    example = None
    tell = _progress(args.json)
    for number, job in enumerate(jobs):
        cell = make_cell(job, lambda done: tell(f"engine on samples {done:.0%}"))
        for spec in job.policies:
            tell(f"cell {number + 1} of {len(jobs)}: {spec}")
            records.append(judge(cell, spec, oracles=job.oracles))
        example = example or cell
    tell("")
    if args.export is not None and example is not None:
        export_table(example, args.export)
    if args.out is not None and example is not None:
        from joulet.report import write_comparison

        written = write_comparison(
            args.out,
            records,
            title=f"{args.model.stem}: policies compared",
            timelines=timeline(example, jobs[0].policies),
            price_maps=price_maps(example) if "shadow" in jobs[0].policies else (),
        )
        for line in written.left_out:
            print(f"joulet: note: {line}", file=sys.stderr)
    if args.json:
        print(json.dumps([as_json(record) for record in records], indent=1))
    else:
        print(_text(records))
        if args.out is not None:
            print(f"report: {args.out / 'comparison.html'}")
    return 0 if all(record.residual <= 1e-3 for record in records) else 1


def export_table(cell: Cell, path: Path) -> None:
    """Fit the price policy on all days and samples of a cell and write its table, whole or not at all."""
    shadow = Shadow()
    shadow.fit(cell.experience(None))
    assert shadow.table is not None
    data = shadow.table.to_c().encode() if path.suffix == ".c" else shadow.table.to_bytes()
    part = path.with_name(path.name + ".part")
    part.write_bytes(data)
    part.replace(path)


def make_jobs(args: argparse.Namespace) -> list[Job]:
    """Return a job for every trace, store, ratio and arrival process that the options name."""
    policies = split(args.policy, "--policy")
    for spec in policies:
        if spec != "best-fixed":
            make_policy(spec)
    if args.queue < 1:
        raise UsageError(f"--queue is {args.queue}; it must be 1 or more")
    if args.seed < 0:
        raise UsageError(f"--seed is {args.seed}; it must be zero or more")
    ratios: list[float | None] = [None]
    if args.harvest_ratio is not None:
        ratios = [_positive(text, "--harvest-ratio") for text in split(args.harvest_ratio, "--harvest-ratio")]
    arrivals = [parse_arrivals(spec).spec for spec in split(args.arrivals, "--arrivals")]
    return [
        Job(
            model=args.model,
            data=args.data,
            trace=trace,
            policies=policies,
            arrivals=spec,
            board=args.board,
            family=args.family,
            **store,
            scale=args.scale,
            harvest_ratio=ratio,
            duration_s=_optional(args.duration, "s", "--duration"),
            deadline_s=_optional(args.deadline, "s", "--deadline"),
            queue=args.queue,
            seed=args.seed,
            sensing_j=_optional(args.sensing, "J", "--sensing", zero=True),
            clock_start_s=parse_quantity(args.clock_start, "s", what="--clock-start", allow_zero=True),
            converter=args.converter,
            efficiency=args.efficiency,
            quiescent_w=quiescent_w(args),
            leakage_ohm=leakage_ohm(args),
            esr_ohm=esr_ohm(args),
            start_v=start_v(args),
            train=tuple(args.train),
            refit=args.refit,
            refit_from=args.refit_from,
            refit_rule=args.refit_rule,
            refit_surplus=args.refit_surplus,
            label_delay_s=parse_quantity(args.label_delay, "s", what="--label-delay", allow_zero=True),
            oracles=not args.no_oracle,
            cache=args.cache or default_cache(),
        )
        for trace, store, ratio, spec in itertools.product(args.trace, _stores(args), ratios, arrivals)
    ]


def _stores(args: argparse.Namespace) -> list[dict[str, float]]:
    """Return the size of each store as a field of a job."""
    if args.store_inferences is not None:
        texts = split(args.store_inferences, "--store-inferences")
        return [{"store_inferences": _positive(text, "--store-inferences")} for text in texts]
    if args.battery is not None:
        texts = split(args.battery, "--battery")
        return [{"battery_j": parse_quantity(text, "J", what="--battery")} for text in texts]
    texts = split(args.capacitor or CAPACITOR, "--capacitor")
    return [{"capacitor_f": parse_quantity(text, "F", what="--capacitor")} for text in texts]


def default_cache() -> Path:
    """Return where outcomes are kept: ``$XDG_CACHE_HOME/joulet`` or ``~/.cache/joulet``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "joulet"


def split(text: str, what: str) -> tuple[str, ...]:
    """Return the parts of a list separated by commas; a comma before a bare number belongs to the part before it."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and ":" in parts[-1] and part.replace(".", "", 1).isdigit():
            parts[-1] += f",{part}"  # linear:0.3,0.9
        elif part.strip():
            parts.append(part.strip())
    if not parts:
        raise UsageError(f"{what} names nothing")
    return tuple(dict.fromkeys(parts))


def as_json(record: SimulationRecord) -> dict[str, object]:
    """Return a record as a plain object."""
    from joulet.report.archive import plain

    return dict(plain(record))


def _optional(text: str | None, unit: str, what: str, *, zero: bool = False) -> float | None:
    return None if text is None else parse_quantity(text, unit, what=what, allow_zero=zero)


def _positive(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise UsageError(f"{what} '{text}': give a number of more than zero")
    return value


def _progress(quiet: bool) -> Callable[[str], None]:
    shown = sys.stderr.isatty() and not quiet

    def tell(text: str) -> None:
        if shown:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)

    return tell


def _text(records: Sequence[SimulationRecord]) -> str:
    lines = []
    for cell, group in itertools.groupby(
        records, key=lambda r: (r.model, r.trace, r.capacitor_f, r.harvest_ratio, r.arrivals)
    ):
        model, trace, capacitor_f, ratio, arrivals = cell
        rows = list(group)
        first = rows[0]
        lines.append(
            f"{model} on {trace}, {format_quantity(capacitor_f, 'F')}{_battery(first)} "
            f"({first.store_inferences:.3g} full-depth inferences), {arrivals}"
            + ("" if ratio is None else f", harvest {ratio:g} × demand")
        )
        if first.oracle_energy_score is not None and first.oracle_all_score is not None:
            lines.append(
                f"  bounds: {100 * first.oracle_energy_score:.1f} % with harvest and arrivals known, "
                f"{100 * first.oracle_all_score:.1f} % with outcomes known too; {first.arrived:,} events"
            )
        lines.append(
            f"  {'policy':22} {'score':>7} {'95 % interval':>15} {'oracle %':>9} {'bits':>5} {'exit':>5} {'cuts':>6} "
            f"{'off':>6} {'p50':>9} {'residual':>9}"
        )
        lines += [_row(row) for row in rows]
        lines += [_learned(row.policy, row.learning) for row in rows if row.learning is not None]
    return "\n".join(lines)


def _battery(r: SimulationRecord) -> str:
    return " as a battery" if "battery" in r.provenance.get("stored", "") else ""


def _learned(policy: str, r: LearningRecord) -> str:
    said = (
        f"  {policy:22} refit {r.exit}: {r.learned:,} labels, {r.late:,} too late, {format_quantity(r.energy_j, 'J')}"
    )
    if r.calibration_error is None or r.calibration_error_as_shipped is None:
        return f"{said}; nothing new answered there"
    return (
        f"{said}; of {r.judged:,} new samples answered there {100 * r.right / r.judged:.1f} % right, as shipped "
        f"{100 * r.right_as_shipped / r.judged:.1f} %; calibration error {100 * r.calibration_error:.1f} points, as shipped "
        f"{100 * r.calibration_error_as_shipped:.1f}"
    )


def _row(r: SimulationRecord) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    p50 = "-" if r.latency_p50_s is None else format_time(r.latency_p50_s)
    interval = f"{100 * r.score_low:.1f} – {100 * r.score_high:.1f}"
    return (
        f"  {r.policy:22} {100 * r.score:6.1f}% {interval:>15} {number(r.pct_of_oracle_energy, '.1f'):>9} "
        f"{number(r.mean_bits, '.2f'):>5} {number(r.mean_exit, '.2f'):>5} {r.brownouts:6,} {100 * r.time_off:5.1f}% "
        f"{p50:>9} {r.residual:9.1e}"
    )
