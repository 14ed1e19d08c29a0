# SPDX-License-Identifier: Apache-2.0
"""Machines made up for the tests of flashing: programs on the search path, mounted volumes, packages that are missing."""

from __future__ import annotations

import importlib
import stat
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from joulet.flash.surroundings import Surroundings


class Time:
    """A clock that a wait moves on at once; ``at`` is called with each new time, to let things happen meanwhile."""

    def __init__(self, at: Callable[[float], None] = lambda now_s: None) -> None:
        self.now_s, self._at = 0.0, at

    def clock(self) -> float:
        return self.now_s

    def sleep(self, time_s: float) -> None:
        self.now_s += time_s
        self._at(self.now_s)


def without(*packages: str) -> Callable[[str], ModuleType]:
    """Return an importer to which some packages are not installed."""

    def load(name: str) -> ModuleType:
        if name.split(".")[0] in packages or name in packages:
            raise ImportError(f"No module named '{name}'", name=name)
        return importlib.import_module(name)

    return load


def machine(
    root: Path, *, time: Time | None = None, packages_missing: Iterable[str] = (), **changes: Any
) -> Surroundings:
    """Return a machine whose root and programs (``/bin``) lie under a folder; pyOCD is missing unless said otherwise."""
    (root / "bin").mkdir(parents=True, exist_ok=True)
    time = time or Time()
    settings: dict[str, Any] = {
        "path": str(root / "bin"),
        "root": root,
        "clock": time.clock,
        "sleep": time.sleep,
        "load": without(*(packages_missing or ("pyocd",))),
    }
    return Surroundings(**{**settings, **changes})


def add_program(root: Path, name: str, body: str) -> Path:
    """Put a program on the machine's search path: Python that finds its arguments in ``args``; they are kept in NAME.log."""
    path = root / "bin" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    log = root / f"{name}.log"
    text = f"#!{sys.executable}\nimport json, pathlib, sys, time\nargs = sys.argv[1:]\n"
    text += f"with open({str(log)!r}, 'a') as file: file.write(json.dumps(args) + '\\n')\n"
    path.write_text(text + body)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def add_volume(root: Path, name: str, files: dict[str, str], kind: str = "vfat") -> Path:
    """Mount a volume at /media/me/NAME of the machine."""
    path = root / "media" / "me" / name
    path.mkdir(parents=True)
    for file, text in files.items():
        (path / file).write_text(text)
    mounts = root / "proc" / "mounts"
    mounts.parent.mkdir(exist_ok=True)
    escaped = f"/media/me/{name}".replace(" ", "\\040")
    with mounts.open("a") as file:
        file.write(f"/dev/sdb1 {escaped} {kind} rw,nosuid 0 0\n")
    return path


def without_parity(name: str) -> Any:
    """Import; pyserial opens ports without parity, as a pseudo terminal has none and is refused when it is opened twice."""
    module = importlib.import_module(name)
    if name != "serial":
        return module

    def serial_for_url(port: str, **settings: Any) -> Any:
        assert settings.pop("parity") in "EN"
        return module.serial_for_url(port, **settings)

    return SimpleNamespace(serial_for_url=serial_for_url)


class LinePort:
    """A serial port with a device at its end that answers lines: ``answer`` maps what was written to what comes back."""

    def __init__(self, answer: Callable[[bytes], bytes], time: Time, before: bytes = b"") -> None:
        self._answer, self._time, self._waiting = answer, time, before
        self.timeout: float | None = 1.0
        self.closed = threading.Event()

    def write(self, data: bytes) -> int:
        self._waiting += self._answer(data)
        return len(data)

    def read(self, size: int = 1) -> bytes:
        taken, self._waiting = self._waiting[:size], self._waiting[size:]
        if len(taken) < size:
            self._time.sleep(self.timeout or 0.0)
        return taken

    def close(self) -> None:
        self.closed.set()
