# SPDX-License-Identifier: Apache-2.0
"""The machine around the flasher: programs, files, packages, ports and time, passed in so that tests can make their own."""

from __future__ import annotations

import importlib
import queue
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulet.errors import FlashError, MissingDependencyError

BAUD = 115_200
_KEPT_LINES = 200
_IMPORT_FAILURES = (
    ImportError, OSError, AttributeError, RuntimeError, SystemError, TypeError, ValueError, KeyError, SyntaxError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What flashing and its commands touch of the machine.

    ``path`` is the search path of programs, ``root`` the folder that stands for ``/`` (``/proc``, ``/sys``, ``/dev`` and
    ``/etc`` are read below it), ``load`` imports an optional package or raises ImportError, ``clock`` and ``sleep`` count
    seconds.
    """

    path: str
    root: Path = field(default_factory=lambda: Path("/"))
    load: Callable[[str], Any] = importlib.import_module
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def find_program(self, name: str) -> str | None:
        """Return where a program lies on the search path."""
        return shutil.which(name, path=self.path)

    def lacks(self, package: str) -> str:
        """Return why a package cannot be imported; empty when it can.

        A package made for another Python or another numpy fails with whatever its first lines raise.
        """
        try:
            self.load(package)
        except ModuleNotFoundError as error:
            return "not installed" if error.name in (None, package, package.split(".")[0]) else f"needs {error.name}"
        except _IMPORT_FAILURES as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return f"does not load: {reason}"
        return ""

    def open_serial(self, port: str, *, baud: int = BAUD, parity: str = "N", timeout_s: float = 1.0) -> Any:
        """Open a serial port: a device, or one of pyserial's addresses such as ``socket://host:port``.

        Raises
        ------
        FlashError
            If the port cannot be opened.
        MissingDependencyError
            Without pyserial.
        """
        try:
            serial = self.load("serial")
        except ImportError as error:
            raise MissingDependencyError("serial ports need pyserial: pip install pyserial") from error
        try:
            return serial.serial_for_url(
                port, baudrate=baud, parity=parity, timeout=timeout_s, write_timeout=max(timeout_s, 1.0)
            )
        except self._port_failures() as error:
            raise FlashError(f"cannot open '{port}': {_plain(error)}") from error

    def _port_failures(self) -> tuple[type[Exception], ...]:
        """Return what pyserial lets through: its own errors are OSErrors, those of a terminal are not."""
        try:
            return (OSError, ValueError, self.load("termios").error)
        except ImportError:  # no POSIX
            return (OSError, ValueError)

    def wait_for(self, condition: Callable[[], bool], within_s: float, every_s: float = 0.1) -> bool:
        """Wait until a condition holds; return whether it came to hold in time."""
        ends_s = self.clock() + within_s
        while not condition():
            if self.clock() >= ends_s:
                return False
            self.sleep(every_s)
        return True

    def run(self, command: Sequence[str], *, within_s: float, on_line: Callable[[str], None]) -> tuple[int, list[str]]:
        """Run a program without input; return its exit status and the last lines it wrote.

        Raises
        ------
        FlashError
            If it cannot be started, or takes too long: then it is ended.
        """
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, encoding="utf-8", errors="replace",
            )  # fmt: skip
        except OSError as error:
            raise FlashError(f"cannot start '{command[0]}': {error.strerror or error}") from error
        lines: queue.Queue[str | None] = queue.Queue()
        reader = threading.Thread(target=_pass_lines, args=(process.stdout, lines), daemon=True)
        reader.start()
        kept: list[str] = []
        ends_s = time.monotonic() + within_s
        try:
            while (line := lines.get(timeout=max(ends_s - time.monotonic(), 0.001))) is not None:
                kept = [*kept[-_KEPT_LINES:], line]
                on_line(line)
            return process.wait(timeout=max(ends_s - time.monotonic(), 1.0)), kept
        except (queue.Empty, subprocess.TimeoutExpired) as error:
            last = f"; it said last: {kept[-1]}" if kept else ""
            raise FlashError(f"'{Path(command[0]).name}' was ended after {within_s:.0f} s{last}") from error
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _pass_lines(stream: Any, lines: queue.Queue[str | None]) -> None:
    with stream:
        for line in stream:
            if line.strip():
                lines.put(line.strip())
    lines.put(None)


def _plain(error: Exception) -> str:
    """Return a port's error with the remedy, where there is one."""
    text = str(error).strip() or type(error).__name__
    number = getattr(error, "errno", None)
    if number == 13 or "Permission denied" in text:
        return "permission denied: sudo usermod -aG dialout $USER, then log in again"
    if number == 2 or "No such file" in text:
        return "no such port: plug the board in; joulet devices lists what is there"
    if number == 16 or "busy" in text.lower():
        return "the port is in use: close the other program (on Linux perhaps ModemManager; joulet doctor tells)"
    return text
