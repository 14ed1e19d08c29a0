# SPDX-License-Identifier: Apache-2.0
"""Fit the cycle table of a core to ops counted on emulated boards, and check it on networks that it was not fitted on.

    python tests/studies/fit_cycles.py --board virtual_m4                             # prints what the table is off
    python tests/studies/fit_cycles.py --board virtual_m4 --write                     # and writes firmware/boards/cycles
    python tests/studies/fit_cycles.py --board virtual_m4 --sparse --write            # of kernels that skip absent blocks alone
    python tests/studies/fit_cycles.py --board virtual_m4 --shared ../shared --check  # only checks, on MLPerf Tiny
    python tests/studies/fit_cycles.py --board virtual_m4 --borders --write           # only the ops at a model's borders
    python tests/studies/fit_cycles.py --board virtual_m4 --check --unseen 10         # the table on networks of other draws

Fitted on drawn layers (tests/drawn_nets.py) and the small models of tests/models, run with the reference kernels, plain and nested
weights, and with packed ones; least squares of the relative error, no coefficient below 0. Every op is counted: cycles on virtual
boards; on a board that only QEMU has, instructions times the mean cycles of one. Where QEMU does not tell what the clock was read
as, whole networks are counted, and an op is what the sums make likely. Checked on networks of other draws, by kernel, and on the
four MLPerf Tiny models, per step and whole, plain and packed. Exit code 1 when one of these models is off by more than 3 %, or
more than one step in ten by 20 %.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tomllib
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drawn_nets import border_nets, drawn_nets
from fit_bands import prices_of
from qemu_ops import op_instructions
from sparse_cases import drawn_convs, sparse_plan

from joulet.boards import Board, board_table, load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES, NO_INDEX
from joulet.container.needs import isa_needs, stored_copies
from joulet.container.read import Container
from joulet.emulator.cycle_model import CYCLES_PER_INSTRUCTION
from joulet.emulator.qemu import tells_clock
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.firmware.board_files import runs_on
from joulet.live.measure import measured_costs
from joulet.plan.copies import planned_copies, shared_copies
from joulet.plan.kernel_costs import kernel_choice, op_cycles, op_work
from joulet.plan.packings import SPARSE_PACKERS
from joulet.plan.work import work_class
from joulet.tools.engines import open_board

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "firmware" / "boards" / "cycles"
MODELS = ("kws_ref_model_int8", "vww_96_int8", "ic_resnet8_int8", "ad01_int8")
SMALL = ("pools", "arithmetic", "movement", "activations", "resize", "dense")
MODEL_LIMIT, STEP_LIMIT, STEPS_WITHIN = 0.03, 0.20, 0.9
UNSEEN = 90_001  # the first seed of networks that no table is fitted on
Key = tuple[str, str, str]  # set of kernels, class of work, reading


@dataclass(frozen=True, slots=True)
class Counted:
    """Ops that were counted together, mostly one: the kernel and the work of each, and cycles of all."""

    ops: tuple[tuple[Key, dict[str, float]], ...]
    cycles: float

    @property
    def key(self) -> Key:
        """Kernel of the first one."""
        return self.ops[0][0]


def sample_of(container: bytes) -> tuple[np.ndarray, ...]:
    """Return one random input."""
    rng = np.random.default_rng(0)
    arrays = []
    for info in HostEngine(container, isa="REF").inputs:
        if info.dtype.kind == "f":
            arrays.append(rng.standard_normal(info.shape).astype(info.dtype))
        else:
            limits = np.iinfo(np.dtype(info.dtype.str))
            arrays.append(rng.integers(limits.min, limits.max, info.shape, info.dtype.str, endpoint=True))
    return tuple(arrays)


def work_on(container: Container, isa: str, precision: int) -> list[tuple[Key, dict[str, float]]]:
    """Return kernel and work of each op of a container."""
    stored = None if isa == "REF" else stored_copies(container, isa)
    needs = [None] * len(container.ops) if stored is None else isa_needs(container, CODES["Isa"][isa])
    layers = container.layers.reshape(len(container.precisions), len(container.weights))
    found = []
    for op, record in enumerate(container.ops):
        weight = int(record["weight"])
        bits = 0 if weight == NO_INDEX else int(layers[precision, weight]["bits"])
        choice = kernel_choice(container, op, bits, isa, needs[op], stored or frozenset())
        key = (choice.kernels, work_class(container, op, choice.kernels), choice.reading)
        found.append((key, op_work(container, op, choice)))
    return found


def by_op(board: Board) -> bool:
    """Tell whether single ops can be counted on a board."""
    table = board_table(board.name)
    return runs_on("virtual", table) or tells_clock(str(table["firmware"]["timer"]["driver"]))


def in_sum(data: bytes, board: Board) -> dict[int, float]:
    """Return the cycles of whole inferences by precision, from the instructions that QEMU counts."""
    container = Container.from_bytes(data)
    sample = [array[None] for array in sample_of(data)]
    cycles = {}
    with open_board(f"qemu:{board.name}", {"model": data}) as (link, counter):
        engine = BoardEngine(data, link, counter=counter)
        for index, each in enumerate(container.paths):
            precision = int(each["precisions"][0])
            if container.precisions[precision]["is_f32"] or precision in cycles:
                continue
            result = engine.infer(sample, path=engine.path_names[index], depth=len(container.exits) - 1)
            cycles[precision] = float(result.instructions[0]) * CYCLES_PER_INSTRUCTION[board.core]
    return cycles


def op_by_op(data: bytes, board: Board) -> np.ndarray:
    """Return the cycles of each op at each precision, as a virtual board or QEMU counts them."""
    if runs_on("virtual", board_table(board.name)):
        return measured_costs(data, board.name, sample_of(data)).cycles.astype(np.float64)
    return op_instructions(data, board.name, sample_of(data)) * CYCLES_PER_INSTRUCTION[board.core]


def count(data: bytes, board: Board, isa: str) -> Iterator[Counted]:
    """Yield what was counted of a container: each op, or each inference."""
    container = Container.from_bytes(data)
    if not by_op(board):
        for precision, cycles in in_sum(data, board).items():
            yield Counted(tuple(work_on(container, isa, precision)), cycles)
        return
    measured = op_by_op(data, board)
    for precision in range(len(container.precisions)):
        if container.precisions[precision]["is_f32"]:
            continue
        for op, work in enumerate(work_on(container, isa, precision)):
            yield Counted((work,), measured[precision, op])


def sparse_ones(board: Board, seed: int, draws: int) -> list[Counted]:
    """Count drawn convolutions with absent blocks, where the board's kernels skip them."""
    if board.isa not in SPARSE_PACKERS:
        return []
    return [row for net in drawn_convs(seed, draws) for row in count(sparse_plan(net, board.isa), board, board.isa)]


