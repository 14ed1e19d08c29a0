# SPDX-License-Identifier: Apache-2.0
"""Policies on two sides: replaced, refused, gone back to, following their model, and cut."""

from __future__ import annotations

import numpy as np
import pytest
from board_tools import container
from link_bench import alive, tiny_container
from update_bench import Memory, PausingPort

import joulet
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.supply import Supply
from joulet.energy.synthetic import ConstantHarvester
from joulet.errors import LinkError
from joulet.firmware.slots import policy_slot, slot
from joulet.link import Board, connect
from joulet.plan.cost import board_costs, cost_table
from joulet.policies.shadow import Shadow
from joulet.session import policy_context


def policy(capacitor_f: float) -> bytes:
    """Return the slot of a policy for container(), fitted to a store."""
    board, decoded = joulet.load_board("virtual_m4"), Container.from_bytes(container())
    store = Capacitor(capacitor_f, max_v=board.load.max_v, initial_v=board.load.on_v)
    world = Supply(ConstantHarvester(1e-3), ConstantConverter(0.8), store, board.load, 10.0)
    shadow = Shadow()
    shadow.reset(policy_context(world, cost_table(decoded, board_costs(decoded, board)), 1.0, 1.0, 1))
    assert shadow.table is not None
    return policy_slot(shadow.table.to_bytes(), decoded.model_hash)


@pytest.fixture(scope="module")
def policies() -> tuple[bytes, bytes]:
    pair = policy(1e-3), policy(4e-3)
    assert pair[0] != pair[1]
    return pair


def says(board: Board) -> tuple[int, str, bool]:
    hello = board.greet()
    return hello.policy_status, hello.policy_side, hello.policy_other


def prices(board: Board) -> list[tuple[int, int]]:
    return [board.price(level << 16, 1 << 15) for level in range(1, 20, 3)]


def test_policies_take_turns_and_come_back_with_their_model(policies: tuple[bytes, bytes]) -> None:
    machine = alive(container())
    with connect(VirtualPort(machine)) as board:
        assert says(board) == (-23, "A", False)
        board.upload("POLICY", policies[0])
        assert says(board) == (0, "B", False)
        first = prices(board)
        with pytest.raises(LinkError, match="policy"):
            board.upload("POLICY", slot("POLICY", b"none at all, and long enough to be looked at"))
        assert says(board) == (0, "B", False)
        assert prices(board) == first
        board.upload("POLICY", policies[1])
        assert says(board) == (0, "A", True)
        second = prices(board)
        assert second != first
        assert board.rollback("POLICY").policy_side == "B"
        assert prices(board) == first
        board.upload("MODEL", tiny_container())
        assert says(board)[0] == -23  # made for another model
        board.rollback("MODEL")
        assert says(board) == (0, "B", True)
        assert prices(board) == first
    machine.check()


def test_a_cut_leaves_the_old_or_the_new_policy(policies: tuple[bytes, bytes]) -> None:
    machine = alive(container())
    probe = VirtualBoard("virtual_m4", firmware=machine.firmware)
    rng = np.random.default_rng(3)
    found: list[list[tuple[int, int]]] = []

    def look(memory: Memory, torn: bool) -> None:
        memory.onto(probe)
        with connect(VirtualPort(probe)) as link:
            assert link.hello.policy_status == 0
            found.append(prices(link))

    port = PausingPort(machine, rng, look)
    with connect(port) as board:
        board.upload("POLICY", policies[0])
        first = prices(board)
        start = machine.core.instructions
        board.upload("POLICY", policies[1])
        length = machine.core.instructions - start
        second = prices(board)
        board.rollback("POLICY")
        late = length - rng.integers(0, length // 20, 20)
        port.stop_at(np.concatenate([rng.integers(0, length, 30), late]))
        port.torn = 0.05
        board.upload("POLICY", policies[1])
        port.torn = 0.0
        assert prices(board) == second
    assert len(found) >= 40
    assert all(each in (first, second) for each in found)
    assert first in found
    machine.check()
