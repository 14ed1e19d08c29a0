# SPDX-License-Identifier: Apache-2.0
"""Flash through a debug probe with pyOCD (an optional package): CMSIS-DAP, ST-LINK and J-Link probes."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from joulet.errors import FlashError, MissingDependencyError, UsageError
from joulet.flash.facts import FlashFacts
from joulet.flash.flasher import Device, OnEvent, Options, Result, Task, log, one_of, task
from joulet.flash.image import Image
from joulet.flash.surroundings import Surroundings

_CHUNK_BYTES = 4096
_UDEV = "on Linux joulet doctor prints the udev rule that lets you use it"


@dataclass(frozen=True, slots=True, kw_only=True)
class PyocdFlasher:
    """Programs and reads back through pyOCD's own Python interface."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    via: str = "pyocd"

    def probe(self) -> list[Device]:
        """Return the probes that pyOCD sees, after checking that it knows the board's chip."""
        self._check_target()
        return list_probes(self.around, self.options.probe)

    def plan(self, image: Image) -> list[str]:
        """Return the steps in words."""
        steps = [
            f"connect pyOCD to the probe{f' {self.options.probe}' if self.options.probe else ''} as {self._target()}"
        ]
        if self.facts.chip_id is not None:
            address, mask, value = self.facts.chip_id
            steps.append(f"read {address:#010x}; stop unless it is {value:#x} under the mask {mask:#x}")
        parts = ", ".join(f"{len(data)} bytes at {address:#010x}" for address, data in image.segments)
        return [
            *steps,
            f"erase the sectors of, and program, {parts}",
            "read all of it back and compare",
            "reset the chip",
        ]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Program, read back, reset."""
        device = one_of(self.probe(), self.options.probe, "--probe")
        with _quiet_pyocd(on_event):
            session = self._session(device)
            failures = self._failures()
            try:
                with session:
                    self._check_chip(session.target)
                    self._program(session, image, on_event)
                    self._compare(session.target, image, on_event)
                    session.target.reset()
            except failures as error:
                raise FlashError(_words(error, device)) from error
        return Result(via=self.via, device=device.id, bytes_written=image.size_bytes, read_back=True)

    def _target(self) -> str:
        if self.facts.pyocd_target is None:
            raise UsageError(f"{self.facts.board} has no pyocd_target in its board.toml; use another --via")
        return self.facts.pyocd_target

    def _check_target(self) -> None:
        """Refuse a chip that neither pyOCD, an installed pack nor ``--pack`` describes."""
        target = self._target()
        load_pyocd(self.around)
        if self.options.pack is not None:
            if not self.options.pack.is_file():
                raise UsageError(f"--pack {self.options.pack}: no such file")
            return
        if target not in self.around.load("pyocd.target").TARGET and target not in installed_pack_targets(self.around):
            raise UsageError(
                f"pyOCD does not know {target} by itself: give its CMSIS pack with --pack FILE, or fetch it once with "
                f"pyocd pack install {target}"
            )

    def _session(self, device: Device) -> Any:
        helper = self.around.load("pyocd.core.helpers").ConnectHelper
        options: dict[str, object] = {
            "target_override": self._target(),
            "no_config": True,
            "hide_programming_progress": True,
        }
        if self.options.pack is not None:
            options["pack"] = [str(self.options.pack)]
        try:
            session = helper.session_with_chosen_probe(
                unique_id=device.id, blocking=False, return_first=True, options=options
            )
        except self._failures() as error:
            raise FlashError(_words(error, device)) from error
        if session is None:
            raise FlashError(f"the probe {device.id} is gone: plug it in again; {_UDEV}")
        return session

    def _failures(self) -> tuple[type[Exception], ...]:
        # pyusb raises OSError and, without libusb, ValueError; pyOCD raises ValueError for addresses that are no memory
        return (self.around.load("pyocd.core.exceptions").Error, OSError, ValueError)

    def _check_chip(self, target: Any) -> None:
        if self.facts.chip_id is None:
            return
        address, mask, value = self.facts.chip_id
        found = target.read32(address) & mask
        if found != value & mask:
            raise FlashError(
                f"the chip at the probe says {found:#x} at {address:#010x}, {self.facts.board} says {value:#x}: "
                "wrong board, nothing erased"
            )

    def _program(self, session: Any, image: Image, on_event: OnEvent) -> None:
        """Let pyOCD erase and program; its progress counts 0 to 1 for each of the two."""
        phases = _Phases(on_event)
        programmer = self.around.load("pyocd.flash.file_programmer").FileProgrammer(session, progress=phases.advance)
        with phases:
            for address, data in image.segments:
                programmer.add_file(io.BytesIO(data), "bin", base_address=address)
            programmer.commit()

    def _compare(self, target: Any, image: Image, on_event: OnEvent) -> None:
        with task(on_event, "verify", "reading back", image.size_bytes) as reading:
            done = 0
            for address, data in image.segments:
                for at in range(0, len(data), _CHUNK_BYTES):
                    wanted = data[at : at + _CHUNK_BYTES]
                    if bytes(target.read_memory_block8(address + at, len(wanted))) != wanted:
                        raise FlashError(
                            f"flash at {address + at:#010x} does not hold what was written: flash again, and check the supply"
                        )
                    done += len(wanted)
                    reading.advance(done)


class _Phases:
    """Turns pyOCD's progress, which starts again for each phase, into tasks."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._names = iter((("erase", "erasing"), ("program", "programming"), ("finish", "finishing")))
        self._task: Task | None = None
        self._reached = 0.0

    def advance(self, fraction: float) -> None:
        """Take a report of pyOCD."""
        if self._task is None or fraction < self._reached:
            self._end(ok=True)
            name, title = next(self._names, ("finish", "finishing"))
            self._on_event({"type": "task_begin", "data": {"task": name, "title": title, "total": 100}})
            self._task = Task(name, 100, self._on_event)
        self._reached = fraction
        self._task.advance(100 * fraction)

    def _end(self, *, ok: bool) -> None:
        if self._task is not None:
            self._on_event({"type": "task_end", "data": {"task": self._task.name, "ok": ok}})
            self._task = None

    def __enter__(self) -> _Phases:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(ok=kind is None)