def of_network(name: str, model: bytes, board: Board) -> list[Counted]:
    """Count the ops of a network with each kernel and reading that there is."""
    nested = compile_model(model, exits="off", precisions=("w8", "w4"), name=name).container
    rows = list(count(nested, board, "REF"))
    copies = None if board.isa == "REF" else planned_copies(Container.from_bytes(nested), board)
    if copies is not None:  # what fits the slot
        rows += count(with_isa_plan(nested, board.isa, copies=copies), board, board.isa)
        rows += shared(nested, board)
    if name.partition("_")[0] in ("image", "windows", "dense"):
        plain = compile_model(model, exits="off", precisions=("w8",), name=name).container
        rows += count(plain, board, "REF")
    return rows


def convs(board: Board, seed: int, draws: int) -> list[Counted]:
    """Count the drawn convolutions of several pixels alone, with all of their blocks."""
    return [
        row
        for name, model in drawn_nets(seed, draws)
        if name.startswith("image")
        for row in of_network(name, model, board)
        if row.key[1] in ("conv", "conv1x1") and row.key[2] != "sparse"
    ]


def everything(board: Board, seed: int, draws: int) -> list[Counted]:
    """Count the drawn layers and the small models, with each kernel and reading that there is."""
    nets = [
        (path.stem, path.read_bytes())
        for name in SMALL
        for path in (ROOT / "tests" / "models").glob(f"{name}_int8.tflite")
    ]
    rows = [row for name, model in [*nets, *drawn_nets(seed, draws)] for row in of_network(name, model, board)]
    return rows + borders(board, seed, draws) + sparse_ones(board, seed, draws)


