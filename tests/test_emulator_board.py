# SPDX-License-Identifier: Apache-2.0
"""The virtual board: what it counts, what a cut leaves, when a store runs empty, what its devices say."""

from __future__ import annotations

import numpy as np
import pytest
from board_tools import container, need_board, samples

from joulet.boards import load_board
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.emulator.power import HarvestedSupply, Phase
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.supply import Supply
from joulet.energy.synthetic import ConstantHarvester
from joulet.engine.board import BoardEngine
from joulet.errors import EngineError, UsageError
from joulet.link import connect
from joulet.tools.engines import WindowCounter

BOARDS = ("virtual_m4", "virtual_m0plus")


def board(name: str = "virtual_m4", **options: object) -> VirtualBoard:
    need_board()
    made = VirtualBoard(name, **options)  # type: ignore[arg-type]
    made.load(made.facts.slots["model"].address, container())
    return made


def supply(name: str, capacitor_f: float, harvest_w: float = 0.0, end_s: float = 100.0) -> HarvestedSupply:
    load = load_board(name).load
    store = Capacitor(capacitor_f, max_v=load.max_v, initial_v=load.on_v, leakage_ohm=1e9)
    return HarvestedSupply(
        Supply(ConstantHarvester(harvest_w), ConstantConverter(1.0, quiescent_w=0.0), store, load, end_s), end_s
    )


def say(virtual: VirtualBoard, text: bytes) -> bytes:
    port = VirtualPort(virtual)
    port.write(text)
    said = b""
    while data := port.read(4096, 1.0):
        said += data
    return said


@pytest.mark.parametrize("name", BOARDS)
def test_it_boots_in_the_runners_protocol(name: str) -> None:
    virtual = board(name)
    virtual.power_on()
    assert say(virtual, b"") == b"m-timestamp-mode-performance\r\nm-lap-us-0\r\nm-init-done\r\nm-ready\r\n"
    assert say(virtual, b"name%name%") == b"m-name-dut-[joulet]\r\nm-ready\r\n" * 2


@pytest.mark.parametrize("name", BOARDS)
def test_counts_repeat_and_do_not_depend_on_where_a_run_is_split(name: str) -> None:
    whole = board(name)
    whole.power_on()
    assert whole.run() == "idle"
    end, cycles = whole.core.instructions, whole.core.cycles
    split = board(name)
    split.power_on()
    for share in (0.1, 0.11, 0.5, 0.9, 0.999):
        assert split.run(until_instructions=int(end * share)) == "count"
        assert split.core.instructions == int(end * share)
    assert split.run() == "idle"
    # a block that was entered twice, before and after a stop, is counted once
    assert split.core.instructions == end
    assert abs(split.core.cycles - cycles) <= 5 * 40
    assert split.uart.tx == whole.uart.tx


def test_a_cut_at_any_instruction_leaves_a_board_that_starts_again() -> None:
    virtual = board()
    virtual.power_on()
    virtual.run()
    first = virtual.core.instructions
    virtual.power_on()
    virtual.run()
    boot = virtual.core.instructions - first  # shorter: what was checked is known
    rng = np.random.default_rng(0)
    resets = 2
    for cut in sorted(rng.integers(1, boot, 25).tolist()):
        virtual.power_on()
        resets += 1
        assert virtual.run(until_instructions=virtual.core.instructions + cut) == "count"
        virtual.cut()
        assert virtual.run() == "off"
    virtual.power_on()
    virtual.uart.tx.clear()
    assert say(virtual, b"name%").endswith(b"m-name-dut-[joulet]\r\nm-ready\r\n")
    assert virtual.resets == resets + 1


def test_non_volatile_memory_outlives_a_cut_and_ram_does_not() -> None:
    virtual = board()
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        assert link.hello.resets == 1
    virtual.core.ram[:] = 0x55
    virtual.cut()
    virtual.power_on()
    assert (virtual.core.ram == 0xAA).all()
    with connect(VirtualPort(virtual)) as link:
        assert link.hello.resets == 2
    assert virtual.fram.writes[0] == 3  # two resets, and the note that the model has been checked


@pytest.mark.parametrize("capacitor_f", [50e-6, 200e-6, 1e-3])
def test_a_store_runs_empty_when_the_closed_form_says_so(capacitor_f: float) -> None:
    power = supply("virtual_m4", capacitor_f)
    load = load_board("virtual_m4").load
    usable_j = 0.5 * capacitor_f * (load.on_v**2 - load.off_v**2)
    running_w = load.clock_hz * load.energy_pj_per_cycle * 1e-12
    virtual = board(power=power)
    virtual.power_on()
    # waits for bytes that never come if it boots in time: keep it busy instead
    virtual.uart.rx.extend(b"infer 100 0%" if usable_j > 1e-6 else b"")
    state = virtual.run()
    assert state == "off"
    # the store leaks through 1 Gohm: less than a millionth here
    assert power.now_s == pytest.approx(usable_j / running_w, rel=1e-4)
    assert power.running_s == pytest.approx(usable_j / running_w, rel=1e-4)
    # the core ran until then, to the last block that fitted
    assert virtual.core.cycles == pytest.approx(usable_j / running_w * load.clock_hz, rel=1e-4)
    power.finish()
    assert power.supply.ledger.close(power.supply.storage.energy_j, provenance={}).residual_fraction < 1e-6


