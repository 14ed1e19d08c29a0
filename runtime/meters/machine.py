# SPDX-License-Identifier: Apache-2.0
"""The machine around the meters: its files, programs, buses, ports and clocks, passed in so that tests can make their own."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from joulet.errors import MeterError, MissingDependencyError
from joulet.link import Board, Port, connect, open_port

_PROGRAM_S = 5.0


class Bus(Protocol):
    """An I2C bus."""

    def read(self, address: int, register: int, n_bytes: int) -> bytes:
        """Return the bytes of a register, as they come; raises OSError."""

    def write(self, address: int, register: int, data: bytes) -> None:
        """Write a register; raises OSError."""

    def close(self) -> None:
        """Let go of the bus."""


class LinuxBus:
    """An I2C bus of Linux, by smbus2."""

    def __init__(self, path: str) -> None:
        try:
            import smbus2
        except ImportError as error:
            raise MissingDependencyError("I2C needs smbus2: pip install 'joulet[i2c]'") from error
        self._message = smbus2.i2c_msg
        self._bus = smbus2.SMBus(path)

    def read(self, address: int, register: int, n_bytes: int) -> bytes:
        ask, answer = self._message.write(address, [register]), self._message.read(address, n_bytes)
        self._bus.i2c_rdwr(ask, answer)
        return bytes(answer)

    def write(self, address: int, register: int, data: bytes) -> None:
        self._bus.i2c_rdwr(self._message.write(address, [register, *data]))

    def close(self) -> None:
        self._bus.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class UsbPort:
    """A serial port on USB."""

    device: str
    usb_id: tuple[int, int]


def _usb_ports() -> list[UsbPort]:
    from serial.tools import list_ports

    ports = sorted(list_ports.comports(), key=lambda port: str(port.device))
    return [UsbPort(device=p.device, usb_id=(int(p.vid), int(p.pid))) for p in ports if p.vid is not None]


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def _run_program(command: Sequence[str]) -> tuple[int, str]:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PROGRAM_S,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What meters touch of the machine.

    ``root`` stands for ``/``: ``/sys`` and ``/dev`` are looked for below it. ``clock`` counts seconds and only goes forward,
    ``wall`` is the time of day, which may jump. ``run`` returns (exit status, what a program wrote).
    """

    root: Path = field(default_factory=lambda: Path("/"))
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    read_file: Callable[[Path], str] = _read_text
    find_program: Callable[[str], str | None] = shutil.which
    run: Callable[[Sequence[str]], tuple[int, str]] = _run_program
    open_bus: Callable[[str], Bus] = LinuxBus
    open_port: Callable[[str, int], Port] = open_port
    usb_ports: Callable[[], list[UsbPort]] = _usb_ports
    open_board: Callable[[str], AbstractContextManager[Board]] = connect

    def sys(self, *parts: str) -> Path:
        """Return a path below /sys."""
        return self.root.joinpath("sys", *parts)

    def text(self, path: Path) -> str:
        """Return a small file without the space around it.

        Raises
        ------
        MeterError
            If it cannot be read; the cause is the OSError.
        """
        try:
            return self.read_file(path).strip()
        except OSError as error:
            raise MeterError(f"{path}: {why(error, path)}") from error

    def number(self, path: Path) -> int:
        """Return the integer that a small file holds.

        Raises
        ------
        MeterError
            If it cannot be read or holds no integer, as when it is written at this moment.
        """
        text = self.text(path)
        try:
            return int(text)
        except ValueError as error:
            raise MeterError(f"{path}: holds '{text[:40]}', not a number; is it a file of the kernel?") from error

    def only_port(self, usb_id: tuple[int, int], source: str, what: str) -> str:
        """Return the first serial port of the only device with these USB ids.

        Raises
        ------
        MeterError
            If there is none.
        """
        for port in self.usb_ports():
            if port.usb_id == usb_id:
                return port.device
        raise MeterError(
            f"source '{source}': no {what} is plugged in (USB {usb_id[0]:04x}:{usb_id[1]:04x}); if it is, name its port"
        )

    def run_program(self, command: Sequence[str]) -> tuple[int, str]:
        """Run a program for a few seconds at most; return (exit status, what it wrote).

        Raises
        ------
        MeterError
            If it cannot be started or does not end.
        """
        try:
            return self.run(command)
        except OSError as error:
            raise MeterError(f"cannot start '{command[0]}': {error.strerror or error}") from error
        except subprocess.TimeoutExpired as error:
            raise MeterError(f"'{' '.join(command)}' did not end within {_PROGRAM_S:g} s") from error


_WHY = {
    errno.ENOENT: "is not there; the device may have been unplugged",
    errno.ENODEV: "the device is gone; plug it in again",
    errno.EIO: "the chip does not answer (EIO): an unused channel, or a bus that hangs",
    errno.ENODATA: "has no data at the moment (ENODATA)",
    errno.EAGAIN: "has no data at the moment (EAGAIN)",
    errno.ENXIO: "nothing answers there (ENXIO): check wiring, power and address",
    getattr(errno, "EREMOTEIO", 121): "nothing answers there (EREMOTEIO): check wiring, power and address",
    errno.ETIMEDOUT: "does not answer in time: check wiring and pull-ups",
    errno.EBUSY: "is held by a driver of the kernel: read it through hwmon (joulet power --list), or unbind that driver",
}


def why(error: OSError, path: Path | str) -> str:
    """Return what an error of the system means for a meter, and the remedy."""
    if error.errno in (errno.EACCES, errno.EPERM):
        group = "i2c" if "i2c" in os.fspath(path) else "dialout" if "tty" in os.fspath(path) else None
        if group is not None:
            return f"permission denied: sudo usermod -aG {group} $USER, then log in again"
        return f"permission denied: sudo chmod a+r {path} (until the next boot), or run as root"
    return _WHY.get(error.errno or 0, error.strerror or str(error))