def borders(board: Board, seed: int, draws: int) -> list[Counted]:
    """Count the ops at a model's borders, which only the reference kernels run, each alone."""
    rows: list[Counted] = []
    for name, model in border_nets(seed, draws // 3):
        rows += count(compile_model(model, exits="off", precisions=("w8",), name=name).container, board, "REF")
    return rows


def shared(nested: bytes, board: Board) -> list[Counted]:
    """Count a container with the packed copies that serve both precisions, where the board's kernels have such."""
    decoded = Container.from_bytes(nested)
    copies = shared_copies(decoded, board.isa, isa_needs(decoded, CODES["Isa"][board.isa]))
    if not copies:
        return []
    rows = count(with_isa_plan(nested, board.isa, copies=frozenset(copies)), board, board.isa)
    return [row for row in rows if row.key[2].startswith("shared")]


def before(target: Path) -> tuple[dict[Key, dict[str, float]], dict[Key, str]]:
    """Return a table as it stands, and what is noted beside its entries."""
    text = target.read_text(encoding="utf-8")
    table = {
        (kernels, work, reading): units
        for kernels, works in tomllib.loads(text).items()
        if isinstance(works, dict) and kernels != "bands"
        for work, readings in works.items()
        for reading, units in readings.items()
    }
    noted = re.findall(r"^\[(\w+)\.(\w+)\.(\w+)\]  # (.*)$", text, re.MULTILINE)
    return table, {(kernels, work, reading): note for kernels, work, reading, note in noted}


def fitted(rows: list[Counted]) -> dict[Key, dict[str, float]]:
    """Return the cycles of each unit of work: least squares of the relative error, none below 0."""
    groups: dict[Key | None, list[Counted]] = defaultdict(list)
    alone = all(len(row.ops) == 1 for row in rows)
    for row in rows:
        groups[row.key if alone else None].append(row)
    table: dict[Key, dict[str, float]] = {}
    for group in groups.values():
        columns = sorted({(key, name) for row in group for key, work in row.ops for name in work})
        if alone and len({tuple(sorted(row.ops[0][1].items())) for row in group}) == 1:
            # ops of one size do not tell a call's share from an output's
            columns = [column for column in columns if column[1] == "output"] or columns
        place = {column: index for index, column in enumerate(columns)}
        matrix = np.zeros((len(group), len(columns)))
        for index, row in enumerate(group):
            for key, work in row.ops:
                for name in work.keys() & {name for column, name in columns if column == key}:
                    matrix[index, place[key, name]] += work[name]
        matrix /= np.array([row.cycles for row in group])[:, None]
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
        solved = nnls(matrix / scale, np.ones(len(group)), maxiter=50 * len(columns))[0] / scale
        for (key, name), value in zip(columns, solved, strict=True):
            table.setdefault(key, {})
            if value > 0:
                table[key][name] = float(f"{value:.4g}")
    return table


def predicted(row: Counted, table: dict[Key, dict[str, float]]) -> float:
    """Return the cycles that a table has for what was counted."""
    return sum(table[key].get(name, 0.0) * amount for key, work in row.ops for name, amount in work.items())


def quality(rows: list[Counted], table: dict[Key, dict[str, float]]) -> dict[Key, str]:
    """Return how far off a table is, by kernel."""
    errors = defaultdict(list)
    for row in rows:
        if len(row.ops) == 1:
            errors[row.key].append(predicted(row, table) / row.cycles - 1)
    return {
        key: f"{len(each)} ops, rms {np.sqrt(np.mean(np.square(each))):.1%}, {min(each):+.0%} to {max(each):+.0%}"
        for key, each in errors.items()
    }


def written(core: str, board: str, table: dict[Key, dict[str, float]], notes: dict[Key, str]) -> str:
    """Return the file."""
    by_qemu = not runs_on("virtual", board_table(board))
    how = "op by op" if by_op(load_board(board)) else "in sums over whole networks"
    how += ", instructions times the mean cycles of one" if by_qemu else ""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        f"# Written by tests/studies/fit_cycles.py --board {board} --write; do not edit.",
        "# Cycles a unit of work (runtime/plan/work.py): set of kernels, class of work, way of reading weights.",
        "",
        f'core = "{core}"',
        f'provenance = """modelled: our kernels on the emulated {core}, counted {how}, memory without wait \\',
        'states, fitted on drawn layers by tests/studies/fit_cycles.py, which prints how far off MLPerf Tiny is"""',
    ]
    for key in sorted(table):
        lines += ["", f"[{'.'.join(key)}]" + (f"  # {notes[key]}" if key in notes else "")]
        lines += [f"{name} = {value}" for name, value in sorted(table[key].items())]
    return "\n".join(lines) + "\n"


