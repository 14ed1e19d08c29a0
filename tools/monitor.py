# SPDX-License-Identifier: Apache-2.0
"""``joulet monitor``: what a board says of itself, as it happens."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from joulet.errors import LinkError, UsageError
from joulet.link import Board, Runner, open_port, recover, wire
from joulet.link.client import Hello
from joulet.link.frames import Frame
from joulet.tools.engines import open_board
from joulet.units import format_quantity, parse_quantity

EPILOG = """\
TARGET is a serial port (/dev/ttyACM0, COM3, or an URL of pyserial such as socket://host:port), or a board that is a
program: virtual:BOARD, qemu:BOARD.

  joulet monitor /dev/ttyACM0
  joulet monitor /dev/ttyACM0 --run --every 5s --for 1h --json > board.jsonl
  joulet monitor /dev/ttyACM0 --ascii --send name --send profile
  joulet monitor virtual:virtual_m4 --model kws.jlt --for 3s

The board is greeted (HELLO), then asked for its sensors and its ledger at every interval; events come by themselves.
With --run its autonomous loop is started; the SESSION slot must hold a plan. With --json each line is an object with a
type: hello, sensors, ledger, event, log. Ctrl-C ends it and sends the board back to ASCII.
"""
Tell = Callable[[str, dict[str, Any]], None]
_STATUS = {code: name.lower() for name, code in wire.CODES["EventStatus"].items()}
_ACCOUNTS = (
    "harvested", "compute", "redone", "abandoned", "sleep", "sensing", "policy", "conversion", "leakage", "clipped",
    "refit",
)  # fmt: skip


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "monitor",
        help="what a board says of itself, as it happens",
        description="Watch a board over its serial line: who it is, its store, its ledger, each event it answers.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="TARGET", help="port, URL, virtual:BOARD or qemu:BOARD")
    parser.add_argument("--every", default="1s", metavar="T", help="between questions (1s)")
    parser.add_argument("--for", dest="duration", metavar="T", help="how long (until Ctrl-C)")
    parser.add_argument("--run", action="store_true", help="start the board's autonomous loop")
    parser.add_argument(
        "--model", type=Path, metavar="M.jlt", help="container in the flash of a board that is a program"
    )
    parser.add_argument("--ascii", action="store_true", help="stay in the runner's protocol and show its lines")
    parser.add_argument(
        "--send", action="append", default=[], metavar="TEXT", help="with --ascii: a command, without %%"
    )
    parser.add_argument("--baud", type=int, default=115_200, metavar="N", help="of a serial port (115200)")
    parser.add_argument("--json", action="store_true", help="print JSON Lines")


def run(args: argparse.Namespace) -> int:
    """Watch; return the exit code."""
    every_s = parse_quantity(args.every, "s", what="--every")
    duration_s = math.inf if args.duration is None else parse_quantity(args.duration, "s", what="--for")
    if args.send and not args.ascii:
        raise UsageError("--send goes with --ascii")
    tell = _tell_json if args.json else _tell_text
    try:
        if args.ascii:
            _watch_ascii(args, duration_s, tell)
        else:
            with _board(args) as board:
                _watch(board, every_s, duration_s, args.run, tell)
    except KeyboardInterrupt:
        print("joulet: stopped", file=sys.stderr)
    return 0


@contextmanager
def _board(args: argparse.Namespace) -> Iterator[Board]:
    kind = args.target.partition(":")[0]
    if kind not in ("virtual", "qemu"):
        if args.model is not None:
            raise UsageError(
                "--model goes with virtual:BOARD and qemu:BOARD; joulet flash puts a model onto a real board"
            )
        from joulet.link import connect

        with connect(args.target, baud=args.baud) as board:
            yield board
        return
    if args.model is not None and not args.model.is_file():
        raise UsageError(f"cannot read '{args.model}': no such file; make one with joulet compile")
    with open_board(args.target, {} if args.model is None else {"model": args.model.read_bytes()}) as (board, _):
        yield board


def _watch(board: Board, every_s: float, duration_s: float, go: bool, tell: Tell) -> None:
    tell("hello", _hello(board.hello))
    board.events = lambda frame: _event(frame, tell)
    if go:
        board.run(True)
    end_s = time.monotonic() + duration_s
    while True:
        next_s = time.monotonic() + every_s
        tell("sensors", _sensors(board))
        tell("ledger", _ledger(board))
        while (left_s := min(next_s, end_s) - time.monotonic()) > 0.0:
            if not board.pump(min(left_s, 0.2)):
                time.sleep(min(0.01, max(0.0, left_s)))
        if time.monotonic() >= end_s:
            return


def _hello(hello: Hello) -> dict[str, Any]:
    return {
        "board": hello.board,
        "build_id": hello.build_id.hex(),
        "model_hash": hello.model_hash,
        "model_status": hello.model_status,
        "policy_status": hello.policy_status,
        "clock_hz": hello.clock_hz,
        "work_bytes": hello.work_bytes,
        "arena_bytes": hello.arena_bytes,
        "resets": hello.resets,
        "caps": sorted(name.lower() for name in hello.caps),
    }


def _sensors(board: Board) -> dict[str, Any]:
    record = board.sensors()
    valid = int(record["valid"])
    return {
        "time_s": int(record["time_us"]) * 1e-6,
        "store_v": int(record["store_mv"]) * 1e-3 if valid & 1 else None,
        "drawn_j": int(record["drawn_nj"]) * 1e-9 if valid & 2 else None,
    }


def _ledger(board: Board) -> dict[str, Any]:
    record = board.ledger()
    books: dict[str, Any] = {
        f"{name}_j": int(pj) * 1e-12 for name, pj in zip(_ACCOUNTS, record["pj"].tolist(), strict=True)
    }
    stored = int(record["stored_delta_pj"])
    books["stored_j"] = (stored - (1 << 64) if stored >> 63 else stored) * 1e-12
    return books


def _event(frame: Frame, tell: Tell) -> None:
    codes = wire.CODES["Message"]
    if frame.type == codes["LOG"]:
        tell("log", {"text": frame.payload.decode("ascii", "replace")})
    if frame.type != codes["EVENT"] or len(frame.payload) != wire.dtype("EventRecord").itemsize:
        return
    record: Any = np.frombuffer(frame.payload, wire.dtype("EventRecord"), 1)[0]
    tell(
        "event",
        {
            "index": int(record["index"]),
            "status": _STATUS.get(int(record["status"]), "unknown"),
            "path": int(record["path"]),
            "exit": int(record["exit"]),
            "predicted": int(record["predicted"]),
            "confidence": int(record["confidence_q15"]) / 32768,
            "cycles": int(record["cycles"]),
            "latency_s": (int(record["end_us"]) - int(record["start_us"])) * 1e-6,
            "decisions": int(record["decisions"]),
        },
    )


def _watch_ascii(args: argparse.Namespace, duration_s: float, tell: Tell) -> None:
    if args.target.partition(":")[0] in ("virtual", "qemu"):
        raise UsageError("--ascii takes a serial port")
    port = open_port(args.target, args.baud)
    try:
        runner: Runner = recover(port) if args.send else Runner(port)
        for text in args.send:
            for line in [*runner.command(text.rstrip("%")), "m-ready"]:
                tell("line", {"text": line})
        if args.send and math.isinf(duration_s):
            return
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            try:
                tell("line", {"text": runner.line(min(1.0, max(0.05, end_s - time.monotonic())))})
            except LinkError as error:
                if "no answer" not in str(error):
                    raise
    finally:
        port.close()


def _tell_json(kind: str, data: dict[str, Any]) -> None:
    print(json.dumps({"type": kind, "data": data}), flush=True)


def _tell_text(kind: str, data: dict[str, Any]) -> None:
    print(_words(kind, data), flush=True)


def _words(kind: str, data: dict[str, Any]) -> str:
    if kind == "hello":
        model = (
            f"model {data['model_hash'][:16]}" if data["model_status"] == 0 else f"no model ({data['model_status']})"
        )
        policy = "a policy" if data["policy_status"] == 0 else "no policy"
        return (
            f"{data['board']}, build {data['build_id']}, {model}, {policy}, {data['clock_hz'] / 1e6:g} MHz, "
            f"reset {data['resets']} times; {', '.join(data['caps']) or 'no extras'}"
        )
    if kind == "sensors":
        store = "-" if data["store_v"] is None else f"{data['store_v']:.3f} V"
        drawn = "-" if data["drawn_j"] is None else format_quantity(data["drawn_j"], "J")
        return f"{data['time_s']:10.3f} s  store {store}, drawn {drawn}"
    if kind == "ledger":
        parts = [f"{key[:-2]} {format_quantity(value, 'J')}" for key, value in data.items() if value]
        return f"{'':>12}  ledger {', '.join(parts) or 'empty'}"
    if kind == "event":
        return (
            f"{'':>12}  event {data['index']} {data['status']}: exit {data['exit']} of path {data['path']}, class "
            f"{data['predicted']}, confidence {data['confidence']:.3f}, {1e3 * data['latency_s']:.1f} ms"
        )
    return str(data["text"])
