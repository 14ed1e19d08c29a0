# SPDX-License-Identifier: Apache-2.0
"""``joulet run``: a stream of inputs under a harvesting trace and a policy."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet import __version__
from joulet.boards import DEFAULT_BOARD, Board, load_board
from joulet.container.read import Container
from joulet.energy.load import SPECS, Source, load_harvester
from joulet.energy.seam import Converter, Storage
from joulet.engine.answers import Answers
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.engine.samples import load_inputs, load_labels
from joulet.engine.seam import Array
from joulet.errors import UsageError
from joulet.metered_run import EdgeRecord
from joulet.plan.cost import cost_table
from joulet.plan.measured import priced
from joulet.plan.nvm_comparison import STRATEGY_NAMES
from joulet.plan.on_board import planned_for
from joulet.policies import Policy, make_policy, policy_names
from joulet.policies.fixed import Fixed
from joulet.policies.shadow import Shadow
from joulet.records import CostTable, RunRecord
from joulet.session import SessionSettings
from joulet.session import run as run_session
from joulet.tools import run_metered
from joulet.tools.energy_path import add_path_options, converter_of, storage_of
from joulet.tools.engines import ENGINES, open_engine, work_of
from joulet.tools.refit import RefitOptions, add_options, learning_of, line_of, options_of, with_judgement
from joulet.units import format_quantity, format_time, parse_quantity

FORMAT = "joulet run folder 1"
_MOST_EVENTS = 2_000_000

EPILOG = """\
policies:
{policies}

IN.npz holds input_0, input_1 … in the model's own types, samples first, and labels for a score. Events take the
samples in turn and begin again at the end (--seed shuffles them first).

sources for --trace:
{sources}

engines:
{engines}

Costs are those that joulet profile has written into the container or the file of the board, else a table in the container, else
the board's model. On a virtual board they are measured there first. Under a policy with integer tables (shadow) the firmware's
own loop then runs: it reads the store's voltage, asks the table in its flash, writes answers to its FRAM, and dies where the
store runs empty. Other policies decide on this machine, and only inference runs on the board. With --survive an inference
outlives power cuts, and may take more than the store holds; auto lets the planner choose how.

  joulet run kws.jlt --input clips.npz --trace sun.csv --policy linear
  joulet run kws.jlt --input clips.npz --trace rf.csv.gz --policy fixed:w8@last --capacitor 1mF --period 500ms --json
  joulet run kws.jlt --input clips.npz --trace rf.csv.gz --policy shadow --engine virtual:virtual_m4 --period 2s
  joulet run kws.jlt --input clips.npz --trace constant:200uW --duration 1h --policy eno --converter bq25570 --esr 20ohm

The run folder gets manifest.json (hashes, versions, options, where figures come from), events.jsonl (one line an
event), ledger.json, summary.json, run.json.gz (for joulet report) and report.html. Exit code 1: the ledger does not close.

