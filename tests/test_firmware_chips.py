# SPDX-License-Identifier: Apache-2.0
"""The real boards' firmware on chips whose registers are models: drivers do what the manuals ask, in that order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chip import Chip
from chips import CHIPS
from thumb import need_tools

from joulet.engine.host import HostEngine
from joulet.firmware.build import build_firmware
from joulet.link import Runner, connect

TINY = Path(__file__).resolve().parent / "golden" / "containers" / "v1" / "tiny.jlt"


def chip(board: str, *, dead: bool = False) -> Chip:
    need_tools()
    return CHIPS[board][0](build_firmware(board, toolchain="gcc"), dead=dead)


def heard(machine: Chip) -> bytes:
    """Return what it says until it waits to be spoken to."""
    said = b""
    while more := machine.read(4096, 0.0):
        said += more
    return said


@pytest.mark.parametrize("board", CHIPS)
def test_it_boots_and_answers(board: str) -> None:
    machine = chip(board)
    assert b"m-timestamp-mode-performance" in heard(machine)
    assert Runner(machine).name() == "joulet"


@pytest.mark.parametrize("board", CHIPS)
def test_a_model_is_written_into_flash_and_runs(board: str) -> None:
    container = TINY.read_bytes()
    machine = chip(board)
    heard(machine)
    engine = HostEngine(container)
    x = np.random.default_rng(3).integers(-128, 128, (1, *engine.inputs[0].shape[1:]), dtype=np.int8)
    with connect(machine) as link:
        assert link.hello.model_status < 0
        link.upload("MODEL", container)
        link.upload("INPUT", x.tobytes())
        for depth in range(len(engine.exit_names)):
            link.infer(0, depth)
            known = engine.infer([x], path=engine.path_names[0], depth=depth)
            assert link.answer() == known.outputs[0].tobytes()
        ring = machine.facts.slots["activation"].size > 0
        assert (link.greet().model_side, link.hello.model_other) == ("B" if ring else "A", False)
    slots = machine.facts.slots
    slot = slots["model_b" if ring else "model"]
    at = slot.address - machine.base
    assert bytes(machine.flash[at : at + len(container)]) == container
    # the first record finds a page of its ring that is not blank
    assert machine.erased == -(-len(container) // slot.page) + ring
    if board != "pico":  # its ROM is mapped once
        machine.start()
        heard(machine)
    with connect(machine) as link:
        assert (link.hello.model_status, link.hello.model_side) == (0, "B" if ring else "A")
        link.upload("MODEL", container)
        assert (link.greet().model_side, link.hello.model_other) == ("A", ring)
        if ring:
            assert link.rollback("MODEL").model_side == "B"
    assert machine.erased == 2 * -(-len(container) // slot.page) + ring
    assert not machine.failures


@pytest.mark.parametrize("board", CHIPS)
def test_it_reads_its_store(board: str) -> None:
    machine = chip(board)
    heard(machine)
    with connect(machine) as link:
        assert "POWER" in link.hello.caps
        sensors = link.sensors()
        assert int(sensors["valid"]) & 1
        assert int(sensors["store_mv"]) == CHIPS[board][1]


def test_an_fram_on_the_f446_counts_its_resets() -> None:
    machine = chip("nucleo_f446re")
    heard(machine)
    with connect(machine) as link:
        assert "NVM" in link.hello.caps
        assert link.hello.resets == 1
    machine.start()
    heard(machine)
    with connect(machine) as link:
        assert link.hello.resets == 2


@pytest.mark.parametrize("board", CHIPS)
def test_dead_hardware_does_not_hold_it_up(board: str) -> None:
    """No clock gets ready and no counter counts: every wait comes to its bound, and it still answers."""
    machine = chip(board, dead=True)
    assert b"m-ready" in heard(machine)
