# SPDX-License-Identifier: Apache-2.0
"""Flash with a program that is installed already: OpenOCD or probe-rs. Each is called with a limit on its time."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from joulet.errors import FlashError, MissingDependencyError, UsageError
from joulet.flash.facts import FlashFacts
from joulet.flash.flasher import Device, OnEvent, Options, Result, log, task
from joulet.flash.image import Image, write_hex
from joulet.flash.surroundings import Surroundings

_WITHIN_S = 180.0
# what OpenOCD 0.12 and probe-rs say when no debugger is there
_NO_PROBE = re.compile(r"(?i)open failed|no j-link device|unable to find a matching|no (debug )?probe")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenocdFlasher:
    """Runs ``openocd -f CONFIG -c "program FILE verify reset exit"``."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    within_s: float = _WITHIN_S
    via: str = "openocd"

    def probe(self) -> list[Device]:
        """Return the program, if it is there."""
        self._config()
        return [_program(self.around, "openocd", "Debian: sudo apt install openocd")]

    def plan(self, image: Image) -> list[str]:
        """Return the command in words."""
        return [_quoted(self._command("openocd", Path("image.hex"))), "look for its line '** Verified OK **'"]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Run OpenOCD; it erases, programs, verifies and resets."""
        device = self.probe()[0]
        verified = False

        def hear(line: str) -> None:
            nonlocal verified
            verified = verified or "** Verified OK **" in line
            if line.startswith("** "):
                log(on_event, "info", f"openocd: {line.strip('* ')}")

        with task(on_event, "program", "programming with OpenOCD"), tempfile.TemporaryDirectory() as folder:
            path = _write(folder, image)
            status, lines = self.around.run(self._command(device.id, path), within_s=self.within_s, on_line=hear)
            if status != 0:
                raise FlashError(f"openocd ended with {status}: {_reason(lines)}")
            if not verified:
                raise FlashError(f"openocd ended without '** Verified OK **': {_reason(lines)}")
        return Result(via=self.via, device=device.id, bytes_written=image.size_bytes, read_back=True)

    def _config(self) -> tuple[str, ...]:
        if not self.facts.openocd_config:
            raise UsageError(f"{self.facts.board} has no openocd_config in its board.toml; use another --via")
        return self.facts.openocd_config

    def _command(self, program: str, image: Path) -> list[str]:
        serial = [] if self.options.probe is None else ["-c", f"adapter serial {self.options.probe}"]
        # braces keep Tcl from reading anything into the path
        config = [word for name in self._config() for word in ("-f", name)]
        return [program, *config, *serial, "-c", f"program {{{image}}} verify reset exit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRsFlasher:
    """Runs ``probe-rs download --chip CHIP --binary-format hex --verify FILE`` and ``probe-rs reset``."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    within_s: float = _WITHIN_S
    via: str = "probe-rs"

    def probe(self) -> list[Device]:
        """Return the program, if it is there."""
        self._chip()
        return [_program(self.around, "probe-rs", "see probe.rs/docs/getting-started/installation")]

    def plan(self, image: Image) -> list[str]:
        """Return the commands in words."""
        return [_quoted(command) for command in self._commands("probe-rs", Path("image.hex"))]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Run probe-rs; it erases, programs and verifies; then reset."""
        device = self.probe()[0]
        with task(on_event, "program", "programming with probe-rs", 100) as programming:

            def hear(line: str) -> None:
                found = re.search(r"(?i)program\w*.*?\b(\d{1,3})\s?%", line)
                if found:
                    programming.advance(int(found[1]))

            with tempfile.TemporaryDirectory() as folder:
                for command in self._commands(device.id, _write(folder, image)):
                    status, lines = self.around.run(command, within_s=self.within_s, on_line=hear)
                    if status != 0:
                        raise FlashError(f"probe-rs {command[1]} ended with {status}: {_reason(lines)}")
        return Result(via=self.via, device=device.id, bytes_written=image.size_bytes, read_back=True)

    def _chip(self) -> str:
        if self.facts.probe_rs_chip is None:
            raise UsageError(f"{self.facts.board} has no probe_rs_chip in its board.toml; use another --via")
        return self.facts.probe_rs_chip

    def _commands(self, program: str, image: Path) -> list[list[str]]:
        where = ["--chip", self._chip(), *([] if self.options.probe is None else ["--probe", self.options.probe])]
        download = [program, "download", *where, "--binary-format", "hex", "--verify", str(image)]
        return [download, [program, "reset", *where]]


def _program(around: Surroundings, name: str, remedy: str) -> Device:
    path = around.find_program(name)
    if path is None:
        raise MissingDependencyError(f"{name} is not on the search path: {remedy}")
    return Device(via=name, id=path, description=f"the program {name}")


def _write(folder: str, image: Image) -> Path:
    path = Path(folder) / "image.hex"
    path.write_bytes(write_hex(image))
    return path


def _reason(lines: list[str]) -> str:
    """Return what a program's output tells most: its last error, else its last line."""
    errors = [found[0] for line in lines if (found := re.search(r"(?i)\berror: .*", line))]
    told = (errors or lines or ["it said nothing"])[-1]
    if _NO_PROBE.search(told):
        told += "; plug the debugger in (on Linux joulet doctor prints the udev rule that lets you use it)"
    return told


def _quoted(command: list[str]) -> str:
    return " ".join(f"'{word}'" if " " in word else word for word in command)