{metered}
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    listed = "\n".join(f"  {usage}" for usage in policy_names().values())
    parser = subparsers.add_parser(
        "run",
        help="run a stream of inputs under a harvesting trace and a policy",
        description=(
            "Events arrive, a policy decides how many bits and layers each deserves, a capacitor fills and drains, and "
            "every joule lands in a ledger. Inference is real; time and energy are those of the board's cost table."
        ),
        epilog=EPILOG.format(policies=listed, sources=SPECS, engines=ENGINES, metered=run_metered.EPILOG),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container from joulet compile")
    parser.add_argument("--input", type=Path, required=True, metavar="IN.npz", help="samples, and labels for a score")
    parser.add_argument("--trace", metavar="SOURCE", help="harvested power over time; see below")
    parser.add_argument("--policy", metavar="NAME", help="what decides; see below")
    parser.add_argument("--engine", default="host", metavar="E", help="who computes (host); see below")
    parser.add_argument("--out", type=Path, default=Path("joulet-run"), metavar="DIR", help="run folder (joulet-run)")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    events = parser.add_argument_group("events")
    events.add_argument("--period", default="1s", metavar="T", help="time between events (1s)")
    events.add_argument("--deadline", metavar="T", help="from event to answer (the period)")
    events.add_argument("--queue", type=int, default=1, metavar="N", help="events that may wait; the newest wins (1)")
    events.add_argument("--duration", metavar="T", help="length of the run (the trace's)")
    events.add_argument("--seed", type=int, metavar="N", help="shuffle the samples by this seed (as they are)")
    events.add_argument(
        "--survive",
        choices=("auto", *STRATEGY_NAMES),
        metavar="HOW",
        help=f"what outlives a power cut on a virtual board: auto, {', '.join(STRATEGY_NAMES)} (nothing)",
    )
    energy = parser.add_argument_group("energy")
    energy.add_argument("--board", metavar="NAME", help=f"board or board.toml (the engine's, else {DEFAULT_BOARD})")
    add_path_options(energy)
    energy.add_argument("--scale", type=float, default=1.0, metavar="X", help="factor on the trace's power (1)")
    energy.add_argument("--loop", action="store_true", help="begin the trace again at its end")
    energy.add_argument("--sensing", metavar="E", help="energy of taking one sample (the board's figure)")
    energy.add_argument("--cap", metavar="E", help="most energy of one inference, whatever the input (any)")
    add_options(parser)
    energy.add_argument("--no-guard", action="store_true", help="start even without the energy of the first step")
    run_metered.add_options(parser)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """Everything a run is made of, checked."""

    container: Container
    inputs: Sequence[Array]
    labels: npt.NDArray[np.int64] | None
    costs: CostTable
    board: Board
    harvester: Source
    converter: Converter
    storage: Storage
    settings: SessionSettings
    refit: RefitOptions | None = None


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if args.meter is not None:
        return run_metered.run_metered(args)
    if args.trace is None or args.policy is None:
        raise UsageError("give --trace and --policy, or --meter for a run of this machine in real time")
    for name in ("power_cap", "budget_j", "horizon", "dvfs"):
        if getattr(args, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} goes with --meter: what is kept to must be measured")
    check_folder(args.out)
    policy = make_policy(args.policy)
    setup = prepare(args)
    virtual = args.engine.startswith("virtual:")
    if args.survive and not (virtual and isinstance(policy, (Shadow, Fixed))):
        raise UsageError("--survive goes with --engine virtual:BOARD and the policies shadow and fixed")
    if virtual and (isinstance(policy, Shadow) or ((args.survive or args.refit) and isinstance(policy, Fixed))):
        record = _on_board(args, setup, policy)
    else:
        record = _here(args, setup, policy)
    write_folder(args.out, record, manifest(args, record, setup))
    if args.json:
        print(json.dumps({"out": str(args.out), **_result(record)}, indent=2))
    else:
        print(_text(record, args.out))
    return 0 if record.ledger.closes else 1


def _here(args: argparse.Namespace, setup: Setup, policy: Policy) -> RunRecord:
    """Run the control loop on this machine."""
    with open_engine(args.model, args.engine) as engine:
        if not isinstance(engine, (HostEngine, BoardEngine)):
            raise UsageError(f"--engine {args.engine} has no exits to decide at; joulet infer takes it")
        answers, learning = Answers(engine, setup.inputs, setup.labels, setup.costs.prefixes), None
        if setup.refit is not None:
            if not isinstance(engine, HostEngine):
                raise UsageError(
                    f"--refit goes with the host's engine and virtual boards, not with --engine {args.engine}"
                )
            learning, answers = learning_of(setup.refit, engine, setup.inputs, setup.labels, setup.costs.prefixes)
        record = run_session(
            answers,
            setup.costs,
            setup.board.load,
            harvester=setup.harvester,
            converter=setup.converter,
            storage=setup.storage,
            policy=policy,
            settings=setup.settings,
            model=args.model.name,
            model_hash=engine.model_hash,
            provenance=_provenance(setup.board),
            progress=_progress(),
            learning=learning,
        )
    if setup.refit is None or learning is None:
        return record
    return with_judgement(record, setup.container.data, setup.refit, setup.inputs, learning.learner.learned)


def _on_board(args: argparse.Namespace, setup: Setup, policy: Shadow | Fixed) -> RunRecord:
    """Run the firmware's own loop on a virtual board."""
    from joulet.live.run import Job, Refit, run_on_board
    from joulet.live.survive import survival_for

    job = Job(
        container=setup.container.data,
        model=args.model.name,
        model_hash=setup.container.model_hash,
        inputs=setup.inputs,
        labels=setup.labels,
        costs=setup.costs,
    )
    options = setup.refit
    record = run_on_board(
        job,
        setup.board,
        harvester=setup.harvester,
        converter=setup.converter,
        storage=setup.storage,
        policy=policy,
        settings=setup.settings,
        survival=survival_for(setup.container, setup.board, setup.storage, args.survive),
        refit=None
        if options is None
        else Refit(
            exit=options.exit,
            rule=options.rule,
            surplus_v=options.surplus_v,
            labelled=options.labelled,
            cycles=round(options.cycles),
            keep_every=max(1, options.keep_every),
        ),
        provenance=_provenance(setup.board),
        progress=_progress(),
    )
    return record if options is None else with_judgement(record, setup.container.data, options, setup.inputs, None)


def _provenance(board: Board) -> dict[str, str]:
    return {"board": f"{board.title}, {board.seen}", **board.provenance}


def _board_of(args: argparse.Namespace) -> Board:
    kind, _, where = args.engine.partition(":")
    if kind not in ("virtual", "qemu") or not where:
        return load_board(args.board or DEFAULT_BOARD)
    if args.board not in (None, where):
        raise UsageError(f"--board {args.board} contradicts --engine {args.engine}; leave out --board")
    return load_board(where)


def _costs(
    args: argparse.Namespace, board: Board, container: Container, inputs: Sequence[Array]
) -> tuple[CostTable, Board]:
    """Return costs and the board that goes with them: run on a virtual board, else as :mod:`joulet.plan.measured` finds them."""
    if args.engine.startswith("virtual:"):
        from joulet.live.measure import measured_costs

        found = measured_costs(container.data, board.name, tuple(x[0] for x in inputs))
        return cost_table(container, found), board
    return priced(container, board)


def prepare(args: argparse.Namespace) -> Setup:
    """Read and check all that the options name."""
    board = _board_of(args)
    harvester = load_harvester(args.trace, scale=args.scale, loop=args.loop)
    settings = _settings(args, harvester)
    if not args.model.is_file():
        raise UsageError(f"cannot read '{args.model}': no such file; make one with joulet compile")
    engine = HostEngine(args.model)
    inputs = load_inputs(args.input, engine.inputs)
    container = engine.container
    if args.engine.startswith("virtual:"):
        container = Container.from_bytes(planned_for(container.data, board.name, work_bytes=work_of(board.name)))
    labels = load_labels(args.input, len(inputs[0]))
    costs, board = _costs(args, board, container, inputs)
    return Setup(
        container=container,
        inputs=inputs,
        labels=labels,
        refit=options_of(args, engine, board, labels),
        costs=costs,
        board=board,
        harvester=harvester,
        converter=converter_of(args),
        storage=storage_of(args, board.load),
        settings=settings,
    )


def _settings(args: argparse.Namespace, harvester: Source) -> SessionSettings:
    period_s = _quantity(args, "period", "s")
    duration_s = None if args.duration is None else _quantity(args, "duration", "s")
    if args.seed is not None and args.seed < 0:
        raise UsageError(f"--seed is {args.seed}; it must be zero or more")
    length_s = harvester.duration_s if duration_s is None else duration_s
    if length_s / period_s > _MOST_EVENTS and length_s != float("inf"):
        raise UsageError(
            f"{format_time(length_s)} with an event every {format_time(period_s)} makes {length_s / period_s:,.0f} events; "
            f"at most {_MOST_EVENTS:,}: shorten the run (--duration) or lengthen --period"
        )
    return SessionSettings(
        period_s=period_s,
        deadline_s=None if args.deadline is None else _quantity(args, "deadline", "s"),
        queue=args.queue,
        duration_s=duration_s,
        sensing_j=None if args.sensing is None else _quantity(args, "sensing", "J", zero=True),
        cap_j=math.inf if args.cap is None else _quantity(args, "cap", "J"),
        guard=not args.no_guard,
        shuffle_seed=args.seed,
    )


def _quantity(args: argparse.Namespace, name: str, unit: str, *, zero: bool = False) -> float:
    return parse_quantity(str(getattr(args, name)), unit, what=f"--{name.replace('_', '-')}", allow_zero=zero)


def manifest(args: argparse.Namespace, record: RunRecord, setup: Setup) -> dict[str, Any]:
    """Return what makes a run repeatable."""
    options = {
        key: str(value) if isinstance(value, Path) else value
        for key, value in vars(args).items()
        if key not in ("command", "out", "json")
    }
    return {
        "format": FORMAT,
        "joulet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "options": options,
        "settings": dict(record.settings),
        "model": {
            "file": args.model.name,
            "model_hash": setup.container.model_hash.hex(),
            "sha256": sha256_of(args.model),
        },
        "input": {"file": args.input.name, "sha256": sha256_of(args.input), "samples": len(setup.inputs[0])},
        "trace": {
            "file": setup.harvester.name,
            "sha256": setup.harvester.sha256,
            "span_s": setup.harvester.span_s if math.isfinite(setup.harvester.span_s) else None,
            "mean_w": setup.harvester.mean_w,
            "gaps": setup.harvester.n_gaps,
        },
        "board": {"name": setup.board.name, "seen": setup.board.seen},
        "provenance": dict(record.provenance),
    }


def sha256_of(path: Path) -> str:
    """Return the digest of a file, as hex."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier run."""
    if not folder.parent.is_dir():
        raise UsageError(f"--out {folder}: there is no folder {folder.parent}; make it first")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not _is_run(folder):
        raise UsageError(f"--out {folder}: holds other files; name a new folder or one of an earlier run")


def _is_run(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "manifest.json").read_text()).get("format") == FORMAT)
    except (OSError, ValueError, AttributeError):
        return False