def test_a_harvester_brings_it_back() -> None:
    power = supply("virtual_m4", 100e-6, harvest_w=1e-3, end_s=20.0)
    virtual = board(power=power)
    boots = 0
    while power.recover():
        virtual.power_on()
        boots += 1
        virtual.uart.rx.extend(b"infer 1000 0%")
        if virtual.run() == "end":
            break
    power.finish()
    # 1 mW charges 0.126 mJ in 0.126 s; the core empties it in 6 ms
    assert boots == pytest.approx(20.0 / 0.132, rel=0.1)
    ledger = power.supply.ledger.close(power.supply.storage.energy_j, provenance={})
    assert ledger.residual_fraction < 1e-6
    assert ledger.spent_pj["abandoned"] > 0


def test_sensors_see_the_store_and_what_is_drawn() -> None:
    virtual = board()
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        engine = BoardEngine(container(), link)
        first = link.sensors()
        before_j = virtual.power.drawn_j
        engine.infer([samples("residual_int8")[:4]])
        second = link.sensors()
        drawn_nj = (virtual.power.drawn_j - before_j) * 1e9
    assert int(first["valid"]) == 3
    assert int(first["store_mv"]) in (2399, 2400)
    # one step of the energy register is 51.2 uJ/A x 1 uA = 51.2 nJ; reading it over I2C draws some uJ
    assert int(second["drawn_nj"]) - int(first["drawn_nj"]) == pytest.approx(drawn_nj, rel=0.15)


def test_markers_show_what_the_board_does() -> None:
    virtual = board()
    virtual.trace_phases = True
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        BoardEngine(container(), link).infer([samples("residual_int8")[:1]])
    phases = [phase for _, phase in virtual.phases]
    ops = phases.count(Phase.INFER)
    assert ops > 5
    assert phases == [Phase.INFER, Phase.IDLE] * ops
    times = [time for time, _ in virtual.phases]
    assert times == sorted(times)


def test_flash_is_written_through_its_controller_and_only_once() -> None:
    virtual = board()
    virtual.core.flash[virtual.facts.slots["model"].address :][:4096] = 0
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        assert link.hello.model_status != 0
        BoardEngine(container(), link)
    virtual.check()
    assert virtual.counts.erases == -(-len(container()) // 4096)
    assert virtual.counts.programs == -(-len(container()) // 8)
    assert bytes(virtual.core.flash[virtual.facts.slots["model_b"].address :][: len(container())]) == container()
    virtual.counts.violations = 1
    with pytest.raises(EngineError, match="without an erase"):
        virtual.check()


@pytest.mark.parametrize("name", BOARDS)
def test_an_inference_counts_the_same_every_time(name: str) -> None:
    virtual = board(name)
    virtual.power_on()
    x = samples("residual_int8")[:1]
    with connect(VirtualPort(virtual)) as link:
        engine = BoardEngine(container(), link, counter=WindowCounter(virtual))
        counts = [engine.infer([x], path="w8") for _ in range(3)]
    assert len({int(each.instructions[0]) for each in counts if each.instructions is not None}) == 1
    assert len({int(each.cycles[0]) for each in counts if each.cycles is not None}) == 1


def test_other_boards_are_refused_by_name() -> None:
    need_board()
    with pytest.raises(UsageError, match="virtual_m4"):
        VirtualBoard("nucleo_l4r5zi")


def test_what_was_checked_once_is_not_read_again_at_power_up() -> None:
    virtual = board()
    counts = []
    for _ in range(3):
        before = virtual.core.instructions
        virtual.power_on()
        virtual.run()
        counts.append(virtual.core.instructions - before)
    assert counts[1] == counts[2] < 0.5 * counts[0]
    # another firmware, or another memory, trusts nothing
    virtual.fram.data[16] ^= 1
    before = virtual.core.instructions
    virtual.power_on()
    virtual.run()
    assert virtual.core.instructions - before > 0.9 * counts[0]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_model_whose_transfer_was_cut_is_not_trusted_though_its_header_is_the_same(share: float) -> None:
    virtual = board()
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        link.upload("MODEL", container())
        assert (link.greet().model_side, link.hello.model_other) == ("B", True)

        class Cut(Exception):
            pass

        def stop(done: int, total: int) -> None:
            if done > share * total:
                raise Cut

        with pytest.raises(Cut):
            link.upload("MODEL", container(), stop)
    virtual.cut()
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        assert (link.hello.model_status, link.hello.model_side, link.hello.model_other) == (0, "B", False)
        link.upload("MODEL", container())
        assert (link.greet().model_status, link.hello.model_side, link.hello.model_other) == (0, "A", True)
    virtual.cut()
    virtual.power_on()
    with connect(VirtualPort(virtual)) as link:
        assert (link.hello.model_status, link.hello.model_side, link.hello.model_other) == (0, "A", True)
    virtual.check()
