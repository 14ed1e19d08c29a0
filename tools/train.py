# SPDX-License-Identifier: Apache-2.0
"""``joulet train``: fine-tune an int8 model for eight and four bits and all its exits, and write a .jlt container."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from joulet.errors import UsageError
from joulet.tools.compile import progress_lines, report_text, share, write_whole

_HELP = "fine-tune an int8 model for all its operating points (needs PyTorch)"
_DESCRIPTION = """
Fine-tune the weights of an int8 .tflite classifier so that reading all eight bits of a weight and reading only the four
high ones both answer well, at the last exit and at early ones. The imported model teaches the last exit, the last exit
teaches the earlier ones. Fixed as imported are the architecture and every scale; the result is a container like those of
`joulet compile`, whose engine gives exactly the integers that were trained.

One fifth of the samples is held out. It chooses the epoch and sets the confidence tables.
"""
_EPILOG = """
examples:
  joulet train model.tflite --data train.npz --out model.jlt
  joulet train model.tflite --data train.npz --exits 2 --epochs 5 --flip --out model.jlt
  joulet train model.tflite --data train.npz --out model.jlt --resume

TRAIN.npz is like the calibration data of `joulet compile`: input_0 in the model's own dtype, optional labels and groups.
The state is kept in model.jlt.checkpoint until the container is written. pip install 'joulet[train]' brings PyTorch.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "train",
        help=_HELP,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL.tflite", help="int8 classifier")
    parser.add_argument("--data", type=Path, required=True, metavar="TRAIN.npz", help="training data; see below")
    parser.add_argument("--out", "-o", type=Path, required=True, metavar="M.jlt", help="container to write")
    parser.add_argument("--exits", default="off", metavar="auto|N|off", help="early exits to attach (default: off)")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the samples (default: 3)")
    parser.add_argument("--batch", type=int, default=64, help="samples a step (default: 64)")
    parser.add_argument("--rate", type=float, default=0.1, help="largest step of a weight, in 1/256 (default: 0.1)")
    parser.add_argument("--distil", type=float, default=0.7, help="share of the teacher in the loss (default: 0.7)")
    parser.add_argument("--flip", action="store_true", help="mirror half of the images left to right")
    parser.add_argument(
        "--exit-shares", metavar="LIST", help="share of inferences that stop at each exit (default: measured), as 5,3,2"
    )
    parser.add_argument(
        "--mix-bytes", type=share, default=0.7, metavar="60%", help="weight bytes of mix (default: 70%%)"
    )
    parser.add_argument("--board", metavar="NAME", help="add the cost table of this board")
    parser.add_argument("--seed", type=int, default=0, help="of the order of samples (default: 0)")
    parser.add_argument("--resume", action="store_true", help="continue from the checkpoint of an interrupted training")
    parser.add_argument("--force", action="store_true", help="overwrite M.jlt if it is there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.out.is_dir():
        raise UsageError(f"{args.out}: is a folder; give the name of a container to write, such as model.jlt")
    if not args.out.parent.is_dir():
        raise UsageError(f"{args.out}: there is no folder {args.out.parent}; make it first")
    if args.out.exists() and not args.force:
        raise UsageError(f"{args.out}: is there already; give another name, or --force to overwrite it")
    checkpoint = args.out.with_name(f"{args.out.name}.checkpoint")
    from joulet.train.fit import Options
    from joulet.train.front import train_model

    trained = train_model(
        args.model,
        data=args.data,
        exits=args.exits,
        options=Options(
            epochs=args.epochs,
            batch=args.batch,
            rate=args.rate,
            distil=args.distil,
            flip=args.flip,
            seed=args.seed,
        ),
        shares=_numbers(args.exit_shares),
        mix_bytes=args.mix_bytes,
        board=args.board,
        checkpoint=checkpoint,
        resume=args.resume,
        progress=progress_lines(),
    )
    write_whole(args.out, trained.result.container)
    checkpoint.unlink(missing_ok=True)
    report = trained.result.report.to_json()
    epochs = [asdict(e) for e in trained.epochs]
    if args.json:
        print(
            json.dumps({"output": str(args.out), "epochs": epochs, "exit_shares": trained.shares, **report}, indent=2)
        )
        return 0
    print(report_text(args.out, report))
    for e in trained.epochs:
        held = "  ".join(f"{name} {100 * value:.1f} %" for name, value in e.held_out.items())
        print(f"  epoch {e.number}: loss {e.loss:.4f}, held out {held}")
    return 0


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"exit shares {text!r}: give numbers separated by commas, one an exit") from None
