# SPDX-License-Identifier: Apache-2.0
"""``joulet doctor``: what this machine lacks, each thing with the command that brings it."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os

from joulet.doctor.checks import examine
from joulet.doctor.flood import Flood, name_flood
from joulet.doctor.machine import JOBS, Check, Machine
from joulet.errors import JouletError
from joulet.flash.surroundings import Surroundings

_MARKS = {"ok": "ok", "missing": "MISSING", "optional": "optional", "warning": "warning"}

EPILOG = f"""\
Without options it looks at what the README's examples take: running models here, building firmware, and running it on the
virtual board. State what you are after, and only what that needs makes the exit code 1:

  joulet doctor --job infer
  joulet doctor --job build --job flash

{chr(10).join(f"  {name:<8} {summary}" for name, summary in JOBS.items())}

--serial PORT asks a board: 'name%name%name%' is sent in one piece, and three answers must come. Firmware that loses some
works when typed at and fails under any program.

  joulet doctor --serial /dev/ttyACM0

--restore puts back what a run with --dvfs had no time to put back (cpufreq, nvpmodel, jetson_clocks); without such a run it does
nothing.

Lines marked 'optional' are not needed for the stated jobs; 'warning' will cause trouble; 'MISSING' and 'FAILED' make the exit
code 1.
"""


DEFAULT_JOBS = ("build", "emulate")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "doctor",
        help="what this machine lacks, and the command that brings it",
        description="Look at this machine and name what is missing for the stated jobs, each with its fix.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--job",
        action="append",
        choices=tuple(JOBS),
        default=[],
        help=f"a job to be able to do, beside infer; repeatable (without: {', '.join(DEFAULT_JOBS)})",
    )
    parser.add_argument("--serial", metavar="PORT", help="also run the name-flood test on a board")
    parser.add_argument(
        "--restore", action="store_true", help="only put back clocks and power modes that a run has left behind"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Examine this machine; return the exit code."""
    if args.restore:
        return put_back(args.json)
    return report(args, Machine(around=Surroundings(path=os.environ.get("PATH", ""))))


def put_back(as_json: bool) -> int:
    """Put back what runs with --dvfs have left behind; return the exit code."""
    from joulet.knobs import restore
    from joulet.meters.machine import Machine as Around

    done = restore(Around())
    if as_json:
        print(json.dumps({"ok": True, "restored": done}))
    else:
        print("\n".join(done) or "no run has left a clock or a power mode behind")
    return 0


def report(args: argparse.Namespace, machine: Machine) -> int:
    """Examine a machine, print what was found, return 1 if something needed is missing."""
    stated = [*args.job, *(["serial"] if args.serial else [])]
    jobs = ["infer", *(stated or DEFAULT_JOBS)]
    checks = examine(machine, jobs)
    flood = None if args.serial is None else _flood(args.serial, machine.around)
    ok = not any(check.status == "missing" for check in checks) and (flood is None or flood.ok)
    if args.json:
        told = {"ok": ok, "jobs": sorted(set(jobs)), "checks": [dataclasses.asdict(check) for check in checks]}
        print(json.dumps({**told, "serial": None if flood is None else dataclasses.asdict(flood)}))
        return 0 if ok else 1
    for check in checks:
        _print_check(check)
    if flood is not None:
        _print_flood(args.serial, flood)
    print(
        "all that the stated jobs need is here" if ok else "something needed is missing: see the lines marked MISSING"
    )
    return 0 if ok else 1


def _flood(port: str, around: Surroundings) -> Flood:
    try:
        opened = around.open_serial(port)
    except JouletError as error:
        return Flood(ok=False, names=0, readies=0, heard="", remedy=str(error))
    try:
        return name_flood(opened, around)
    except OSError as error:
        return Flood(ok=False, names=0, readies=0, heard="", remedy=f"the port went away: {error}; plug it in again")
    finally:
        opened.close()


def _print_check(check: Check) -> None:
    print(f"{_MARKS[check.status]:<8}  {check.name}: {check.found}")
    if check.fix:
        print(f"          {', '.join(check.jobs)}: {check.fix}")


def _print_flood(port: str, flood: Flood) -> None:
    mark = "ok" if flood.ok else "FAILED"
    print(f"{mark:<8}  {port}: {flood.names} names and {flood.readies} readies to three commands sent at once")
    if flood.remedy:
        print(f"          {flood.remedy}")
    if flood.heard and not flood.ok:
        print(f"          heard: {flood.heard!r}")
