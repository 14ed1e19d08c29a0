# SPDX-License-Identifier: Apache-2.0
"""Firmware with the kernels of one model: the same answers in less flash, and a refusal of what it cannot run."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from board_tools import container, need_board, plain_container, samples

from joulet.container import layout
from joulet.container.isa_plan import with_isa_plan
from joulet.container.kernel_use import KernelUse, kernel_use
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.board import BoardEngine
from joulet.engine.host import HostEngine
from joulet.errors import LinkError
from joulet.firmware.build import Firmware, build_firmware
from joulet.firmware.code_size import code_size
from joulet.firmware.linked import Linked
from joulet.firmware.sizes import firmware_sizes
from joulet.link import greet
from joulet.link.client import Board
from joulet.link.ops import ops_lacking
from joulet.tools.main import main

BOARD, ISA = "virtual_m4", "ARMV7EM"
OP = layout.CODES["OpCode"]


@cache
def planned(name: str = "residual_int8") -> bytes:
    return with_isa_plan(plain_container(name), ISA)


@cache
def firmware_of(model: bytes | None) -> Firmware:
    need_board()
    return build_firmware(BOARD, toolchain="gcc", model=model)


def alive(firmware: Firmware, model: bytes) -> Board:
    """Return a link to a virtual board with that firmware and model."""
    machine = VirtualBoard(BOARD, firmware=firmware)
    machine.load(machine.facts.slots["model"].address, model)
    machine.power_on()
    return greet(VirtualPort(machine))


def codes(model: bytes) -> set[int]:
    return {int(code) for code in Container.from_bytes(model).ops["code"]}


# what a container needs


def test_every_op_has_a_kernel_in_the_selection() -> None:
    use = kernel_use(planned(), ISA)
    assert use.ops == sum(1 << code for code in codes(planned()))
    assert use.isa
    assert use.reference & ~use.ops == 0
    assert set(use.op_names) == {name for name, code in OP.items() if code in codes(planned())}


def test_without_a_plan_part_the_reference_kernels_run_all() -> None:
    every = sum(1 << code for code in codes(planned()))
    for model, isa in ((plain_container("residual_int8"), ISA), (planned(), "REF")):
        assert kernel_use(model, isa) == KernelUse(ops=every, reference=every, isa=0)


# what is built


def test_it_has_the_kernels_of_the_model_and_no_others() -> None:
    names = Linked(firmware_of(planned())).symbols
    use = kernel_use(planned(), ISA)
    assert ("jlt_softmax_s8__ref" in names) == bool(use.reference >> OP["SOFTMAX"] & 1)
    assert "jlt_conv_s8__armv7em" in names
    assert "jlt_resize_bilinear_s8__ref" not in names
    assert "jlt_resize_bilinear_s8__ref" in Linked(firmware_of(None)).symbols


def test_it_is_smaller_and_keeps_the_limits() -> None:
    small, whole = firmware_sizes(firmware_of(planned())), firmware_sizes(firmware_of(None))
    assert small.broken == ()
    assert small.stack_bound <= whole.stack_bound
    assert small.flash < whole.flash - 4_000
    one, any = code_size(firmware_of(planned())), code_size(firmware_of(None))
    assert one.inference == one.check + one.engine + one.kernels + one.library
    assert one.kernels < any.kernels
    assert one.engine < any.engine  # it runs no bands
    assert 0 < one.adaptive <= any.adaptive


def test_it_computes_what_the_host_does_on_every_path() -> None:
    model = planned()
    host = HostEngine(model, isa="REF")
    board = BoardEngine(model, alive(firmware_of(model), model))
    x = samples("residual_int8")[:2]
    for path in range(len(host.path_names)):
        expected, found = host.infer([x], path=path), board.infer([x], path=path)
        for one, other in zip(expected.outputs, found.outputs, strict=True):
            np.testing.assert_array_equal(one, other)


# what it refuses


def test_a_firmware_for_any_model_says_so() -> None:
    assert alive(firmware_of(None), planned()).hello.ops == 0xFFFF_FFFF
    assert alive(firmware_of(planned()), planned()).hello.ops == kernel_use(planned(), ISA).ops


def test_ops_that_are_lacking_have_names() -> None:
    ops = kernel_use(planned(), ISA).ops
    other = planned("resize_int8")
    assert "RESIZE_BILINEAR" in ops_lacking(other, ops)
    assert ops_lacking(other, 0) == ops_lacking(other, 0xFFFF_FFFF) == ops_lacking(planned(), ops) == ()
    assert ops_lacking(b"no container", ops) == ()


def test_the_host_sends_no_model_whose_ops_are_lacking() -> None:
    board = alive(firmware_of(planned()), planned())
    before = board.hello.model_hash
    with pytest.raises(
        LinkError, match=r"lacks the ops .*RESIZE_BILINEAR.*joulet build MODEL --board virtual_m4.*--kernels all"
    ):
        board.upload("MODEL", planned("resize_int8"))
    assert board.greet().model_hash == before


@pytest.mark.parametrize("what", ["op", "kernel"])
def test_the_board_refuses_it_by_itself(what: str) -> None:
    board = alive(firmware_of(planned()), planned())
    before = board.hello.model_hash
    board.hello = replace(board.hello, ops=0)  # as an older host would take it
    # without its plan part the same model needs reference kernels
    other = planned("resize_int8") if what == "op" else plain_container("residual_int8")
    with pytest.raises(LinkError, match=r"--kernels all .*\(status -26\)"):
        board.upload("MODEL", other)
    hello = board.greet()
    assert (hello.model_hash, hello.model_status) == (before, 0)


def test_a_model_that_was_flashed_beside_it_is_refused_at_the_start() -> None:
    hello = alive(firmware_of(planned()), planned("resize_int8")).hello
    assert hello.model_status == -26


# joulet build


@pytest.mark.parametrize(("option", "of"), [([], "model"), (["--kernels", "all"], "all")])
def test_build_tells_what_it_left_out(
    option: list[str], of: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_board()
    path = tmp_path / "m.jlt"
    path.write_bytes(container())
    arguments = ["build", str(path), "--board", BOARD, "-o", str(tmp_path / "out"), *option]
    assert main([*arguments, "--json"]) == 0
    kernels = json.loads(capsys.readouterr().out)["kernels"]
    assert kernels["of"] == of
    assert (kernels["saved_bytes"] > 4_000) == (of == "model")
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert ("--kernels all would take" in text) == (of == "model")
    assert ("any model may be uploaded" in text) == (of == "all")


def test_a_firmware_that_takes_signed_updates_takes_any_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    need_board()
    path = tmp_path / "m.jlt"
    path.write_bytes(container())
    arguments = ["build", str(path), "--board", BOARD, "-o", str(tmp_path / "out"), "--key", "ab" * 32, "--json"]
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["kernels"]["of"] == "all"


def test_objects_are_taken_over_only_where_they_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_board()
    monkeypatch.setenv("JOULET_CACHE", str(tmp_path))
    taken_over = build_firmware(BOARD, toolchain="gcc", model=planned())
    image = taken_over.elf.read_bytes()
    shutil.rmtree(taken_over.folder)
    monkeypatch.setattr("joulet.firmware.build._OF_A_SELECTION", ("",))  # every file is its own
    anew = build_firmware(BOARD, toolchain="gcc", model=planned())
    assert anew.build_id == taken_over.build_id
    assert anew.elf.read_bytes() == image
