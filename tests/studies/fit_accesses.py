# SPDX-License-Identifier: Apache-2.0
"""Fit how often a core's kernels access tensors, and check it on networks that it was not fitted on.

    python tests/studies/fit_accesses.py                                   # prints what the table is off
    python tests/studies/fit_accesses.py --write                           # and writes firmware/boards/accesses
    python tests/studies/fit_accesses.py --shared ../shared --check        # only checks, on MLPerf Tiny
    python tests/studies/fit_accesses.py --helium --write                  # the Cortex-M55's, from the loops of its kernels

Drawn layers (tests/drawn_nets.py) and the small models of tests/models run on the virtual board with two memories, all tensors in
the slow one and scratch in the fast one, so that what the emulator counts of an op are its reads of inputs and its writes of the
output; once with packed weights and once with the reference kernels. Least squares, no coefficient below 0. Checked on the four
MLPerf Tiny models. Exit code 1 when the accesses of a whole model are off by more than 5 %.

Nothing here counts accesses on a Cortex-M55. Its kernels' loops load and store vectors, which `HELIUM` says of each; the reference
kernels', which are the same C, are taken to be the M4's.
"""

from __future__ import annotations

import argparse
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from drawn_nets import border_nets, drawn_nets
from fit_cycles import MODELS, SMALL, sample_of

from joulet.boards import AccessModel, load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.container.layout import CODES
from joulet.container.needs import isa_needs, stored_copies
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.board import BoardEngine
from joulet.errors import PlanError
from joulet.link import connect
from joulet.plan.accesses import access_counts, op_accesses
from joulet.plan.kernel_costs import kernel_choice
from joulet.plan.memories import TwoMemories
from joulet.plan.work import work_class

ROOT = Path(__file__).resolve().parents[2]
TABLES = ROOT / "firmware" / "boards" / "accesses"
BOARD = "virtual_m4_two"
LIMIT = 0.05
# what reads of inputs depend on where kernels read words; the rest is fitted on all counts
READS = {
    ("ARMV7EM", "conv"): ("patch_words", "border"),
    ("ARMV7EM", "conv1x1"): ("patch_words", "left"),
    ("ARMV7EM", "fc"): ("call", "vector_words", "left"),
}
# loads of inputs and stores of outputs in the loops of csrc/kernels/mve, by the counts of runtime/plan/work_mve.py
_CONV = ({"copied": 1.0, "short_row": 1.0}, {"group": 3.0})
HELIUM: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "conv": _CONV,
    "conv1x1": _CONV,
    "fc": ({"copied": 1.0, "short_row": 1.0, "read": 1.0}, {"group": 1.0}),
    "dwconv": (
        {"three": 3.0, "three_part": 3.0, "turned": 1.0, "tap": 1.0},
        {"group_3": 3.0, "group_2": 2.0, "any": 1.0, "group": 1.0},
    ),
    "avgpool": ({"tap": 1.0}, {"output": 1.0}),
    "add": ({"group": 2.0, "call": 2.0}, {"group": 1.0, "call": 1.0}),
}
Key = tuple[str, str]  # set of kernels, class of work
Row = tuple[Key, dict[str, float], int, int]  # work, reads and writes of one op


def counted(container: bytes) -> list[tuple[int, int]]:
    """Return reads and writes of the slow memory of each op, to the last exit at the first path."""
    board = VirtualBoard(BOARD)
    board.load(board.facts.slots["model"].address, container)
    board.power_on()
    with connect(VirtualPort(board)) as link:
        engine = BoardEngine(container, link)
        engine.start(sample_of(container), 0)
        board.op_accesses.clear()
        engine.run_to_exit(engine.n_exits - 1)
    return list(board.op_accesses)


