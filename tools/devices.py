# SPDX-License-Identifier: Apache-2.0
"""``joulet devices``: the serial ports, volumes and debug probes that are plugged in."""

from __future__ import annotations

import argparse
import json
import os

from joulet.boards import board_names
from joulet.errors import JouletError
from joulet.flash.devices import SerialPort, UsbId, list_serial_ports
from joulet.flash.facts import flash_facts
from joulet.flash.flasher import Device
from joulet.flash.surroundings import Surroundings
from joulet.flash.swd import list_probes
from joulet.flash.volumes import Volume, find_volumes

EPILOG = """\
Ports are known by their USB ids; the boards named beside one are those whose debugger has that id, and several boards share
one. Volumes are those that take images when a file is copied onto them. Probes are listed when pyOCD is installed.

  joulet devices
  joulet devices --json
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "devices",
        help="list serial ports, volumes and debug probes that are plugged in",
        description="List the serial ports, the volumes that take images, and the debug probes that are plugged in now.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """List what is plugged in; return the exit code."""
    return report(args, Surroundings(path=os.environ.get("PATH", "")))


def report(args: argparse.Namespace, around: Surroundings) -> int:
    """List what is plugged into a machine."""
    notes: list[str] = []
    try:
        ports = list_serial_ports(around)
    except ImportError:
        ports = []
        notes.append("serial ports are not listed: pip install pyserial")
    volumes = find_volumes(around)
    try:
        probes = list_probes(around)
    except JouletError as error:
        probes = []
        notes.append(f"debug probes are not listed: {error}")
    boards = _boards_by_usb()
    if args.json:
        print(json.dumps(_object(ports, volumes, probes, notes, boards)))
        return 0
    for port in ports:
        fitting = boards.get(port.usb, []) if port.usb is not None else []
        words = [port.what, port.usb_text, port.serial_number, f"boards: {', '.join(fitting)}" if fitting else ""]
        print(f"port    {port.device}  {'  '.join(word for word in words if word)}")
    for volume in volumes:
        print(f"volume  {volume.path}  {volume.kind}  {volume.model}  {volume.board_id}".rstrip())
    for probe in probes:
        print(f"probe   {probe.id}  {probe.description}")
    if not (ports or volumes or probes):
        print("nothing is plugged in that joulet knows; joulet doctor tells whether something stands in the way")
    for note in notes:
        print(f"note    {note}")
    return 0


def _boards_by_usb() -> dict[UsbId, list[str]]:
    boards: dict[UsbId, list[str]] = {}
    for name in board_names():
        try:
            facts = flash_facts(name)
        except JouletError:  # a board that is not flashed
            continue
        for usb in facts.usb_ids:
            boards.setdefault(usb, []).append(name)
    return boards


def _object(
    ports: list[SerialPort],
    volumes: list[Volume],
    probes: list[Device],
    notes: list[str],
    boards: dict[UsbId, list[str]],
) -> dict[str, object]:
    return {
        "ports": [
            {
                "device": port.device,
                "usb": port.usb_text or None,
                "serial_number": port.serial_number or None,
                "what": port.what or None,
                "boards": boards.get(port.usb, []) if port.usb is not None else [],
            }
            for port in ports
        ],
        "volumes": [
            {"path": str(volume.path), "kind": volume.kind, "model": volume.model, "board_id": volume.board_id}
            for volume in volumes
        ],
        "probes": [{"id": probe.id, "description": probe.description} for probe in probes],
        "notes": notes,
    }
