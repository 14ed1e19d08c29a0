# SPDX-License-Identifier: Apache-2.0
"""The NVM section: written, read back in Python and C, ignored by those who do not know it, refused where it is hostile."""

from __future__ import annotations

import json
import random
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_board, tiny_quant_graph

from joulet._core import ffi, lib
from joulet.boards import load_board
from joulet.container import layout
from joulet.container.assemble import HEADER_BYTES, SECTION_BYTES, PartSection, assemble, read_table, without_low_planes
from joulet.container.describe import describe
from joulet.container.nvm_plan import NvmPlan, nvm_section
from joulet.container.parts import with_board, with_nvm_plan
from joulet.container.read import Container
from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError, PlanError
from joulet.plan.nvm import plan_nvm
from joulet.plan.nvm_layout import graph_of
from joulet.plan.nvm_verify import verify_nvm
from joulet.tools.inspect import render

ROOT = Path(__file__).resolve().parents[1]
NO_OFFSET = layout.NO_OFFSET
HEADER = layout.dtype("NvmPlan")


@pytest.fixture(scope="module")
def plain() -> bytes:
    return write_container(tiny_quant_graph())


@pytest.fixture(scope="module")
def plan(plain: bytes) -> NvmPlan:
    found = plan_nvm(Container.from_bytes(plain), load_board("virtual_m4"), strategy="in-nvm").plan
    assert found is not None
    return found


class Found:
    """What the C side makes of a container; keeps the bytes alive."""

    def __init__(self, data: bytes, board: str = "virtual_m4", nvm_bytes: int = 1 << 20) -> None:
        self._room = np.zeros(len(data) + 64, np.uint8)
        at = -self._room.ctypes.data % 64
        self._room[at : at + len(data)] = np.frombuffer(data, np.uint8)
        self._room.flags.writeable = False
        self._container = ffi.new("jlt_container_t *")
        base = ffi.cast("void *", self._room.ctypes.data + at)
        self.checked = int(lib.jlt_container_check(base, len(data), self._container))
        self.view: Any = ffi.new("jlt_nvm_plan_view_t *")
        self.status = self.checked
        if not self.checked:
            self.status = int(lib.jlt_nvm_plan_find(self._container, board.encode(), nvm_bytes, self.view))


def with_section(container: bytes, content: bytes) -> bytes:
    """Put any bytes where a plan is expected, with sums that are right."""
    sections = [
        PartSection(s.name, container[s.offset : s.offset + s.size_bytes], s.part)
        for s in read_table(container).sections
        if s.name != "NVM"
    ]
    return assemble([*sections, PartSection("NVM", content, 7)])


def changed(section: bytes, **values: int) -> bytes:
    """Return a section with other header fields."""
    header = np.frombuffer(section, HEADER, 1).copy()
    for name, value in values.items():
        header[name] = value
    return header.tobytes() + section[HEADER.itemsize :]


@pytest.mark.parametrize("strategy", ["in-nvm", "jit-copy", "restart-from-exit"])
def test_a_plan_comes_back_in_python_and_c(plain: bytes, strategy: str) -> None:
    board = load_board("virtual_m4")
    planned = plan_nvm(Container.from_bytes(plain), board, capacitor_f=10e-3, strategy=strategy).plan
    assert planned is not None
    data = with_nvm_plan(plain, planned)
    assert Container.from_bytes(data).nvm_plans == (planned,)
    found = Found(data)
    assert found.status == 0
    record = found.view.plan
    assert ffi.string(ffi.cast("char *", record.name)) == b"virtual_m4"
    assert record.strategy == layout.CODES["NvmStrategy"][strategy.upper().replace("-", "_")]
    assert (record.commit_cycles, record.warn_mv) == (planned.commit_cycles, planned.warn_mv)
    assert (record.copies, record.copy_bytes, record.total_bytes) == (
        planned.copies, planned.copy_bytes, planned.total_bytes,
    )  # fmt: skip
    offsets = [int(found.view.offsets[i]) for i in range(record.n_tensors)]
    assert offsets == [NO_OFFSET if offset is None else offset for offset in planned.offsets]


def test_the_model_hash_is_left_alone_and_one_board_has_one_plan(plain: bytes, plan: NvmPlan) -> None:
    once = with_nvm_plan(plain, plan)
    assert Container.from_bytes(once).model_hash == Container.from_bytes(plain).model_hash
    other = replace(plan, board="another")
    twice = with_nvm_plan(with_nvm_plan(once, other), replace(plan, commit_cycles=77))
    assert [(each.board, each.commit_cycles) for each in Container.from_bytes(twice).nvm_plans] == [
        ("another", plan.commit_cycles),
        ("virtual_m4", 77),
    ]
    assert Found(twice).view.plan.commit_cycles == 77
    assert Found(twice, "another").status == 0
    assert Found(twice, "virtual_m").status == Found(twice, "virtual_m4x").status == -20
    assert Found(plain).status == -20