def write_folder(folder: Path, record: RunRecord, about: Mapping[str, Any]) -> None:
    """Write the run folder."""
    files = {
        "events.jsonl": "".join(f"{json.dumps(_plain(asdict(event)))}\n" for event in record.events),
        "ledger.json": _json({**_plain(asdict(record.ledger)), "closes": record.ledger.closes}),
        "summary.json": _json(_result(record)),
    }
    put_folder(folder, record, files, about)


def put_folder(
    folder: Path, record: RunRecord | EdgeRecord, files: Mapping[str, str], about: Mapping[str, Any]
) -> None:
    """Write texts, run record, report and manifest beside the folder's place, then put it there whole."""
    from joulet.report import render, render_metered, save, write

    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        part.chmod(0o755)
        for name, text in files.items():
            (part / name).write_text(text)
        save(part / "run.json.gz", record)
        if isinstance(record, EdgeRecord):
            page = render_metered({record.model: record}, title=f"{record.model} under {record.meter}")
        else:
            page = render({record.policy: record}, title=f"{record.model} under {record.policy}")
        write(part / "report.html", page)
        hashes = {path.name: sha256_of(path) for path in sorted(part.iterdir())}
        (part / "manifest.json").write_text(_json({**about, "files": hashes}))
        old = None
        if folder.exists():
            old = folder.with_name(f"{part.name}.old")
            folder.rename(old)
        part.rename(folder)
        if old is not None:
            shutil.rmtree(old)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, Enum) else value


