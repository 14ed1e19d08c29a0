# SPDX-License-Identifier: Apache-2.0
"""``joulet flash``: put an image onto a board, and ask the board whether it runs it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from joulet.errors import FlashError, MissingDependencyError, UsageError
from joulet.flash.build import Build, default_folder, read_build
from joulet.flash.choose import choose_flasher, make_flasher
from joulet.flash.devices import list_serial_ports, pick_port
from joulet.flash.facts import WAYS, FlashFacts, flash_facts
from joulet.flash.flasher import Flasher, OnEvent, Options, Result, check_fits
from joulet.flash.image import read_image
from joulet.flash.surroundings import Surroundings
from joulet.flash.verify import Connect, load_connect, verify

EPILOG = """\
  joulet flash --board nucleo_l4r5zi                     # what joulet build left in joulet-build/nucleo_l4r5zi
  joulet flash --board nucleo_l4r5zi kws.jlt             # build it first
  joulet flash --board pico --via uf2 --mount /media/me/RPI-RP2
  joulet flash --board nucleo_f446re --via stm32-uart --port /dev/ttyUSB0
  joulet flash --board nucleo_l4r5zi --dry-run           # what would be done

Ways, in the order in which they are tried when --via is not given:
  pyocd        a debug probe, through pyOCD: pip install 'joulet[swd]'; --probe ID picks one, --pack FILE describes the chip
  uf2          the volume of a UF2 boot loader: hold the boot button while plugging in
  volume       the volume of the ST-LINK, DAPLink or J-Link on the board
  stm32-uart   the boot loader in the ROM of STM32, on --port: BOOT0 high, then reset
  openocd      the program openocd
  probe-rs     the program probe-rs

After flashing, the board is asked over its serial port which build and which model it has; only that finds copies with
holes. The exit code is 0 when it answers with what was sent, 1 when it does not or flashing failed (with --no-verify: 0
without asking), 2 for wrong usage.