def test_costs_and_plan_of_a_board_share_a_part(plain: bytes, plan: NvmPlan) -> None:
    container = Container.from_bytes(plain)
    costs = tiny_board(len(container.precisions), len(container.ops))
    mine = replace(plan, board=costs.name)
    for data in (with_nvm_plan(with_board(plain, costs), mine), with_board(with_nvm_plan(plain, mine), costs)):
        parts = {s.name: s.part for s in read_table(data).sections if s.part}
        assert parts["BOARD"] == parts["NVM"]
        assert Found(data, costs.name).status == 0


def test_a_plan_that_does_not_fit_is_not_written(plain: bytes, plan: NvmPlan) -> None:
    with pytest.raises(PlanError, match="tensors"):
        with_nvm_plan(plain, replace(plan, offsets=plan.offsets[1:]))
    with pytest.raises(PlanError, match="31 characters"):
        with_nvm_plan(plain, replace(plan, board="b" * 32))
    small = without_low_planes(plain)
    assert with_nvm_plan(small, plan) == small


def test_engines_that_do_not_ask_run_as_before(plain: bytes, plan: NvmPlan) -> None:
    data = with_nvm_plan(plain, plan)
    assert HostEngine(data).path_names == HostEngine(plain).path_names


def test_inspect_shows_it(plain: bytes, plan: NvmPlan) -> None:
    content = describe(Container.from_bytes(with_nvm_plan(plain, plan)))
    assert json.loads(json.dumps(content))["nvm_plans"][0]["strategy"] == "in-nvm"
    assert "power cuts on" in render(content)
    assert "power cuts on" not in render(describe(Container.from_bytes(plain)))


SECTION, ARENA, OVERLAP = -7, -17, -18


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"strategy": 0}, SECTION),
        ({"strategy": 4}, SECTION),
        ({"copies": 2}, SECTION),
        ({"copies": 0}, SECTION),
        ({"interval_ops": 0}, SECTION),
        ({"copy_bytes": 13, "total_bytes": 13}, SECTION),
        ({"total_bytes": 0}, SECTION),
        ({"n_tensors": 3}, SECTION),
        ({"n_tensors": 0x4000_0009}, SECTION),
        ({"copy_bytes": 4, "total_bytes": 4}, ARENA),
        ({"copy_bytes": 0x8000_0000, "total_bytes": 0x8000_0000}, ARENA),
        ({"strategy": 2, "copies": 2, "copy_bytes": 0x8000_0000, "total_bytes": 0}, SECTION),
    ],
)
def test_hostile_headers_are_refused(plain: bytes, plan: NvmPlan, values: dict[str, int], status: int) -> None:
    section = nvm_section(plan, len(plan.offsets))
    assert Found(with_section(plain, changed(section, **values))).status == status


def test_hostile_offsets_are_refused(plain: bytes, plan: NvmPlan) -> None:
    graph = graph_of(Container.from_bytes(plain))
    source, target = graph.ops[0].output, graph.ops[1].output
    places = list(plan.offsets)

    def status(tensor: int, offset: int | None, **values: int) -> int:
        section = nvm_section(replace(plan, offsets=(*places[:tensor], offset, *places[tensor + 1 :])), len(places))
        return Found(with_section(plain, changed(section, **values))).status

    place = places[source]
    assert place is not None
    assert status(target, place) == OVERLAP  # in place
    assert status(target, place + 4) == OVERLAP
    assert status(target, 2) == ARENA
    assert status(target, plan.copy_bytes) == ARENA
    assert status(target, 0xFFFF_FFFC) == ARENA
    assert status(target, None) == ARENA
    assert status(0, 0) == ARENA  # the input is read again
    assert status(source, place, interval_ops=0xFFFF_FFFF) == 0  # each has a place of its own: intervals of any length
    assert Found(with_nvm_plan(plain, plan), nvm_bytes=plan.total_bytes).status == 0
    assert Found(with_nvm_plan(plain, plan), nvm_bytes=plan.total_bytes - 1).status == ARENA