def all_slow(content: bytes, copies: frozenset[tuple[int, int]] | None) -> bytes:
    """Return a container whose tensors lie in the slow memory, all of them."""
    board = load_board(BOARD)
    assert board.slow is not None
    n_tensors = len(Container.from_bytes(content).tensors)
    two = TwoMemories(
        fast_bytes=board.slow.fast_arena_bytes,
        slow_bytes=board.slow.bytes,
        wait_cycles=(0.0,) * n_tensors,
        slow=frozenset(range(n_tensors)),
    )
    return with_isa_plan(content, board.isa, copies=copies, memories=two)


def kernels_of(container: Container, op: int) -> str:
    """Return the set of kernels that runs an op at the first precision."""
    isa = load_board(BOARD).isa
    weight = int(container.ops[op]["weight"])
    bits = 0 if weight == 0xFFFF else int(container.layers[weight]["bits"])
    needs = isa_needs(container, CODES["Isa"][isa])
    return kernel_choice(container, op, bits, isa, needs[op], stored_copies(container, isa) or frozenset()).kernels


def rows_of(planned: bytes) -> Iterator[Row]:
    """Yield what was counted of each op."""
    container = Container.from_bytes(planned)
    for op, (reads, writes) in enumerate(counted(planned)):
        kernels = kernels_of(container, op)
        yield (kernels, work_class(container, op, kernels)), access_counts(container, op, kernels), reads, writes


