# SPDX-License-Identifier: Apache-2.0
"""The ``joulet`` command: finds the subcommand's file, parses, runs, and turns errors into one line.

A command is a module of this package with ``add_parser(subparsers)`` and ``run(args) -> int``. Modules are imported
only when their command is asked for, so that ``joulet --help`` stays quick on a Pi Zero.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from joulet import __version__
from joulet.errors import JouletError

COMMANDS = {
    "demo": "run the main job on recorded sensors under a recorded day of sun",
    "compile": "turn a .tflite or .onnx model into an adaptive .jlt container",
    "plan": "search bits, exits, bands and packed copies for a board under limits on RAM, flash and energy",
    "zoo": "models worth deploying, with what every operating point scores and costs",
    "train": "fine-tune an int8 model for all its operating points (needs PyTorch)",
    "inspect": "show what a container holds",
    "boards": "list the boards: core, clock, memories, ways to flash",
    "devices": "list serial ports, volumes and debug probes that are plugged in",
    "doctor": "what this machine lacks, and the command that brings it",
    "flash": "put an image onto a board, and check that it runs",
    "infer": "run arrays through a model, without energy",
    "run": "run a stream of inputs under a harvesting trace and a policy",
    "simulate": "compare policies with each other and with the optimum over traces and stores",
    "sweep": "a study: policies over models, traces, stores and arrivals, on all cores or a cluster",
    "build": "firmware and container as one image for a board",
    "keys": "make a key pair for signed updates, or print the public key",
    "monitor": "what a board says of itself, as it happens",
    "power": "what rails draw, live: meters, boards, this machine",
    "profile": "measured energy and latency of an inference, per path and exit",
    "footprint": "energy, carbon and water of an inference, operation and making, with stated factors",
    "bench": "instructions, cycles and energy of an inference, per path and exit",
    "compare": "two profiles or runs: what changed; fails when it got worse",
    "report": "make the report of run folders again",
}


_READER_GONE = 141  # as a shell reports a program that SIGPIPE ended


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser; only ``command``'s own options are loaded (all of them when None)."""
    parser = argparse.ArgumentParser(
        prog="joulet",
        description="On-device adaptive inference: one network, all budgets, every joule counted.",
        epilog="Exit codes: 0 ok, 1 failed check, 2 usage. `joulet COMMAND --help` explains each command.",
    )
    parser.add_argument("--version", action="version", version=f"joulet {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, summary in COMMANDS.items():
        if command in (None, name):
            importlib.import_module(f"joulet.tools.{name}").add_parser(subparsers)
        else:
            subparsers.add_parser(name, help=summary, add_help=False)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in arguments if not word.startswith("-")), "")
    parser = build_parser(command)
    args = parser.parse_args(arguments)
    try:
        code = int(importlib.import_module(f"joulet.tools.{args.command}").run(args))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # who reads what is printed, such as head, has seen enough; the interpreter must not flush into it at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _READER_GONE
    except JouletError as error:
        print(f"joulet: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"joulet: error: {_said(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("joulet: interrupted", file=sys.stderr)
        return 130


def _said(error: OSError) -> str:
    """Return what an error of the system means, with the file and, where its folder is missing, that."""
    if not error.filename:
        return str(error.strerror or error)
    path = Path(os.fsdecode(error.filename))
    missing = isinstance(error, FileNotFoundError) and not path.parent.is_dir()
    remedy = f": there is no folder '{path.parent}'; make it first" if missing else ""
    return f"'{path}': {error.strerror or error}{remedy}"


if __name__ == "__main__":
    sys.exit(main())