def test_longer_intervals_need_more_distance(plain: bytes, plan: NvmPlan) -> None:
    from joulet.plan.nvm_layout import layout_for

    graph = graph_of(Container.from_bytes(plain))
    tight = layout_for(graph, 1)
    shared = replace(plan, offsets=tight.offsets, copy_bytes=tight.bytes, interval_ops=1)
    assert Found(with_nvm_plan(plain, shared)).status == 0
    assert Found(with_nvm_plan(plain, replace(shared, interval_ops=len(graph.ops)))).status == OVERLAP


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8))
def test_c_accepts_what_the_verifier_accepts(plain: bytes, plan: NvmPlan, seed: int, interval_ops: int) -> None:
    """Random places: what C lets pass is sound. The other way round C may be stricter, with what nothing reads."""
    chance = random.Random(seed)
    graph = graph_of(Container.from_bytes(plain))
    total = 4 * chance.randrange(10, 100)
    offsets = [
        None if place is None else 4 * chance.randrange((total - (graph.sizes[t] or 0)) // 4 + 1) if total >= 64 else 0
        for t, place in enumerate(plan.offsets)
    ]
    candidate = replace(plan, offsets=tuple(offsets), copy_bytes=total, interval_ops=interval_ops)
    if Found(with_nvm_plan(plain, candidate)).status == 0:
        assert verify_nvm(graph, candidate.offsets, total, interval_ops) == ()


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32))
def test_mutated_sections_never_lead_outside(plain: bytes, plan: NvmPlan, seed: int) -> None:
    chance = random.Random(seed)
    section = bytearray(nvm_section(plan, len(plan.offsets)))
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(32, len(section) - 3)
        extreme = chance.choice((0, 1, 4, 0x7FFF_FFFC, 0x8000_0000, 0xFFFF_FFFC, 0xFFFF_FFFF, chance.getrandbits(32)))
        section[at : at + 4] = struct.pack("<I", extreme)
    cut = len(section) if chance.random() < 0.8 else chance.randrange(len(section))
    found = Found(with_section(plain, bytes(section[:cut])), nvm_bytes=4096)
    assert found.status in (0, -20, SECTION, ARENA, OVERLAP)
    if found.status == 0:
        record = found.view.plan
        assert record.total_bytes <= 4096
        graph = graph_of(Container.from_bytes(plain))
        for tensor, size in enumerate(graph.sizes):
            offset = int(found.view.offsets[tensor])
            assert offset == NO_OFFSET or (size is not None and offset + size <= record.copy_bytes)


def test_python_refuses_what_cannot_be(plain: bytes, plan: NvmPlan) -> None:
    section = nvm_section(plan, len(plan.offsets))
    for content in (section[:-4], section + bytes(4), changed(section, strategy=9), changed(section, total_bytes=1)):
        with pytest.raises(ContainerError, match="INV-31"):
            Container.from_bytes(with_section(plain, content))


def test_an_absent_section_is_none(plain: bytes, plan: NvmPlan) -> None:
    """The entry says that nothing is there: offset 0 is the header, not a plan."""
    data = bytearray(with_nvm_plan(plain, plan))
    index = [s.name for s in read_table(bytes(data)).sections].index("NVM")
    at = HEADER_BYTES + SECTION_BYTES * index
    struct.pack_into("<II", data, at + 4, 0, 0)
    end = HEADER_BYTES + SECTION_BYTES * struct.unpack_from("<H", data, 16)[0]
    struct.pack_into("<I", data, 20, 0)
    struct.pack_into("<I", data, 20, zlib.crc32(data[:end]))
    assert Found(bytes(data)).status == -20


def test_null_pointers_are_refused(plain: bytes) -> None:
    view = ffi.new("jlt_nvm_plan_view_t *")
    assert lib.jlt_nvm_plan_find(ffi.NULL, b"x", 0, view) == -1


def test_hostile_plans_stay_inside_under_sanitizers(plain: bytes, plan: NvmPlan, tmp_path: Path) -> None:
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    program, model = tmp_path / "fuzz_nvm_plan", tmp_path / "m.jlt"
    model.write_bytes(with_nvm_plan(plain, plan))
    flags = [
        "-std=c11",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-I",
        str(ROOT / "csrc"),
    ]
    sources = [ROOT / "tests" / "c" / "fuzz_nvm_plan.c"]
    sources += [path for room in ("core", "kernels") for path in sorted((ROOT / "csrc" / room).rglob("*.c"))]
    command = [compiler, *flags, *map(str, sources), "-lm", "-o", str(program)]
    built = subprocess.run(command, check=False, capture_output=True, text=True)
    if built.returncode and "san" in built.stderr and "error:" not in built.stderr:
        pytest.skip("the compiler has no sanitizer runtime")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run([str(program), str(model), plan.board, "200000"], check=False, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert int(ran.stdout.split()[0]) > 0


def test_build_puts_the_plan_into_the_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from board_tools import container, need_board

    from joulet.boards import board_table
    from joulet.flash.build import read_build
    from joulet.tools.main import main

    need_board()
    model = tmp_path / "m.jlt"
    model.write_bytes(container())
    words = ["build", str(model), "--board", "virtual_m4", "--capacitor", "4.7mF", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "power cuts on virtual_m4: 4.7 mF" in text
    assert "taken: the least that makes progress" in text
    build = read_build(tmp_path / "out")
    slot = board_table("virtual_m4")["slots"]["model"]
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    n_bytes = next(segment["bytes"] for segment in manifest["segments"] if segment["name"] == "model")
    decoded = Container.from_bytes(build.image.part(slot["address"], n_bytes))
    assert [each.board for each in decoded.nvm_plans] == ["virtual_m4"]
    assert Found(decoded.data).status == 0
    assert main([*words, "--strategy", "restart-from-exit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["power_cuts"]["taken"] == "restart-from-exit"
    assert main(["build", str(model), "--board", "virtual_m4", "--capacitor", "1nF", "--strategy", "in-nvm"]) == 2
    assert "larger capacitor" in capsys.readouterr().err
