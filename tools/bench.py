# SPDX-License-Identifier: Apache-2.0
"""``joulet bench``: what an inference costs on an engine, along every path and to every exit."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.boards import Board, load_board
from joulet.engine.samples import load_inputs
from joulet.engine.seam import Array, Engine, InferResult, TensorInfo
from joulet.errors import UsageError
from joulet.tools.engines import ENGINES, open_engine

EPILOG = """\
In emulation (virtual:BOARD, qemu:BOARD) instructions are exact: every sample runs twice, and a difference is an error
(exit code 1). Cycles are a model over the instructions executed, energy is cycles x the board's figure; a board on a
serial port counts cycles itself; on the host time is measured, the median of five.
--against litert runs the model that was compiled (--tflite) on LiteRT with XNNPACK in the same process, in turns, one
thread each, and prints the ratio of medians (of the thread's time on the core) and the share of the core's measured peak
of int8 products; --ops prints what each op takes. Both are for the host.

--nested counts w8 from the nested planes without packed copies beside plain int8 weights, both with the reference kernels that
read them, and beside the container as planned: whole and per layer. It is for virtual boards.
--plot draws the roofline of the path: MACs a cycle (boards: MACs and bytes of [roof] in board.toml) or a second (host: the
measured peak) against MACs per byte moved. It is for virtual boards and the host.

  joulet bench kws.jlt --engine virtual:virtual_m4
  joulet bench kws.jlt --engine virtual:virtual_m4 --nested --plot roof.png
  joulet bench kws.jlt --engine qemu:qemu_mps3_an547 --json
  joulet bench kws.jlt --engine host --input clips.npz
  joulet bench kws.jlt --against litert --tflite kws_int8.tflite --ops

With --json: instructions_per_inference and cycles are those of the path --precision (default w8, else the first) to the
last exit, means over samples; rows holds every path and exit.

engines:
{engines}
"""
_REPEATS = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "bench",
        help="instructions, cycles and energy of an inference, per path and exit",
        description="Run a container on an engine and say what an inference costs, along every path to every exit.",
        epilog=EPILOG.format(engines=ENGINES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container from joulet compile")
    parser.add_argument("--engine", default="host", metavar="E", help="where it runs (default host); see below")
    parser.add_argument("--input", type=Path, metavar="IN.npz", help="samples (random ones without)")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="how many samples (1)")
    parser.add_argument("--precision", metavar="NAME", help="only this path (all of them)")
    parser.add_argument("--against", choices=["litert"], help="also run another engine, in turns (host only)")
    parser.add_argument(
        "--tflite", type=Path, metavar="M.tflite", help="the model that the container was compiled from"
    )
    parser.add_argument("--ops", action="store_true", help="print what each op takes (host only)")
    parser.add_argument(
        "--nested",
        action="store_true",
        help="also w8 from nested planes and from plain int8, per layer (virtual boards)",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="draw a roofline of the ops (needs joulet[report])"
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def run(args: argparse.Namespace) -> int:
    """Measure; return the exit code."""
    if args.samples < 1:
        raise UsageError(f"--samples is {args.samples}; it must be 1 or more")
    if (args.against or args.ops) and args.engine.partition(":")[0] != "host":
        raise UsageError(
            f"--against and --ops measure time, which --engine {args.engine} has none of; use --engine host"
        )
    if (args.against is None) != (args.tflite is None):
        raise UsageError("--against litert and --tflite M.tflite go together")
    if args.nested and args.engine.partition(":")[0] != "virtual":
        raise UsageError(f"--nested counts single layers, which --engine {args.engine} does not; use virtual:BOARD")
    if args.plot is not None and args.engine.partition(":")[0] not in ("virtual", "host"):
        raise UsageError(
            f"--plot needs what each op takes, which --engine {args.engine} does not tell; use host or virtual:BOARD"
        )
    with open_engine(args.model, args.engine) as engine:
        paths = [name for name in engine.path_names if not is_float(engine, name)] or list(engine.path_names)
        if args.precision is not None:
            if args.precision not in engine.path_names:
                raise UsageError(f"--precision {args.precision}: this model has {', '.join(engine.path_names)}")
            paths = [args.precision]
        inputs = [array[: args.samples] for array in samples_for(args.input, engine.inputs, args.samples)]
        board = _board(args.engine, engine)
        rows = []
        for path in paths:
            for exit, name in enumerate(engine.exit_names):
                if sys.stderr.isatty():
                    print(f"\r  {path} to {name}    ", end="", file=sys.stderr, flush=True)
                rows.append(_row(engine, inputs, path, exit, board))
        if sys.stderr.isatty():
            print("\r" + 40 * " " + "\r", end="", file=sys.stderr, flush=True)
        result = _result(args, engine, rows, board)
        if args.against or args.ops:
            result |= _on_host(args, engine, paths, inputs, result["path"])
        if args.nested:
            from joulet.tools.bench_nested import nested_rows

            sample = tuple(array[0] for array in inputs)
            result["nested"] = nested_rows(args.model.read_bytes(), args.engine.partition(":")[2], sample)
        if args.plot is not None:
            from joulet.tools.bench_roof import write_roofline

            result["roofline"] = write_roofline(args.plot, engine, args.engine, result["path"], inputs)
    print(json.dumps(result, indent=2) if args.json else _text(result))
    return 0 if result["deterministic"] else 1


def _on_host(
    args: argparse.Namespace, engine: Engine, paths: list[str], inputs: list[Array], wanted: str
) -> dict[str, Any]:
    from joulet.engine.host import HostEngine
    from joulet.tools.bench_host import against_litert, op_rows, peak_gmac_per_s

    assert isinstance(engine, HostEngine)
    result: dict[str, Any] = {"isa": engine.isa}
    if args.against:
        measured = against_litert(engine, args.tflite, paths, inputs)
        chosen = next(row for row in measured["rows"] if row["path"] == wanted)
        result |= {"against": measured, "peak_gmac_per_s": peak_gmac_per_s(engine.isa)}
        result |= {key: chosen[key] for key in ("time_s", "ratio_to_litert", "gmac_per_s")}
    if args.ops:
        result["ops"] = op_rows(engine, wanted)
    return result


def is_float(engine: Engine, path: str) -> bool:
    """Return whether a path computes in f32."""
    container = getattr(engine, "container", None)
    if container is None:
        return False
    precision = int(container.paths[engine.path_names.index(path)]["precisions"][0])
    return bool(container.precisions[precision]["is_f32"])


def _board(spec: str, engine: Engine) -> Board | None:
    kind, _, where = spec.partition(":")
    if kind == "serial":
        from joulet.engine.board import BoardEngine

        assert isinstance(engine, BoardEngine)
        return load_board(engine.board.hello.board)
    return load_board(where) if where else None


def samples_for(path: Path | None, borders: tuple[TensorInfo, ...], count: int) -> list[Array]:
    """Return the samples of a file, or ``count`` random ones."""
    if path is not None:
        return [np.asarray(array) for array in load_inputs(path, borders)]
    rng = np.random.default_rng(0)
    arrays: list[Array] = []
    for info in borders:
        if info.dtype.kind == "f":
            arrays.append(rng.standard_normal((count, *info.shape)).astype(info.dtype))
        else:
            limits = np.iinfo(np.dtype(info.dtype.str))
            arrays.append(rng.integers(limits.min, limits.max, (count, *info.shape), info.dtype.str, endpoint=True))
    return arrays


def _row(engine: Engine, inputs: list[Array], path: str, exit: int, board: Board | None) -> dict[str, Any]:
    counted = engine.infer(inputs, path=path, depth=exit)
    row: dict[str, Any] = {
        "path": path,
        "exit": engine.exit_names[exit],
        "macs": round(float(counted.macs.mean())),
    }
    if board is None:
        seconds = sorted(_seconds(engine, inputs, path, exit) for _ in range(_REPEATS))
        row["time_s"] = seconds[_REPEATS // 2] / len(inputs[0])
        return row
    again = engine.infer(inputs, path=path, depth=exit)
    row["deterministic"] = _same(counted, again)
    if counted.instructions is not None and counted.instructions.any():
        row["instructions_per_inference"] = _mean(counted.instructions)
    if counted.cycles is not None and counted.cycles.any():
        cycles = _mean(counted.cycles)
        row["cycles"] = cycles
        row["cycles_per_mac"] = cycles / row["macs"] if row["macs"] else None
        row["time_s"] = cycles / board.load.clock_hz
        row["energy_j"] = cycles * board.load.energy_pj_per_cycle * 1e-12
    return row


def _mean(counts: npt.NDArray[np.uint64]) -> int | float:
    """Return a whole number where one sample, or the same count for all, makes it one."""
    mean = float(counts.mean())
    return int(mean) if mean.is_integer() else mean


def _same(a: InferResult, b: InferResult) -> bool:
    counts = (a.instructions is None) == (b.instructions is None)
    if a.instructions is not None and b.instructions is not None:
        counts = bool((a.instructions == b.instructions).all())
    return counts and all((x == y).all() for x, y in zip(a.outputs, b.outputs, strict=True))


def _seconds(engine: Engine, inputs: list[Array], path: str, exit: int) -> float:
    start_s = time.perf_counter()
    engine.infer(inputs, path=path, depth=exit)
    return time.perf_counter() - start_s


def _result(
    args: argparse.Namespace, engine: Engine, rows: list[dict[str, Any]], board: Board | None
) -> dict[str, Any]:
    wanted = args.precision or ("w8" if "w8" in engine.path_names else rows[0]["path"])
    chosen = [row for row in rows if row["path"] == wanted][-1]
    result: dict[str, Any] = {
        "model": args.model.name,
        "model_hash": engine.model_hash,
        "engine": args.engine,
        "samples": args.samples,
        "path": chosen["path"],
        "exit": chosen["exit"],
        "deterministic": all(row.get("deterministic", True) for row in rows),
    }
    for key in ("macs", "instructions_per_inference", "cycles", "time_s", "energy_j"):
        if key in chosen:
            result[key] = chosen[key]
    if hasattr(engine, "arena_bytes"):
        result["arena_bytes"] = engine.arena_bytes
    if board is not None:
        result |= {"board": board.name, "core": board.core, "clock_hz": board.load.clock_hz}
        result["provenance"] = {
            "cycles": _source(args.engine, board.core),
            "energy": board.provenance.get("pj_per_cycle", ""),
        }
    return {**result, "rows": rows}


def _source(spec: str, core: str) -> str:
    from joulet.emulator.cycle_model import CYCLES_PER_INSTRUCTION, PROVENANCE

    kind = spec.partition(":")[0]
    if kind == "virtual":
        return PROVENANCE
    if kind == "qemu":
        each = CYCLES_PER_INSTRUCTION[core]
        return f"modelled: instructions (exact) x {each:g} cycles, " + (
            "as no core is meant" if each == 1.0 else "the mean of an instruction on virtual boards"
        )
    return "measured: cycle counter of the core"


def _text(result: dict[str, Any]) -> str:
    about = f"{result['model']} on {result['engine']}"
    if "core" in result:
        about += f" ({result['core']}, {result['clock_hz'] / 1e6:g} MHz)"
    lines = [
        about,
        f"  {'path':<10} {'exit':<10} {'MACs':>12} {'instructions':>14} {'cycles':>14} {'ms':>10} {'uJ':>10}",
    ]
    for row in result["rows"]:
        cells = [
            f"{row['macs']:>12,}",
            _cell(row, "instructions_per_inference", 1, 14, ",.0f"),
            _cell(row, "cycles", 1, 14, ",.0f"),
            _cell(row, "time_s", 1e3, 10, ".3f"),
            _cell(row, "energy_j", 1e6, 10, ",.1f"),
        ]
        lines.append(f"  {row['path']:<10} {row['exit']:<10} {' '.join(cells)}")
    if "arena_bytes" in result:
        lines.append(f"  arena {result['arena_bytes']:,} bytes")
    for what, source in result.get("provenance", {}).items():
        lines.append(f"  {what}: {source}")
    lines += _host_lines(result)
    if "nested" in result:
        from joulet.tools.bench_nested import nested_lines

        lines += nested_lines(result["nested"])
    if "roofline" in result:
        lines.append(f"  roofline of {result['path']}: {result['roofline']['file']}")
    if not result["deterministic"]:
        lines.append("  NOT DETERMINISTIC: two runs of the same sample differ")
    return "\n".join(lines)


def _host_lines(result: dict[str, Any]) -> list[str]:
    lines = []
    if "against" in result:
        measured, peak = result["against"], result["peak_gmac_per_s"]
        calls = ", ".join(f"{name} {seconds * 1e6:.2f}" for name, seconds in measured["call_s"].items())
        lines.append(f"  one inference in turns, medians: LiteRT {measured['litert_s'] * 1e6:.1f} us")
        lines.append(f"  a call from Python, in all of these [us]: {calls}")
        if peak is not None:
            lines.append(f"  peak of {result['isa']} on this core: {peak:.0f} GMAC/s")
        for row in measured["rows"]:
            share = f" {row['gmac_per_s'] / peak:>8.0%} of peak" if peak else ""
            lines.append(
                f"  {row['path']:<10} {row['time_s'] * 1e6:>9.1f} us {row['ratio_to_litert']:>6.2f} of LiteRT"
                f" {row['gmac_per_s']:>8.1f} GMAC/s{share}"
            )
    if "ops" in result:
        lines.append(f"  {'op':>4} {'':<14} {'MACs':>10} {'us':>8} {'GMAC/s':>8}   path {result['path']}")
        for row in result["ops"]:
            lines.append(
                f"  {row['op']:>4} {row['code']:<14} {row['macs']:>10,} {row['time_s'] * 1e6:>8.2f} {row['gmac_per_s']:>8.1f}"
            )
    return lines


def _cell(row: dict[str, Any], key: str, factor: float, width: int, form: str) -> str:
    return f"{row[key] * factor:>{width}{form}}" if key in row else f"{'-':>{width}}"
