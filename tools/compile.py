# SPDX-License-Identifier: Apache-2.0
"""``joulet compile``: turn a .tflite or .onnx model into an adaptive .jlt container."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joulet.boards import load_board
from joulet.errors import UsageError

_HELP = "turn a .tflite or .onnx model into an adaptive .jlt container"
_DESCRIPTION = """
Import a TensorFlow Lite or ONNX model, attach early exits, slice its weights into nested precisions, calibrate the confidence
of every exit, and write one container that holds all of it.

Calibration data is needed for exits, for the bias correction of w4 and mix, and for float models. A few hundred
samples do; exits want ten or more a class. Without labels the model's own answers are taken. Groups (who or what was
recorded, one a sample) keep the confidences honest: exits are judged on groups that they were not fitted on.
"""
_EPILOG = """
examples:
  joulet compile model.tflite -o model.jlt
  joulet compile model.onnx --data cal.npz -o model.jlt
  joulet compile model.tflite --data cal.npz --exits 3 --precisions w8,w4 -o model.jlt
  joulet compile model.tflite --data cal.npz --board nucleo_l4r5zi --json -o model.jlt
  joulet compile model.tflite --board virtual_m4 --ram-limit 30000 -o model.jlt
  joulet compile model.tflite --data cal.npz --board virtual_m4 --sparse 2% -o model.jlt
  joulet compile model.tflite --data cal.npz --recover trade --mix-bytes 60% -o model.jlt

CAL.npz holds input_0, input_1 ... in the model's own dtype, samples first, optional labels and optional groups:
  np.savez("cal.npz", input_0=x, labels=y, groups=people)