def _result(record: RunRecord) -> dict[str, Any]:
    return {
        "model": record.model,
        "model_hash": record.model_hash,
        "board": record.board,
        "policy": record.policy,
        "duration_s": record.duration_s,
        "summary": _plain(asdict(record.summary)),
        "energy_j": record.energy_stack_j(),
        "ledger_closes": record.ledger.closes,
        "residual_fraction": record.ledger.residual_fraction,
        "not_modelled": list(record.ledger.not_modelled),
        "refit": {key.removeprefix("refit_"): v for key, v in record.settings.items() if key.startswith("refit_")}
        or None,
    }


def _progress() -> Callable[[float], None]:
    live = sys.stderr.isatty()

    def show(done: float) -> None:
        if live:
            print(f"\r  {100 * done:3.0f} %", end="\n" if done >= 1.0 else "", file=sys.stderr, flush=True)

    return show


def _text(record: RunRecord, folder: Path) -> str:
    s, stack = record.summary, record.energy_stack_j()
    score = "no labels" if s.score is None else f"{s.correct_on_time} of {s.arrived} right and on time ({s.score:.1%})"
    lost = {"late": s.late, "missed": s.missed, "dropped": s.dropped, "expired": s.expired, "lost": s.lost}
    lines = [
        f"{record.model} on {record.board} under {record.policy}, {format_time(record.duration_s)}",
        f"  score      {score}",
        f"  events     {s.on_time} on time" + "".join(f", {count} {name}" for name, count in lost.items() if count),
        f"  exits      {_counts(record.exit_names, s.exits_taken)}",
        f"  depth      mean exit {_number(s.mean_exit)}, mean bits {_number(s.mean_bits)}",
        f"  power      {s.brownouts} brown-outs ({s.cut} in an inference), {s.off_fraction:.1%} of the time off",
    ]
    if s.latency_p50_s is not None and s.latency_p99_s is not None and s.mean_energy_j is not None:
        lines.append(
            f"  answers    {format_quantity(s.mean_energy_j, 'J')} each, p50 {format_time(s.latency_p50_s)}, "
            f"p99 {format_time(s.latency_p99_s)}"
        )
    parts = ", ".join(
        f"{name} {format_quantity(value, 'J')}" for name, value in stack.items() if value and name != "residual"
    )
    lines.append(f"  energy     {parts}")
    learned = line_of(record)
    if learned is not None:
        lines.append(f"  {learned}")
    closes = "closes" if record.ledger.closes else "DOES NOT CLOSE"
    lines.append(f"  ledger     {closes}, residual {record.ledger.residual_fraction:.1e} of what went through")
    lines.append(f"  not in it  {', '.join(record.ledger.not_modelled)}")
    lines.append(f"  report     {folder / 'report.html'}")
    return "\n".join(lines)


def _counts(names: Sequence[str], counts: Sequence[int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in zip(names, counts, strict=True))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