def load_pyocd(around: Surroundings) -> Any:
    """Return the package pyocd.

    Raises
    ------
    MissingDependencyError
        If it is not installed.
    """
    try:
        return around.load("pyocd")
    except ImportError as error:
        raise MissingDependencyError("pyOCD is not installed: pip install 'joulet[swd]'") from error


def list_probes(around: Surroundings, unique_id: str | None = None) -> list[Device]:
    """Return the debug probes that pyOCD sees now, without waiting for any.

    Raises
    ------
    MissingDependencyError
        Without pyOCD.
    FlashError
        If USB cannot be asked.
    """
    load_pyocd(around)
    failures = (around.load("pyocd.core.exceptions").Error, OSError, ValueError)
    try:
        helper = around.load("pyocd.core.helpers").ConnectHelper
        found = helper.get_all_connected_probes(blocking=False, unique_id=unique_id, print_wait_message=False)
        # a probe on the network tells its names only once it is open
        return [Device(via="pyocd", id=probe.unique_id, description=probe.description) for probe in found]
    except failures as error:
        raise FlashError(f"pyOCD cannot look for probes: {_first_line(error)}; {_UDEV}") from error


def installed_pack_targets(around: Surroundings) -> frozenset[str]:
    """Return the chips that installed CMSIS packs describe, as pyOCD names them."""
    try:
        packs = around.load("pyocd.target.pack.pack_target").ManagedPacks
        return frozenset(device.part_number.lower() for device in packs.get_installed_targets())
    except (ImportError, AttributeError, OSError, ValueError, RuntimeError):  # an index that is broken or not there
        return frozenset()


@contextmanager
def _quiet_pyocd(on_event: OnEvent) -> Iterator[None]:
    """Turn what pyOCD logs into events for as long as it works."""
    logger = logging.getLogger("pyocd")
    handler = _LogEvents(on_event)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates


class _LogEvents(logging.Handler):
    def __init__(self, on_event: OnEvent) -> None:
        super().__init__(logging.WARNING)
        self._on_event = on_event

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        log(self._on_event, level, f"pyOCD: {record.getMessage()}")


def _words(error: Exception, device: Device) -> str:
    kind = type(error).__name__
    remedy = {
        "FlashEraseFailure": "is the flash protected?",
        "FlashProgramFailure": "flash again; if it stays, check the supply",
        "ProbeDisconnected": "plug the probe in again",
        "TransferTimeoutError": "check the SWD wires and the board's supply",
        "TargetSupportError": "give the chip's CMSIS pack with --pack FILE",
    }.get(kind, "check the wires, the supply and that no other program uses the probe")
    return f"pyOCD on probe {device.id}: {_first_line(error)} ({kind}); {remedy}"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
