# SPDX-License-Identifier: Apache-2.0
"""Serial lines: one small seam, pyserial behind it."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Protocol

from joulet.errors import LinkError


class Port(Protocol):
    """A serial line."""

    def write(self, data: bytes) -> None:
        """Send bytes, all of them."""

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        """Return what is there, at least one byte and at most ``n_bytes``; empty after the timeout."""

    def close(self) -> None:
        """Let go of the line."""


class SerialPort:
    """A port by pyserial: a device such as ``/dev/ttyACM0``, or an URL (``socket://``, ``rfc2217://``, ``loop://``)."""

    def __init__(self, url: str, baud: int) -> None:
        import serial

        self._errors: tuple[type[Exception], ...] = (serial.SerialException, OSError)
        self.url = url
        try:
            self._serial: Any = serial.serial_for_url(url, baudrate=baud, timeout=0.05, write_timeout=10.0)
        except (*self._errors, ValueError) as error:
            raise LinkError(f"port '{url}' cannot be opened: {error}; joulet devices lists what is there") from error

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
            self._serial.flush()
        except self._errors as error:
            raise LinkError(f"port '{self.url}' takes no bytes: {error}") from error

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        end_s = time.monotonic() + timeout_s
        try:
            while True:
                left_s = end_s - time.monotonic()
                self._serial.timeout = max(0.0, min(left_s, 0.05))
                data = bytes(self._serial.read(max(1, min(n_bytes, self._serial.in_waiting))))
                if data or left_s <= 0.0:
                    return data
        except self._errors as error:
            raise LinkError(f"port '{self.url}' is gone: {error}; is the board still plugged in?") from error

    def close(self) -> None:
        with contextlib.suppress(*self._errors):
            self._serial.close()


def open_port(url: str, baud: int = 115_200) -> Port:
    """Open a serial line.

    Raises
    ------
    LinkError
        If it cannot be opened.
    """
    return SerialPort(url, baud)
