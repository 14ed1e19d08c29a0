# SPDX-License-Identifier: Apache-2.0
"""``joulet inspect --costs``: bytes counted anew, tap by tap, and memory that a compiler for the board agrees with."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from board_tools import MODELS
from thumb import need_tools

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container import layout
from joulet.container.arena_problem import conv_params
from joulet.container.isa_plan import with_isa_plan
from joulet.container.needs import isa_needs
from joulet.container.ram import ram_of
from joulet.container.read import Container
from joulet.plan.copies import copies_on
from joulet.plan.cost import board_costs
from joulet.plan.step_costs import step_bills
from joulet.plan.steps import ConvParams
from joulet.tools.main import main

ROOT = Path(__file__).resolve().parents[1]
BOARD = "virtual_m4"


def model(name: str) -> Container:
    """Return a small model."""
    return Container.from_bytes(compile_model(MODELS / f"{name}.tflite", exits="off").container)


def _taps(p: ConvParams) -> int:
    found = 0
    for y in range(p.out_h):
        for x in range(p.out_w):
            for ky in range(p.k_h):
                for kx in range(p.k_w):
                    row, column = (
                        y * p.stride_h + ky * p.dilation_h - p.pad_top,
                        x * p.stride_w + kx * p.dilation_w - p.pad_left,
                    )
                    found += 0 <= row < p.in_h and 0 <= column < p.in_w
    return p.n * found * p.in_c


@pytest.mark.parametrize("name", ["conv_int8", "depthwise_int8", "dense_int8", "residual_int8"])
def test_bytes_are_those_of_every_tap_and_every_pass(name: str) -> None:
    container, board = model(name), load_board(BOARD)
    codes = {code: op for op, code in layout.CODES["OpCode"].items()}
    for precision, width in ((0, 2), (1, 1)):  # w8: both planes; w4: one
        bills = step_bills(container, board, precision, None)
        assert {bill.kernels for bill in bills} == {"REF"}
        for op, bill in enumerate(bills):
            assert bill.energy_nj == pytest.approx(bill.cycles * board.load.energy_pj_per_cycle / 1e3)
            if codes[int(container.ops[op]["code"])] not in ("CONV", "DWCONV", "FC"):
                assert (bill.weight_bytes, bill.weights_from) == (0, "")
                continue
            p = conv_params(container, op)
            assert bill.arena_read_bytes == _taps(p)
            assert bill.arena_written_bytes == p.n * p.out_h * p.out_w * p.out_c
            record = container.weights[int(container.ops[op]["weight"])]
            plane = int(record["rows"]) * -(-int(record["row_elements"]) // 2)
            assert bill.weight_bytes == width * plane
            assert bill.weights_from == ("planes" if width == 2 else "plane")
            passes = -(-p.out_h * p.out_w // 4)
            assert bill.flash_read_bytes == passes * (bill.weight_bytes + 12 * p.out_c)
            moved = bill.arena_read_bytes + bill.arena_written_bytes + bill.flash_read_bytes
            assert bill.accesses_per_mac == pytest.approx(moved / bill.macs)
            rates = board.roof
            floor = bill.macs / rates.macs_per_cycle + bill.arena_written_bytes * rates.requantise_cycles
            assert bill.bound == ("compute" if floor >= moved / rates.bytes_per_cycle else "memory")


def test_packed_copies_are_what_is_read_where_there_are_any() -> None:
    container, board = model("dense_int8"), load_board(BOARD)
    needs = isa_needs(container, layout.CODES["Isa"]["ARMV7EM"])
    dense = [op for op, record in enumerate(container.ops) if int(record["weight"]) != layout.NO_INDEX]
    first = int(container.ops[dense[0]]["weight"])
    for precision, bits in ((0, 8), (1, 4)):
        bills = step_bills(container, board, precision, copies_on(container, board))
        assert [bill.cycles for bill in bills] == list(board_costs(container, board).cycles[precision])
        for op, bill in enumerate(bills):
            read = (("packed", needs[op].packed[bits]), "ARMV7EM") if op in dense else (("", 0), "REF")
            assert ((bill.weights_from, bill.weight_bytes), bill.kernels) == read
        # what is left out runs with the reference kernel, and costs more
        fewer = step_bills(container, board, precision, frozenset({(first, bits)}))
        assert [bill.kernels for bill in fewer if bill.op == "fc"] == ["ARMV7EM"] + ["REF"] * (len(dense) - 1)
        assert all(f.cycles > b.cycles for f, b in zip(fewer, bills, strict=True) if f.kernels != b.kernels)


def test_state_is_what_a_compiler_for_the_board_says(tmp_path: Path) -> None:
    need_tools()
    source, target = tmp_path / "state.c", tmp_path / "state.o"
    source.write_text('#include "joulet.h"\nchar state[sizeof(jlt_container_t) + sizeof(jlt_engine_t)];\n')
    flags = ["-mcpu=cortex-m4", "-mthumb", "-std=c11", "-ffreestanding", "-DJLT_TWO_MEMORIES=0"]
    flags += ["-I", str(ROOT / "csrc"), "-c"]
    subprocess.run(["arm-none-eabi-gcc", *flags, str(source), "-o", str(target)], check=True)
    listed = subprocess.run(["arm-none-eabi-nm", "-S", str(target)], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^[0-9a-f]+ ([0-9a-f]+) \w state$", listed, re.MULTILINE)
    assert found is not None
    assert ram_of(model("dense_int8"), "ARMV7EM").state_bytes == int(found[1], 16)


def test_memory_is_that_of_the_plan_part() -> None:
    container = model("residual_int8")
    ram = ram_of(container, "ARMV6M")
    planned = with_isa_plan(container.data, "ARMV6M")
    info = next(s for s in Container.from_bytes(planned).sections if s.name == "ARENA" and s.part)
    tensors, scratch = (int(word) for word in np.frombuffer(planned, "<u4", 2, info.offset))
    assert ram.arena_bytes == -(-tensors // 16) * 16 + -(-scratch // 16) * 16
    assert ram.scratch_bytes == max(each.scratch_bytes for each in isa_needs(container, layout.CODES["Isa"]["ARMV6M"]))
    assert ram.activation_bytes <= tensors
    assert ram.total_bytes == ram.arena_bytes + ram.state_bytes


def test_the_command_prints_tables_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.jlt"
    path.write_bytes(model("residual_int8").data)
    assert main(["inspect", str(path), "--costs", "--board", BOARD, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    names = [each["precision"] for each in content["costs"]["precisions"]]
    assert names == [name for name in content["precisions"] if name != "f32"]
    assert all(len(each["steps"]) == len(content["layers"]) for each in content["costs"]["precisions"])
    assert content["ram"]["total_bytes"] == content["ram"]["arena_bytes"] + content["ram"]["state_bytes"]
    assert main(["inspect", str(path), "--costs", "--board", BOARD]) == 0
    text = capsys.readouterr().out
    total = sum(step["cycles"] for step in content["costs"]["precisions"][0]["steps"])
    assert f"{total:,}" in next(line for line in text.splitlines() if line.startswith("all steps"))
    assert f"RAM on {BOARD} (ARMV7EM): {content['ram']['total_bytes']:,} bytes" in text
    assert main(["inspect", str(path), "--board", "nowhere"]) != 0