Images are NHWC everywhere here, also where an ONNX file has channels first: x.transpose(0, 2, 3, 1).
Several outputs of one shape, each a classifier, become exits in order of depth.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compile",
        help=_HELP,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, nargs="+", metavar="MODEL", help=".tflite or .onnx, int8, uint8 or float")
    parser.add_argument("--data", type=Path, metavar="CAL.npz", help="calibration data; see below")
    parser.add_argument("--exits", default="auto", metavar="auto|N|off", help="early exits to attach (default: auto)")
    parser.add_argument(
        "--precisions",
        default="w8,w4,mix",
        metavar="LIST",
        help="out of w8, w4, mix, f32, separated by commas (default: w8,w4,mix)",
    )
    parser.add_argument("--board", metavar="NAME", help="add the cost table of this board")
    parser.add_argument(
        "--ram-limit",
        type=int,
        metavar="BYTES",
        help="add a plan for the board named, with tensors and scratch in so many bytes: ops run in bands of rows "
        "where whole tensors take more",
    )
    parser.add_argument(
        "--recover",
        choices=("exact", "trade"),
        default="exact",
        help="how w4 and mix are made good: exact keeps w8 the imported model to the byte and corrects biases; "
        "trade rounds the high nibbles anew, w8 moves a little (default: exact)",
    )
    parser.add_argument(
        "--mix-bytes", type=share, metavar="60%", help="weight bytes of mix as a share of those of w8 (default: 70%%)"
    )
    parser.add_argument(
        "--mix-cycles", type=share, metavar="90%", help="instead: cycles of its layers as a share, on the board named"
    )
    parser.add_argument(
        "--sparse",
        type=share,
        metavar="1%",
        help="leave out blocks of weights where that saves cycles on the board named, as long as no more of the answers change "
        "(default: none)",
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="M.jlt", help="container to write")
    parser.add_argument("--seed", type=int, default=0, help="of the draw from very large calibration sets (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def share(text: str) -> float:
    """Return a share written as ``60%`` or ``0.6``."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: give a share such as 60% or 0.6") from None


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    from joulet.compile import compile_model

    if len(args.model) > 1:
        more = ",".join(str(path) for path in args.model[1:])
        raise UsageError(
            f"a container holds one network, {len(args.model)} files were given: compile one, or run them as a ladder: "
            f"joulet infer {args.model[0]} --engine litert:{more}"
        )
    if args.output.is_dir():
        raise UsageError(f"{args.output}: is a folder; give the name of a container to write, such as model.jlt")
    if not args.output.parent.is_dir():
        raise UsageError(f"{args.output}: there is no folder {args.output.parent}; make it first")
    if args.ram_limit is not None and args.board is None:
        raise UsageError("--ram-limit: what kernels need differs between boards; name one with --board")
    precisions = tuple(part.strip() for part in args.precisions.split(",") if part.strip())
    result = compile_model(
        args.model[0],
        data=args.data,
        exits=args.exits,
        precisions=precisions,
        board=args.board,
        recover=args.recover,
        mix_bytes=args.mix_bytes,
        mix_cycles=args.mix_cycles,
        sparse=args.sparse,
        progress=progress_lines(),
        seed=args.seed,
    )
    container = result.container
    if args.ram_limit is not None or (args.board is not None and load_board(args.board).slow is not None):
        from joulet.plan.on_board import planned_for

        container = planned_for(container, args.board, ram_limit=args.ram_limit)
    write_whole(args.output, container)
    report = result.report.to_json()
    if args.json:
        print(json.dumps({"output": str(args.output), **report}, indent=2))
    else:
        print(report_text(args.output, report))
    return 0


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(name, 0o666 & ~mask)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def progress_lines() -> Callable[[str, int, int], None]:
    """Return a reporter for people: one line a task on a terminal, one line at its end elsewhere."""
    state: dict[str, Any] = {"task": "", "shown": 0.0}
    live = sys.stderr.isatty()

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if live:
            if what != state["task"] and state["task"]:
                sys.stderr.write("\n")
            if what != state["task"] or done == total or now - state["shown"] > 0.1:
                sys.stderr.write(f"\r  {what}  {done}/{total}" + ("\n" if done == total else ""))
                sys.stderr.flush()
                state["shown"] = now
            state["task"] = "" if done == total else what
        elif done == total or (what != state["task"] and done == 0):
            print(f"  {what}", file=sys.stderr, flush=True)
            state["task"] = what

    return show


def report_text(output: Path, report: dict[str, Any]) -> str:
    """Return a compilation's report for people."""
    lines = [f"{output}: {report['name']}, {report['container_bytes']:,} bytes, model {str(report['model_hash'])[:16]}"]
    before, after = int(report["macs_imported"]), int(report["macs"])
    saved = f" ({before:,} before dead channels were removed)" if before > after else ""
    lines.append(f"  {after:,} MACs an inference{saved}; {report['calibration_samples']} calibration samples")
    lines.append("  precision   weights read   mean bits")
    for p in _rows(report, "precisions"):
        lines.append(f"  {p['name']:<10} {p['weight_bytes']:>10,} B   {p['mean_bits']:>9.2f}")
    lines.append("  exit        origin        MACs   share")
    for e in _rows(report, "exits"):
        lines.append(f"  {e['name']:<10} {e['origin']:<9} {e['macs']:>10,}  {100 * e['share']:5.1f} %")
    paths = _rows(report, "paths")
    if paths:
        names = "  ".join(f"{e['name']:>7}" for e in _rows(report, "exits"))
        lines.append(f"  path        {names}      auto    MACs  (accuracy on the calibration set)")
    for path in paths:
        shares = "  ".join(f"{100 * a:5.1f} %" for a in path["accuracies"])
        auto = f"{100 * path['auto_accuracy']:5.1f} %  {100 * path['auto_macs_share']:5.1f} %"
        lines.append(f"  {path['name']:<10}  {shares}   {auto}")
    for path in paths:
        errors = "  ".join(f"{100 * e:5.1f} %" for e in path["calibration_errors"])
        lines.append(f"  {path['name']:<10}  {errors}   expected calibration error")
    lines.extend(f"  note: {note}" for note in report["notes"])
    return "\n".join(lines)


def _rows(report: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return list(report[key])
