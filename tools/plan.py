# SPDX-License-Identifier: Apache-2.0
"""``joulet plan``: the operating points of a model on a board, and the one to take under limits."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulet.boards import Board, load_board
from joulet.container.isa_plan import Arenas, slow_bytes
from joulet.container.layout import MAGIC
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.engine.samples import load_inputs, load_labels
from joulet.errors import MissingDependencyError, UsageError
from joulet.plan.copies import copies_on
from joulet.plan.relax import UNITS, Relaxed, nearest_text, tight_limits
from joulet.plan.search import Candidate, Limits, Point, choose, front, point_of, shares_of
from joulet.plan.step_costs import step_bills
from joulet.tools.compile import progress_lines, write_whole
from joulet.tools.inspect import table
from joulet.tools.inspect_costs import rows
from joulet.units import parse_quantity

if TYPE_CHECKING:
    from joulet.variants import Variants

EPILOG = """\
Of a .tflite or .onnx the plan chooses bits (w8, w4, and mixes between), exits, bands and packed copies; of a .jlt, whose bits
and exits are what they are, the path, bands and copies. Each point is planned for the board as joulet build does it: RAM and
flash are exact, cycles are the board's model, energy is cycles times the board's figure. Taken is the cheapest point, in mean
energy, of those within all limits that are as accurate as the best of them to 0.3 points; cheaper paths are kept beside it where
they fit. Accuracy is that on --data where each exit stops as its confidence says; without labels it is agreement with the
model itself; without data nobody knows it, and the mean bits of a MAC stand for it.

  joulet plan vww.tflite --board virtual_m4 --data cal.npz -o planned.jlt
  joulet plan vww.tflite --board virtual_m4 --data cal.npz --ram-limit 30000 --flash-limit 90000
  joulet plan kws.jlt --board virtual_m0plus --data test.npz --energy-limit 2mJ --json
  joulet build planned.jlt --board virtual_m4

--ram-limit is for tensors and scratch, --flash-limit for the container in its slot, --energy-limit for an inference to the last
exit, whatever the input. Without them the board's own hold: its slot, and the RAM that its firmware leaves.
"""
_CHEAPER = 0.99  # of the mean energy: from where another path is worth its flash


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "plan",
        help="operating points of a model on a board, and the one to take under limits",
        description="Search bits, exits, bands and packed copies under limits on RAM, flash and energy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=".tflite, .onnx, or a container")
    parser.add_argument("--board", required=True, metavar="B", help="board; joulet boards lists them")
    parser.add_argument("--data", type=Path, metavar="CAL.npz", help="calibration data, as joulet compile has it")
    parser.add_argument("--exits", metavar="auto|N|off", help="early exits to attach (auto)")
    parser.add_argument("--ram-limit", type=int, metavar="BYTES", help="RAM that tensors and scratch may take")
    parser.add_argument("--flash-limit", type=int, metavar="BYTES", help="flash that the container may take")
    parser.add_argument("--energy-limit", metavar="J", help="energy of an inference to the last exit, such as 2mJ")
    parser.add_argument("--out", "-o", type=Path, metavar="M.jlt", help="write the chosen plan's container")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Search:
    """What was looked at: points in order, the one taken, how it ends, what limits it."""

    points: tuple[Point, ...]
    chosen: Point
    tight: tuple[Relaxed, ...]
    accuracy_is: str
    seconds: float


def run(args: argparse.Namespace) -> int:
    """Search and print; return the exit code."""
    started_s = time.perf_counter()
    board, limits = load_board(args.board), _limits(args)
    known: Arenas = {}
    say = progress_lines()
    variants = None if _is_container(args) else _variants(args, board, say)
    candidates = list(_stored(args) if variants is None else variants.candidates())
    points = []
    for done, candidate in enumerate(candidates):
        points.append(point_of(candidate, board, limits, known))
        say("plan: operating points", done + 1, len(candidates))
    chosen = choose(points, limits)
    if chosen is None:
        raise UsageError(
            f"no operating point of '{args.model}' keeps the limits on {board.name}: {nearest_text(points, limits)}"
        )
    tight = tight_limits(chosen, points, board, limits, known)
    if variants is not None:
        chosen = _with_cheaper_paths(variants, chosen, points, board, limits, known)
    if args.out is not None:
        write_whole(args.out, chosen.image)
    search = Search(
        points=tuple(points),
        chosen=chosen,
        tight=tight,
        accuracy_is=_accuracy_is(args, variants),
        seconds=time.perf_counter() - started_s,
    )
    print(json.dumps(_json(args, board, limits, search), indent=2) if args.json else _text(args, board, limits, search))
    return 0


def _limits(args: argparse.Namespace) -> Limits:
    if args.out is not None and not args.out.parent.is_dir():
        raise UsageError(f"--out {args.out}: there is no folder {args.out.parent}; make it first")
    for name in ("ram_limit", "flash_limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UsageError(f"--{name.replace('_', '-')} {value}: give a number of bytes above 0")
    energy_j = None if args.energy_limit is None else parse_quantity(args.energy_limit, "J", what="--energy-limit")
    return Limits(
        ram_bytes=args.ram_limit,
        flash_bytes=args.flash_limit,
        energy_nj=None if energy_j is None else energy_j * 1e9,
        work_bytes=_work_bytes(args.board),
    )


def _work_bytes(board: str) -> int | None:
    """Return the RAM that the board's firmware leaves; None where it cannot be built here."""
    from joulet.tools.engines import work_of

    try:
        return work_of(board)
    except MissingDependencyError:
        return None