def check(board: Board, shared: Path) -> bool:
    """Compare predicted and counted on the MLPerf Tiny models; tell whether all are near enough."""
    fine = True
    near = steps = 0
    for name in MODELS:
        nested = compile_model(shared / "data" / "mlperf_tiny" / "models" / f"{name}.tflite", exits="off").container
        for isa in dict.fromkeys(("REF", board.isa)):
            data = nested if isa == "REF" else with_isa_plan(nested, isa)
            container = Container.from_bytes(data)
            model = op_cycles(container, board.cycles, isa, None if isa == "REF" else stored_copies(container, isa))
            single = by_op(board)
            counted = op_by_op(data, board) if single else in_sum(data, board)
            for precision, label in enumerate(container.precision_names):
                if container.precisions[precision]["is_f32"]:
                    continue
                whole, total = float(np.sum(counted[precision])), float(model[precision].sum())
                errors = model[precision] / counted[precision] - 1 if single else np.array([total / whole - 1])
                fine &= abs(total / whole - 1) <= MODEL_LIMIT
                near += int((np.abs(errors) <= STEP_LIMIT).sum())
                steps += len(errors)
                off = [
                    f"{op} {work_class(container, op, isa)} {e:+.0%} of {counted[precision, op]:,.0f}"
                    for op, e in enumerate(errors)
                    if abs(e) > STEP_LIMIT
                ]
                print(
                    f"{name:<20} {isa:<8} {label:<4} predicted {total:>13,.0f} counted {whole:>13,.0f} "
                    f"{total / whole - 1:+7.1%}  steps {errors.min():+.0%} to {errors.max():+.0%}"
                    + (f"; off: {', '.join(off)}" if off else "")
                )
    print(f"{near} of {steps} steps within {STEP_LIMIT:.0%}")
    return fine and near >= STEPS_WITHIN * steps


def check_unseen(board: Board, draws: int) -> None:
    """Print how far off the table is on drawn networks that it was not fitted on: by kernel, and of whole networks."""
    table = {
        (kernels, work, reading): dict(units)
        for (kernels, work), readings in board.cycles.kernels.items()
        for reading, units in readings.items()
    }
    rows: list[Counted] = []
    wholes = []
    for name, model in drawn_nets(UNSEEN, draws):
        nested = compile_model(model, exits="off", precisions=("w8", "w4"), name=name).container
        for isa in dict.fromkeys(("REF", board.isa)):
            here = list(count(nested if isa == "REF" else with_isa_plan(nested, isa), board, isa))
            wholes.append(sum(predicted(row, table) for row in here) / sum(row.cycles for row in here) - 1)
            rows += here
    rows += [row for row in sparse_ones(board, UNSEEN, 4 * draws) if row.key[2] == "sparse"]
    for key, note in sorted(quality(rows, table).items()):
        print(f"unseen {'.'.join(key):<32} {note}")
    rms = np.sqrt(np.mean(np.square(wholes)))
    print(f"unseen: {len(wholes)} whole networks, rms {rms:.1%}, {min(wholes):+.1%} to {max(wholes):+.1%}")


def main() -> int:
    """Fit and check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--board", default="virtual_m4", help="a virtual board, or one that QEMU has")
    parser.add_argument("--shared", type=Path, help="folder with data/mlperf_tiny, for the check")
    parser.add_argument("--check", action="store_true", help="do not fit; check the table as it is")
    parser.add_argument("--write", action="store_true", help="write the table of the board's core")
    parser.add_argument(
        "--borders", action="store_true", help="fit only quantize, dequantize and argmax, and keep the rest"
    )
    parser.add_argument(
        "--sparse", action="store_true", help="fit the kernels that skip absent blocks alone; the rest stays"
    )
    parser.add_argument("--convs", action="store_true", help="fit convolutions of several pixels alone; the rest stays")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=60, help="networks of each of four kinds (60)")
    parser.add_argument(
        "--unseen", type=int, default=0, metavar="N", help="check on so many networks of each kind of other draws too"
    )
    args = parser.parse_args()
    table = board_table(args.board)
    target = TABLES / f"{table['cycles']['kernels']}.toml"
    board = load_board(args.board)
    if not args.check:
        part = borders if args.borders else sparse_ones if args.sparse else convs if args.convs else None
        rows = (part or everything)(board, args.seed, args.draws)
        found = fitted(rows)
        notes = quality(rows, found)
        for key, note in sorted(notes.items()):
            print(f"{'.'.join(key):<32} {note}")
        if part is not None:
            kept, noted = before(target)
            found, notes = kept | found, noted | notes
        if args.write:
            text = written(board.core, args.board, found, notes)
            bands = prices_of(target.read_text(encoding="utf-8"))
            target.write_text(f"{text}\n{bands}", encoding="utf-8")
            print(f"written to {target.relative_to(ROOT)}")
        kernels = {}
        for (kernel_set, work, reading), units in found.items():
            kernels.setdefault((kernel_set, work), {})[reading] = units
        board = replace(board, cycles=replace(board.cycles, kernels=kernels))
    if args.unseen:
        check_unseen(board, args.unseen)
    if args.shared is None:
        return 0
    return 0 if check(board, args.shared) else 1


if __name__ == "__main__":
    sys.exit(main())