def everything(seed: int, draws: int) -> list[Row]:
    """Count drawn layers and small models, with packed weights and without."""
    small = [ROOT / "tests" / "models" / f"{name}_int8.tflite" for name in SMALL]
    nets = [*((path.stem, path.read_bytes()) for path in small if path.is_file()), *drawn_nets(seed, draws)]
    rows: list[Row] = []
    for name, model in [*nets, *border_nets(seed, max(draws // 3, 1))]:
        content = compile_model(model, exits="off", precisions=("w8",), name=name).container
        for copies in (None, frozenset()):
            try:
                rows += rows_of(all_slow(content, copies))
            except PlanError:  # scratch that the fast memory has not
                continue
    return rows


def fitted(rows: list[Row], which: int) -> dict[Key, dict[str, float]]:
    """Return accesses for each unit of work."""
    groups: dict[Key, list[Row]] = defaultdict(list)
    for row in rows:
        groups[row[0]].append(row)
    table: dict[Key, dict[str, float]] = {}
    for key, group in groups.items():
        names = sorted({name for _, work, _, _ in group for name in work})
        names = list(READS.get(key, names)) if which == 2 else names
        seen = np.array([row[which] for row in group], float)
        weight = 1.0 / np.maximum(seen, 16.0)
        matrix = np.array([[row[1].get(name, 0.0) for name in names] for row in group]) * weight[:, None]
        scale = np.maximum(np.abs(matrix).max(axis=0), 1e-12)
        solved = nnls(matrix / scale, seen * weight, maxiter=50 * len(names))[0] / scale
        table[key] = {name: float(f"{value:.4g}") for name, value in zip(names, solved, strict=True) if value > 1e-6}
    return table


def quality(rows: list[Row], model: AccessModel) -> dict[Key, str]:
    """Return how far off a model is where it was fitted, by kernel."""
    errors: dict[Key, list[float]] = defaultdict(list)
    for key, work, reads, writes in rows:
        for units, seen in ((model.reads, reads), (model.writes, writes)):
            said = sum(each * work.get(name, 0.0) for name, each in units[key].items())
            errors[key].append((said - seen) / max(seen, 16.0))
    return {
        key: f"{len(each) // 2} ops, rms {np.sqrt(np.mean(np.square(each))):.1%}, {min(each):+.0%} to {max(each):+.0%}"
        for key, each in errors.items()
    }


def helium(model: AccessModel) -> AccessModel:
    """Return the accesses of a Cortex-M55, from those of the M4's reference kernels and what its own loops say."""
    reads = {key: units for key, units in model.reads.items() if key[0] == "REF"}
    writes = {key: units for key, units in model.writes.items() if key[0] == "REF"}
    for work, (loads, stores) in HELIUM.items():
        reads["MVE", work], writes["MVE", work] = loads, stores
    return AccessModel(reads=reads, writes=writes, provenance=model.provenance)


FITTED = (
    "modelled: accesses of our kernels, counted op by op on the emulated cortex-m4, fitted on drawn layers \\\n"
    "by tests/studies/fit_accesses.py, which prints how far off MLPerf Tiny is"
)
DERIVED = (
    "modelled: loads and stores in the loops of our kernels for Helium, read off their source and not counted; \\\n"
    "of the reference kernels those counted on the emulated cortex-m4: tests/studies/fit_accesses.py --helium"
)


def written(core: str, options: str, provenance: str, model: AccessModel, notes: dict[Key, str]) -> str:
    """Return the file."""
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        f"# Written by tests/studies/fit_accesses.py {options}--write; do not edit.",
        "# Accesses a unit of work (runtime/plan/accesses.py): set of kernels, class of work, of inputs and of the output.",
        "",
        f'core = "{core}"',
        f'provenance = """{provenance}"""',
    ]
    for key in sorted(model.reads):
        for kind, units in (("reads", model.reads[key]), ("writes", model.writes[key])):
            note = f"  # {notes[key]}" if key in notes and kind == "reads" else ""
            lines += [
                "",
                f"[{'.'.join(key)}.{kind}]{note}",
                *(f"{name} = {value}" for name, value in sorted(units.items())),
            ]
    return "\n".join(lines) + "\n"


def check(model: AccessModel, shared: Path) -> bool:
    """Compare predicted and counted on the MLPerf Tiny models; tell whether all are near enough."""
    fine = True
    for name in MODELS:
        path = shared / "data" / "mlperf_tiny" / "models" / f"{name}.tflite"
        planned = all_slow(compile_model(path, exits="off", precisions=("w8",)).container, None)
        container = Container.from_bytes(planned)
        seen = np.array(counted(planned), float)
        said = np.array([op_accesses(container, op, kernels_of(container, op), model) for op in range(len(seen))])
        off = said.sum(axis=0) / np.maximum(seen.sum(axis=0), 1.0) - 1
        whole = said.sum() / seen.sum() - 1
        fine &= abs(whole) <= LIMIT
        print(
            f"{name:<20} reads {said[:, 0].sum():>11,.0f} of {seen[:, 0].sum():>11,.0f} {off[0]:+6.1%}   "
            f"writes {said[:, 1].sum():>9,.0f} of {seen[:, 1].sum():>9,.0f} {off[1]:+6.1%}   all {whole:+.1%}"
        )
    return fine


def main() -> int:
    """Fit and check; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, help="folder with data/mlperf_tiny, for the check")
    parser.add_argument("--check", action="store_true", help="do not fit; check the table as it is")
    parser.add_argument("--write", action="store_true", help="write the table")
    parser.add_argument("--helium", action="store_true", help="the Cortex-M55's table, which nothing is counted for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--draws", type=int, default=24, help="networks of each of four kinds (24)")
    args = parser.parse_args()
    board = load_board(BOARD)
    assert board.slow is not None
    model = board.slow.accesses
    if args.helium:
        text = written("cortex-m55", "--helium ", DERIVED, helium(model), {})
        if args.write:
            (TABLES / "cortex_m55.toml").write_text(text, encoding="utf-8")
        print(text if not args.write else "written to firmware/boards/accesses/cortex_m55.toml")
        return 0
    if not args.check:
        rows = everything(args.seed, args.draws)
        model = replace(model, reads=fitted(rows, 2), writes=fitted(rows, 3))
        notes = quality(rows, model)
        for key, note in sorted(notes.items()):
            print(f"{'.'.join(key):<24} {note}")
        if args.write:
            (TABLES / "cortex_m4.toml").write_text(written("cortex-m4", "", FITTED, model, notes), encoding="utf-8")
    return 0 if args.shared is None or check(model, args.shared) else 1


if __name__ == "__main__":
    sys.exit(main())