def _is_container(args: argparse.Namespace) -> bool:
    try:
        with args.model.open("rb") as file:
            found = bool(file.read(len(MAGIC)) == MAGIC)
    except OSError as error:
        raise UsageError(f"cannot read '{args.model}': {error.strerror}") from error
    if found and args.exits is not None:
        raise UsageError(f"--exits: '{args.model}' is compiled already; give the .tflite or .onnx it came from")
    return found


def _variants(args: argparse.Namespace, board: Board, progress: Callable[[str, int, int], None]) -> Variants:
    from joulet.variants import variants_of

    return variants_of(args.model, board, data=args.data, exits=args.exits or "auto", progress=progress)


def _stored(args: argparse.Namespace) -> Iterator[Candidate]:
    """Yield the integer paths of a container; with data, as they do on it."""
    engine = HostEngine(args.model)
    container = engine.container
    n_exits = len(engine.exit_names)
    inputs = None if args.data is None else load_inputs(args.data, engine.inputs)
    labels = None if args.data is None else load_labels(args.data, len(inputs[0]) if inputs else 0)
    for path, name in enumerate(engine.path_names):
        if container.precisions[int(container.paths[path]["precisions"][0])]["is_f32"]:
            continue
        accuracy, shares = None, (0.0,) * (n_exits - 1) + (1.0,)
        if inputs is not None:
            result = engine.infer(inputs, path=name, depth="auto")
            shares = shares_of(result.exit, n_exits)
            if labels is not None:
                answers = result.outputs[0].reshape(len(labels), -1).argmax(axis=1)
                accuracy = float((answers == labels).mean())
        yield Candidate(data=container.data, path=path, accuracy=accuracy, shares=shares)


def _with_cheaper_paths(
    variants: Variants, chosen: Point, points: list[Point], board: Board, limits: Limits, known: Arenas
) -> Point:
    """Return the chosen point in a container that also has cheaper paths to the same exits, as far as limits allow.

    None of them may make the chosen one dearer, which it does where its packed copies would have to give way.
    """
    exits = [name in chosen.exits for name in (each.name for each in variants.attached.graph.exits)]
    kept = [index for index, wanted in enumerate(exits) if wanted]
    best, names = chosen, [chosen.path]
    others = [point for point in front(points) if point.exits == chosen.exits and point.path != chosen.path]
    for point in sorted(others, key=lambda each: each.mean_nj):
        if point.mean_nj > _CHEAPER * chosen.mean_nj:
            continue
        tried = point_of(variants.candidate(kept, [*names, point.path], chosen.path), board, limits, known)
        if not tried.excess(limits) and tried.exit_cycles[-1] <= chosen.exit_cycles[-1]:
            best, names = tried, [*names, point.path]
    return best


def _accuracy_is(args: argparse.Namespace, variants: Variants | None) -> str:
    if args.data is None:
        return "unknown without --data; mean weight bits of a MAC stand for it"
    if variants is not None and variants.calibration is not None and variants.calibration.labels is None:
        return "agreement with the model's own answers, for --data has no labels"
    return "on --data, exits stopping as their confidence says"


def _point(point: Point) -> dict[str, Any]:
    return {
        "path": point.path,
        "exits": list(point.exits),
        "accuracy": point.candidate.accuracy,
        "weight_bits": point.weight_bits,
        "shares": list(point.candidate.shares),
        "ram_bytes": point.ram_bytes,
        "flash_bytes": point.flash_bytes,
        "exit_cycles": list(point.exit_cycles),
        "mean_cycles": point.mean_cycles,
        "mean_nj": point.mean_nj,
        "worst_nj": point.worst_nj,
        "copies_stored": point.copies[0],
        "copies_wanted": point.copies[1],
        "band_groups": point.bands,
    }


def _steps(point: Point, board: Board) -> dict[str, Any]:
    """Return what each step of the chosen path costs, as ``joulet inspect --costs`` has it."""
    container = Container.from_bytes(point.image)
    stored = copies_on(container, board)
    along = container.paths[point.candidate.path]["precisions"][container.ops["segment"]]
    bills = {int(each): step_bills(container, board, int(each), stored) for each in set(along.tolist())}
    steps = []
    for op, precision in enumerate(along.tolist()):
        bill = bills[precision][op]
        steps.append({**asdict(bill), "accesses_per_mac": bill.accesses_per_mac, "measured_j": None})
    return {"precision": point.path, "steps": steps}


