# SPDX-License-Identifier: Apache-2.0
"""``joulet plan``: what it foretells is what ``joulet build`` makes and a virtual board counts; limits are kept or named."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from band_cases import blocks
from board_tools import MODELS, need_board

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import arena_bytes
from joulet.container.needs import stored_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.exits.keep import choices_of_exits, kept_exits
from joulet.ir import ExitOrigin
from joulet.plan.on_board import Room, image_container
from joulet.plan.relax import nearest_text, tight_limits
from joulet.plan.search import Candidate, Limits, Point, choose, front, point_of
from joulet.tools.main import main
from joulet.variants import Variants, variants_of

MODEL = MODELS / "residual_int8.tflite"
BOARD = "virtual_m0plus"


def samples(folder: Path) -> Path:
    """Write calibration data with labels."""
    rng = np.random.default_rng(0)
    path = folder / "cal.npz"
    x = rng.integers(-128, 128, (160, 12, 12, 2)).astype(np.int8)
    np.savez(path, input_0=x, labels=rng.integers(0, 4, 160))
    return path


@pytest.fixture(scope="module")
def variants(tmp_path_factory: pytest.TempPathFactory) -> Variants:
    return variants_of(MODEL, load_board(BOARD), data=samples(tmp_path_factory.mktemp("data")), exits=2)


@pytest.fixture(scope="module")
def points(variants: Variants) -> list[Point]:
    board, known = load_board(BOARD), {}
    return [point_of(candidate, board, Limits(), known) for candidate in variants.candidates()]


def test_every_choice_of_exits_answers_as_the_whole_network_does_there(variants: Variants) -> None:
    """Fewer exits, fewer layers behind the last one, the same bytes at each exit that is left."""
    graph = variants.attached.graph
    every = tuple(range(len(graph.exits)))
    whole = HostEngine(variants.container(every, ("w8",))[0], isa="REF")
    x = np.random.default_rng(1).integers(-128, 128, (8, 12, 12, 2)).astype(np.int8)
    assert {each[-1] for each in choices_of_exits(graph)} == set(every)
    for exits in choices_of_exits(graph):
        engine = HostEngine(variants.container(exits, ("w8",))[0], isa="REF")
        assert engine.exit_names == tuple(whole.exit_names[exit] for exit in exits)
        for new, old in enumerate(exits):
            got, want = engine.infer([x], depth=new), whole.infer([x], depth=old)
            np.testing.assert_array_equal(got.outputs[0], want.outputs[0])
            np.testing.assert_array_equal(got.macs, want.macs)


def test_a_network_that_ends_early_has_no_layers_behind(variants: Variants) -> None:
    first = kept_exits(variants.attached, (0,)).attached.graph
    whole = variants.attached.graph
    assert len(first.ops) < len(whole.ops)
    assert first.exits[-1].origin is ExitOrigin.ATTACHED
    assert first.outputs == (whole.exits[0].output,)


def test_points_are_what_the_image_is(points: list[Point]) -> None:
    board = load_board(BOARD)
    for point in points:
        container = Container.from_bytes(point.image)
        assert point.flash_bytes == len(point.image)
        assert point.ram_bytes == arena_bytes(point.image, board.isa)
        assert point.exits == HostEngine(point.image, isa="REF").exit_names
        assert list(point.exit_cycles) == sorted(point.exit_cycles)
        assert point.mean_cycles <= point.exit_cycles[-1]
        assert sum(point.candidate.shares) == pytest.approx(1)
        assert {each["name"] for each in container.meta["exits"]} == set(point.exits)


def test_the_front_holds_what_nothing_beats_and_the_choice_is_on_it(points: list[Point]) -> None:
    best = front(points)

    def figures(point: Point) -> tuple[float, ...]:
        return (-point.score, point.mean_nj, point.ram_bytes, point.flash_bytes)

    for point in points:
        beaten = any(
            all(x <= y for x, y in zip(figures(other), figures(point), strict=True))
            and figures(other) != figures(point)
            for other in points
        )
        assert beaten != any(point is each for each in best)
    chosen = choose(points, Limits())
    assert chosen is not None
    most = max(point.score for point in points)
    assert chosen.score >= most - 0.003
    assert all(point.mean_nj >= chosen.mean_nj for point in points if point.score >= most - 0.003)


def test_limits_are_kept_and_the_tight_ones_named() -> None:
    board, known = load_board(BOARD), {}
    candidate = Candidate(data=blocks(2, side=16), path=0, accuracy=None, shares=(1.0,))
    free = point_of(candidate, board, Limits(), known)
    limits = Limits(ram_bytes=free.ram_bytes // 2, flash_bytes=free.flash_bytes - 256)
    held = point_of(candidate, board, limits, known)
    assert not held.excess(limits)
    assert held.bands
    assert held.copies[0] < held.copies[1]
    assert held.exit_cycles[-1] > free.exit_cycles[-1]
    tight = {each.limit: each for each in tight_limits(held, [held], board, limits, known)}
    assert tight["ram"].needed == free.ram_bytes
    assert tight["flash"].needed == pytest.approx(free.flash_bytes, abs=512)  # bands have a section of their own
    assert all(each.saved_cycles > 0 for each in tight.values())


def test_a_limit_on_energy_is_for_the_last_exit(points: list[Point]) -> None:
    worst = sorted(point.worst_nj for point in points)
    limits = Limits(energy_nj=worst[len(worst) // 2])
    chosen = choose(points, limits)
    assert chosen is not None
    assert chosen.worst_nj <= worst[len(worst) // 2]
    assert choose(points, Limits(energy_nj=worst[0] / 2)) is None
    assert "--energy-limit" in nearest_text(points, Limits(energy_nj=worst[0] / 2))


def test_limits_that_exclude_each_other_are_said_to(points: list[Point]) -> None:
    few = min(points, key=lambda point: point.ram_bytes)
    cheap = min(points, key=lambda point: point.worst_nj)
    one = replace(few, worst_nj=10 * few.worst_nj)
    other = replace(cheap, ram_bytes=10 * cheap.ram_bytes)
    limits = Limits(ram_bytes=few.ram_bytes, energy_nj=cheap.worst_nj)
    assert choose([one, other], limits) is None
    assert "not all at once" in nearest_text([one, other], limits)


def test_what_was_planned_under_a_limit_on_flash_stays() -> None:
    board = load_board(BOARD)
    data = compile_model(MODEL, exits="off").container
    whole = image_container(data, board, Room())
    less = image_container(data, board, Room(flash_bytes=len(whole.data) - 512))
    again = image_container(less.data, board, Room())
    assert len(less.data) <= len(whole.data) - 512
    assert stored_copies(Container.from_bytes(again.data), board.isa) == stored_copies(
        Container.from_bytes(less.data), board.isa
    )
    assert len(again.data) == len(less.data)


def plan_words(folder: Path, kind: str) -> list[str]:
    """Return what is planned: a model with data under a limit on flash, or a container under one on RAM."""
    if kind == "model":
        return [str(MODEL), "--data", str(samples(folder)), "--exits", "2"]
    if kind == "flash":
        return [*plan_words(folder, "model"), "--flash-limit", "9000"]
    path = folder / "m.jlt"
    path.write_bytes(blocks(2, side=16))
    return [str(path), "--ram-limit", "12000"]


@pytest.mark.parametrize("kind", ["model", "flash", "ram"])
def test_build_and_the_board_agree_with_the_plan(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """RAM and flash to the byte; cycles of each exit, heads on the way included, within the cost table's error."""
    need_board()
    from joulet.emulator.board import VirtualBoard, VirtualPort
    from joulet.engine.board import BoardEngine
    from joulet.link import connect

    out = tmp_path / "planned.jlt"
    assert main(["plan", *plan_words(tmp_path, kind), "--board", BOARD, "-o", str(out), "--json"]) == 0
    chosen = json.loads(capsys.readouterr().out)["chosen"]
    assert main(["build", str(out), "--board", BOARD, "-o", str(tmp_path / "image"), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    model = next(each for each in manifest["segments"] if each["name"] == "model")
    assert model["bytes"] == chosen["flash_bytes"] == out.stat().st_size
    assert manifest["memory"]["arena_bytes"] == chosen["ram_bytes"]
    assert (chosen["band_groups"] > 0) == (kind == "ram")
    board = VirtualBoard(BOARD)
    board.load(board.facts.slots["model"].address, out.read_bytes())
    board.power_on()
    with connect(VirtualPort(board)) as link:
        engine = BoardEngine(out.read_bytes(), link)
        sample = tuple(np.zeros(each.shape, np.int8) for each in engine.inputs)
        board.op_cycles.clear()
        engine.start(sample, engine.path_names.index(chosen["path"]))
        for exit, cycles in enumerate(chosen["exit_cycles"]):
            engine.run_to_exit(exit)
            assert cycles == pytest.approx(sum(board.op_cycles), rel=0.1)
    assert sum(step["cycles"] for step in chosen["steps"]) == pytest.approx(chosen["exit_cycles"][-1], rel=1e-4)


def test_a_container_keeps_its_bits_and_exits_and_gets_a_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model, out = samples(tmp_path), tmp_path / "m.jlt", tmp_path / "p.jlt"
    model.write_bytes(compile_model(MODEL, data=data, exits=1).container)
    assert main(["plan", str(model), "--board", BOARD, "--data", str(data), "-o", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    engine = HostEngine(model.read_bytes())
    assert [each["path"] for each in found["points"]] == list(engine.path_names)
    assert all(each["accuracy"] is not None for each in found["points"])
    assert Container.from_bytes(out.read_bytes()).model_hash == engine.container.model_hash
    assert main(["plan", str(model), "--board", BOARD, "--exits", "2"]) == 2
    assert "compiled already" in capsys.readouterr().err


def test_what_cannot_be_kept_is_named_with_the_least(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(MODEL), "--board", BOARD, "--ram-limit", "10"]) == 2
    message = capsys.readouterr().err
    assert "--ram-limit 10 bytes: the least is" in message
    assert "Traceback" not in message
    assert main(["plan", str(MODEL), "--board", BOARD, "--energy-limit", "1nJ", "--flash-limit", "100"]) == 2
    message = capsys.readouterr().err
    assert "--flash-limit" in message
    assert "--energy-limit" in message
    for words, said in (
        (["--energy-limit", "5V"], "J"),
        (["--ram-limit", "0"], "above 0"),
        (["-o", str(tmp_path / "no" / "p.jlt")], "no folder"),
    ):
        assert main(["plan", str(MODEL), "--board", BOARD, *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["plan", str(tmp_path / "none.tflite"), "--board", BOARD]) == 2


def test_without_data_bits_stand_for_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(MODEL), "--board", BOARD, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["chosen"]["accuracy"] is None
    assert found["chosen"]["weight_bits"] == max(each["weight_bits"] for each in found["points"])
    assert "unknown" in found["accuracy_is"]
    assert main(["plan", str(MODEL), "--board", BOARD]) == 0
    assert "taken: w8" in capsys.readouterr().out


def test_candidates_of_one_path_name_what_they_are_judged_by(variants: Variants) -> None:
    last = len(variants.attached.graph.exits) - 1
    both = variants.candidate((last,), ("w8", "w4"), "w4")
    assert isinstance(both, Candidate)
    assert Container.from_bytes(both.data).meta["paths"][both.path] == "w4"


def test_no_two_candidates_are_the_same_network(variants: Variants) -> None:
    """Behind an early end mixes may no longer differ."""
    found = [Container.from_bytes(each.data) for each in variants.candidates()]
    kinds = [(each.ops.tobytes(), each.exits.tobytes(), each.layers["bits"].tobytes()) for each in found]
    assert len(set(kinds)) == len(kinds)
    assert len(kinds) < len(choices_of_exits(variants.attached.graph)) * len(variants.precisions)