--json prints one event a line: {"type": "task_begin" | "task_progress" | "task_end" | "log", "data": {…}}; the last one is
the task_end of the task "flash", with ok, via, device, bytes, read_back, verified, reason, build_id and model_hash.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "flash",
        help="put an image onto a board, and check that it runs",
        description="Put an image onto a board, and ask the board whether it runs it.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, nargs="?", metavar="M.jlt", help="container to build and flash")
    parser.add_argument("--board", required=True, metavar="B", help="board (joulet boards lists them)")
    parser.add_argument(
        "--image", type=Path, metavar="DIR", help="build folder, or an image file (default joulet-build/B)"
    )
    parser.add_argument("--key", metavar="PUBLIC", help="public key for the build of M.jlt; joulet build --key")
    parser.add_argument("--via", choices=WAYS, help="way to flash (default: the first that is ready)")
    parser.add_argument("--port", metavar="PORT", help="serial port (default: the one of the board's debugger)")
    parser.add_argument("--probe", metavar="ID", help="debug probe, where there are several")
    parser.add_argument("--pack", type=Path, metavar="FILE", help="CMSIS pack of the chip, for pyocd")
    parser.add_argument("--mount", type=Path, metavar="DIR", help="where the volume is mounted (default: found)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument("--no-verify", action="store_true", help="do not ask the board what it runs")
    parser.add_argument("--json", action="store_true", help="print events as JSON Lines")


def run(args: argparse.Namespace) -> int:
    """Flash; return the exit code."""
    return flash_board(args, Surroundings(path=os.environ.get("PATH", "")), load_connect)


def flash_board(args: argparse.Namespace, around: Surroundings, connect: Callable[[], Connect]) -> int:
    """Flash a board of a given machine; return the exit code."""
    tell = _print_json if args.json else _Lines()
    facts = flash_facts(args.board)
    build = _build(args, facts)
    if build.board and build.board != facts.board:
        raise UsageError(
            f"'{build.source}' was built for {build.board}, not for {facts.board}: build it for this board"
        )
    check_fits(build.image, facts)
    options = Options(port=args.port, probe=args.probe, pack=args.pack, mount=args.mount)
    if not args.dry_run:
        tell({"type": "task_begin", "data": {"task": "flash", "title": f"flashing {facts.board}", "total": 1}})
    try:
        flasher = _flasher(args.via, facts, options, around, tell)
        if args.dry_run:
            return _tell_plan(args, flasher, build, tell)
        result = flasher.flash(build.image, tell)
    except FlashError as error:
        if not args.dry_run:
            tell({"type": "task_end", "data": {"task": "flash", "ok": False, "error": str(error)}})
        print(f"joulet: error: {error}", file=sys.stderr)
        return 1
    if not args.no_verify:
        result = verify(result, build, _console(args, facts, around, result), around, tell, connect=connect)
    return _tell_result(args, build, result, tell)


def _flasher(via: str | None, facts: FlashFacts, options: Options, around: Surroundings, tell: OnEvent) -> Flasher:
    return make_flasher(via, facts, options, around) if via else choose_flasher(facts, options, around, tell)


def _build(args: argparse.Namespace, facts: FlashFacts) -> Build:
    """Return what to flash: from a file or folder given, built from a container, or built before."""
    if args.model is not None:
        if args.image is not None:
            raise UsageError("give a container to build, or --image with what was built, not both")
        _make_build(args.model, facts.board, args.key)
        return read_build(default_folder(facts.board))
    if args.key is not None:
        raise UsageError("--key is for building: give a container with it; an image has its key already")
    if args.image is not None and not args.image.is_dir():
        return Build(image=read_image(args.image, facts.base), source=args.image)
    return read_build(args.image or default_folder(facts.board))


def _make_build(model: Path, board: str, key: str | None) -> None:
    """Run ``joulet build``; what it prints goes to stderr, as stdout may carry events."""
    from joulet.tools.main import COMMANDS, main

    if "build" not in COMMANDS:
        raise MissingDependencyError(
            "this installation has no joulet build: build the image elsewhere, then --image DIR"
        )
    with contextlib.redirect_stdout(sys.stderr):
        status = main(["build", str(model), "--board", board, *(["--key", key] if key is not None else [])])
    if status != 0:
        raise UsageError(f"joulet build '{model}' --board {board} ended with {status}; nothing was flashed")


def _console(args: argparse.Namespace, facts: FlashFacts, around: Surroundings, result: Result) -> str | None:
    """Return the port to ask: the one given, unless flashing went over it and the debugger on the board has its own."""
    try:
        own = pick_port(list_serial_ports(around), facts)
    except ImportError:
        own = None
    if args.port is not None and not (result.via == "stm32-uart" and own is not None):
        return str(args.port)
    return own


def _tell_plan(args: argparse.Namespace, flasher: Flasher, build: Build, tell: OnEvent) -> int:
    steps = flasher.plan(build.image)
    if args.json:
        message = f"would flash '{build.source}' via {flasher.via}"
        tell({"type": "log", "data": {"level": "info", "message": message, "via": flasher.via, "steps": steps}})
    else:
        print(f"would flash '{build.source}' via {flasher.via}:", *(f"  {step}" for step in steps), sep="\n")
    return 0


def _tell_result(args: argparse.Namespace, build: Build, result: Result, tell: OnEvent) -> int:
    ok = result.verified or args.no_verify
    reason = "not asked (--no-verify)" if args.no_verify else result.reason
    data = {
        "task": "flash",
        "ok": ok,
        "via": result.via,
        "device": result.device,
        "bytes": result.bytes_written,
        "read_back": result.read_back,
        "verified": result.verified,
        "reason": reason,
        "build_id": build.build_id.hex() or None,
        "model_hash": build.model_hash or None,
    }
    tell({"type": "task_end", "data": data})
    if not args.json:
        back = ", read back" if result.read_back else ""
        said = f"the board runs build {build.build_id.hex()}" if result.verified else f"not verified: {reason}"
        print(f"{args.board}: {result.bytes_written:,} bytes via {result.via} ({result.device}){back}; {said}")
    return 0 if ok else 1


def _print_json(event: dict[str, object]) -> None:
    print(json.dumps(event), flush=True)


class _Lines:
    """Tells people on stderr: a line for each task, and on a terminal how far it is."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._titles: dict[str, str] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        kind, data = event["type"], event["data"]
        if kind == "log":
            prefix = "" if data["level"] == "info" else f"{data['level']}: "
            print(f"{prefix}{data['message']}", file=sys.stderr)
        elif kind == "task_begin":
            self._titles[data["task"]] = data["title"]
            print(f"{data['title']} …", file=sys.stderr)
        elif kind == "task_progress" and self._live:
            per_cent = 100 * data["done"] // max(data["total"], 1)
            end = "\n" if per_cent == 100 else ""
            print(
                f"\r{self._titles.get(data['task'], data['task'])} {per_cent} %", end=end, file=sys.stderr, flush=True
            )