def _json(args: argparse.Namespace, board: Board, limits: Limits, search: Search) -> dict[str, Any]:
    container = Container.from_bytes(search.chosen.image)
    best = set(map(id, front(search.points)))
    return {
        "model": args.model.name,
        "board": board.name,
        "limits": asdict(limits),
        "accuracy_is": search.accuracy_is,
        "points": [{**_point(each), "on_front": id(each) in best} for each in search.points],
        "chosen": {
            **_point(search.chosen),
            "paths": [str(each) for each in container.meta["paths"]],
            "steps": _steps(search.chosen, board)["steps"],
        },
        "tight": [asdict(each) for each in search.tight],
        "provenance": {
            "cycles": board.provenance.get("cycles", ""),
            "energy": board.provenance.get("pj_per_cycle", ""),
        },
        "seconds": search.seconds,
        "output": None if args.out is None else str(args.out),
    }


def _text(args: argparse.Namespace, board: Board, limits: Limits, search: Search) -> str:
    best, chosen = _shown(search.points, limits), search.chosen
    head = ("", "path", "exits", "accuracy", "bits", "mean nJ", "nJ to the end", "RAM", "flash", "copies", "bands")
    marked = [
        _row(point, limits, is_chosen=point.candidate.path == chosen.candidate.path and _same(point, chosen))
        for point in best
    ]
    given = [
        f"RAM {limits.ram_bytes:,} bytes" if limits.ram_bytes is not None else "",
        f"flash {limits.flash_bytes:,} bytes" if limits.flash_bytes is not None else "",
        f"energy {limits.energy_nj:,.0f} nJ" if limits.energy_nj is not None else "",
    ]
    kept = [str(each) for each in Container.from_bytes(chosen.image).meta["paths"]]
    blocks = [
        f"{args.model.name} on {board.name}: {len(search.points)} operating points in {search.seconds:.0f} s; "
        f"limits: {', '.join(each for each in given if each) or 'the board alone'}\naccuracy: {search.accuracy_is}",
        "none better in accuracy, energy, RAM and flash (> taken, x outside a limit)\n" + table(head, marked),
        f"taken: {chosen.path} to {', '.join(chosen.exits)}; paths in the container: {', '.join(kept)}; "
        f"RAM {chosen.ram_bytes:,} bytes{_slow(chosen, board)}, flash {chosen.flash_bytes:,}, "
        f"{chosen.copies[0]} of {chosen.copies[1]} packed copies, {chosen.bands} groups in bands\n"
        + "\n".join(_tight_lines(search)),
        table(*rows(_steps(chosen, board))),
        f"cycles: {board.provenance.get('cycles', '')}\nenergy: {board.provenance.get('pj_per_cycle', '')}",
    ]
    if args.out is not None:
        blocks.append(f"written to {args.out}; next: joulet build {args.out} --board {board.name}")
    return "\n\n".join(blocks)


def _slow(point: Point, board: Board) -> str:
    """Return what lies in the slower of two memories, if there is one."""
    slow = slow_bytes(point.image, board.isa) if board.slow is not None else 0
    return f" and {slow:,} in the slow memory" if slow else ""


def _shown(points: Sequence[Point], limits: Limits) -> list[Point]:
    """Return the points that no other beats, and those that none beats of those within the limits."""
    best = list(front(points))
    within = front([point for point in points if not point.excess(limits)])
    best += [point for point in within if not any(point is each for each in best)]
    return sorted(best, key=lambda point: (-point.score, point.mean_nj))


def _same(a: Point, b: Point) -> bool:
    return (a.path, a.exits) == (b.path, b.exits)


def _row(point: Point, limits: Limits, *, is_chosen: bool) -> tuple[str, ...]:
    accuracy = point.candidate.accuracy
    return (
        ">" if is_chosen else "x" if point.excess(limits) else "",
        point.path,
        " ".join(point.exits),
        "-" if accuracy is None else f"{100 * accuracy:.1f} %",
        f"{point.weight_bits:.2f}",
        f"{point.mean_nj:,.0f}",
        f"{point.worst_nj:,.0f}",
        f"{point.ram_bytes:,}",
        f"{point.flash_bytes:,}",
        f"{point.copies[0]}/{point.copies[1]}",
        str(point.bands),
    )


def _tight_lines(search: Search) -> list[str]:
    if not search.tight:
        return ["no limit holds it up"]
    unit = "points of accuracy" if search.chosen.candidate.accuracy is not None else "% of eight bits"
    return [
        f"{each.limit} is tight: with {each.needed:,.0f} {UNITS[each.limit]} it would take "
        f"{abs(each.saved_cycles):,} cycles {'fewer' if each.saved_cycles >= 0 else 'more'} to the last exit"
        + (f" and gain {100 * each.gained:.1f} {unit}" if each.gained else "")
        for each in search.tight
    ]
