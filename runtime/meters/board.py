# SPDX-License-Identifier: Apache-2.0
"""A board's own sensors as a meter: the voltage of its store and its energy counter, asked over the link."""

from __future__ import annotations

from contextlib import ExitStack

from joulet.errors import EngineError, LinkError, MeterError
from joulet.meters.machine import Machine
from joulet.meters.seam import Quality, Reading
from joulet.meters.spec import Spec

_STORE, _COUNTER = 1, 2


class BoardMeter:
    """``board:/dev/ttyACM0``, or a board that is a program. Power is the mean between two readings, by the board's own clock."""

    def __init__(self, machine: Machine, spec: Spec) -> None:
        spec.allow()
        self.source = spec.text
        if not spec.where:
            raise MeterError(
                f"source '{spec.text}': say which board, as in board:/dev/ttyACM0 or board:virtual:virtual_m4"
            )
        self._machine = machine
        self._stack = ExitStack()
        try:
            self._board = self._stack.enter_context(machine.open_board(spec.where))
            first = self._board.sensors()
        except (LinkError, EngineError) as error:
            self._stack.close()
            raise MeterError(f"source '{spec.text}': {error}") from error
        valid = int(first["valid"])
        self._name = self._board.hello.board
        if not valid & _COUNTER:
            self._stack.close()
            raise MeterError(
                f"source '{spec.text}': board {self._name} has no energy counter; use a meter at its supply"
            )
        self.notes: tuple[str, ...] = () if valid & _STORE else (f"board {self._name} does not measure its store",)
        self._last = (int(first["time_us"]), int(first["drawn_nj"]))
        self._first_nj = self._last[1]

    def read(self) -> tuple[Reading, ...]:
        """Return mean power since the last reading, and the voltage of the store.

        Raises
        ------
        MeterError
            If the board does not answer, or its counter fell because it was reset.
        """
        time_s = self._machine.clock()
        try:
            record = self._board.sensors()
        except LinkError as error:
            raise MeterError(f"source '{self.source}': {error}") from error
        now = (int(record["time_us"]), int(record["drawn_nj"]))
        passed_us, spent_nj = now[0] - self._last[0], now[1] - self._last[1]
        if spent_nj < 0 or passed_us < 0:
            raise MeterError(f"source '{self.source}': counter or clock of board {self._name} fell: it was reset")
        quality = Quality.OK
        if passed_us:
            self._last = now
        else:
            quality |= Quality.STALE
        power_w = 1e-3 * spent_nj / passed_us if passed_us else None
        return (
            Reading(
                time_s=0.5 * (time_s + self._machine.clock()),
                rail=self._name,
                voltage_v=1e-3 * int(record["store_mv"]) if int(record["valid"]) & _STORE else None,
                power_w=power_w,
                energy_j=1e-9 * (now[1] - self._first_nj),
                provenance=f"measured: energy counter of board {self._name}, asked over the link (asking costs some)",
                quality=quality,
            ),
        )

    def close(self) -> None:
        """Send the board back to its ASCII mode and let go of the line."""
        self._stack.close()
