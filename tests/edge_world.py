# SPDX-License-Identifier: Apache-2.0
"""A machine that is a program: an engine that takes time and power, and files of /sys that tell what it drew."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ina_device import FakeBus, Part
from meter_trees import HWMON, ORIN_NANO, plant, rapl_zone

from joulet.engine.host import HostEngine
from joulet.engine.seam import Array, Depth, ExitEvent, InferResult, TensorInfo
from joulet.meters import Machine
from joulet.records import CostTable

_STEP_S = 0.01


@dataclass
class World:
    """Time that passes only when something sleeps or computes, at the power that this draws.

    ``idle_w``; ``points`` maps a path to (time of an inference at full clock [s], power while it runs [W], share of correct
    answers). The clock's fraction ``speed`` makes inferences slower by 1/speed and their power lower by speed³.
    """

    root: Path
    points: dict[str, tuple[float, float, float]]
    idle_w: float = 2.0
    now_s: float = 0.0
    energy_j: float = 0.0
    power_w: float = 0.0
    speed: float = 1.0
    gone: bool = False
    ticks: list[Callable[[], None]] = field(default_factory=list)
    at: dict[float, Callable[[], None]] = field(default_factory=dict)
    around: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.power_w = self.idle_w
        plant(self.root, rapl_zone("intel-rapl:0", "package-0", 0))
        plant(self.root, {f"{HWMON}/hwmon0/name": "ina226", f"{HWMON}/hwmon0/in1_input": 5_000,
                          f"{HWMON}/hwmon0/curr1_input": 0})  # fmt: skip

    def pass_time(self, seconds: float, power_w: float) -> None:
        """Let time go by at a power."""
        end_s = self.now_s + seconds
        self.power_w = power_w
        while self.now_s < end_s - 1e-12:
            step_s = min(_STEP_S, end_s - self.now_s)
            for tick in self.ticks:
                tick()
            self.now_s += step_s
            self.energy_j += power_w * step_s
            for time_s in [t for t in self.at if t <= self.now_s]:
                self.at.pop(time_s)()
        self.power_w = self.idle_w

    def sleep(self, seconds: float) -> None:
        """Idle."""
        self.pass_time(seconds, self.idle_w)

    def read_file(self, path: Path) -> str:
        """Return what a file of /sys holds now."""
        if self.gone and ("hwmon" in str(path) or "powercap" in str(path)):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), str(path))
        if path.name == "energy_uj":
            return str(round(self.energy_j * 1e6))
        if path.name == "curr1_input":
            return str(round(self.power_w / 5.0 * 1e3))
        return path.read_text()

    def wear(self, source: str) -> None:
        """Take on what a source looks for: the rails of a Jetson, the PMIC of a Raspberry Pi 5, a chip on I2C."""
        if source == "jetson":
            plant(self.root, ORIN_NANO)
        elif source == "pi5":
            self.around["find_program"] = lambda name: f"/usr/bin/{name}" if name == "vcgencmd" else None
            self.around["run"] = lambda command: (
                0,
                f"   VDD_CORE_A current(7)={self.power_w / 2.0:.8f}A\n   VDD_CORE_V volt(15)=2.00000000V\n",
            )
        elif source.startswith("ina226"):
            part = Part("ina226", shunt_ohm=0.01, volts=[5.0, 0.0, 0.0])
            self.around["open_bus"] = FakeBus({0x40: part})

            def convert() -> None:
                part.amps[0] = self.power_w / 5.0
                part.convert(_STEP_S)

            convert()
            self.ticks.append(convert)

    def machine(self, **others: Any) -> Machine:
        """Return the machine that meters and knobs see."""
        fields = {
            "root": self.root, "read_file": self.read_file, "clock": lambda: self.now_s, "wall": lambda: 1e9 + self.now_s,
            "sleep": self.sleep, "find_program": lambda name: None, **self.around, **others,
        }  # fmt: skip
        return Machine(**fields)


class WorldEngine:
    """An engine of one exit whose answers are right as often as its path says."""

    def __init__(self, world: World, classes: int = 4) -> None:
        self._world, self._classes = world, classes
        info = TensorInfo(name="x", shape=(1, 1), dtype=np.dtype(np.int16), scale=1.0, zero_point=0)
        self.inputs = (info,)
        self.outputs = (info,)
        self.exit_names = ("last",)
        self.path_names = tuple(world.points)
        self.model_hash = "00" * 32

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        """Take time; the input is the sample's number, the right class that number modulo ``classes``."""
        name = self.path_names[path] if isinstance(path, int) else path
        seconds, power_w, right = self._world.points[name]
        speed = self._world.speed
        self._world.pass_time(seconds / speed, self._world.idle_w + (power_w - self._world.idle_w) * speed**3)
        sample = int(np.asarray(inputs[0]).reshape(-1)[0])
        good = (sample * 0.6180339887) % 1.0 < right
        output = np.zeros((1, self._classes), np.int8)
        output[0, (sample + (0 if good else 1)) % self._classes] = 1
        return InferResult(
            outputs=(output,), exit=np.zeros(1, np.uint8), confidence_q15=np.full(1, 32767, np.uint16),
            macs=np.zeros(1, np.uint64),
        )  # fmt: skip


class SteppedWorldEngine:
    """A real stepped engine on a world: its answers, times and power that follow a table of costs, but for a factor of each path.

    Reaching the last exit of the first path takes ``whole_s`` at ``busy_w``; ``wrong`` is how much slower than planned every other
    path is.
    """

    def __init__(
        self, world: World, engine: HostEngine, table: CostTable, *, busy_w: float, whole_s: float, wrong: float = 1.2
    ) -> None:
        self._world, self._engine, self._busy_w = world, engine, busy_w
        self.inputs, self.outputs, self.model_hash = engine.inputs, engine.outputs, engine.model_hash
        self.exit_names, self.path_names = engine.exit_names, engine.path_names
        self._cycles = [[step.cycles if step else 0 for step in rows[0]] for rows in table.steps]
        whole = self._cycles[0][-1]
        self._cycle_s = [whole_s / whole * wrong ** (path % 2) for path in range(len(self._cycles))]
        self._path = self._done = 0

    def infer(self, inputs: Sequence[Array], *, path: int | str = 0, depth: Depth = "last") -> InferResult:
        """Take time and answer."""
        number = path if isinstance(path, int) else self.path_names.index(path)
        result = self._engine.infer(inputs, path=path, depth=depth)
        self._pass(self._cycles[number][int(result.exit[0])], number)
        return result

    def start(self, inputs: Sequence[Array], path: int) -> None:
        """Begin one inference."""
        self._path, self._done = path, 0
        self._engine.start(inputs, path)

    def switch(self, path: int) -> None:
        """Go on along another path."""
        self._path = path
        self._engine.switch(path)

    def run_to_exit(self, exit: int) -> ExitEvent:
        """Take the time from the exit reached to this one."""
        cycles = self._cycles[self._path][exit]
        self._pass(max(0, cycles - self._done), self._path)
        self._done = cycles
        return self._engine.run_to_exit(exit)

    def answer(self) -> Array:
        """Return the answer of the exit just reached."""
        return self._engine.answer()

    def _pass(self, cycles: int, path: int) -> None:
        self._world.pass_time(cycles * self._cycle_s[path] / self._world.speed, self._busy_w)
