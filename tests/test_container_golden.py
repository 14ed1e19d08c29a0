# SPDX-License-Identifier: Apache-2.0
"""Released containers stay readable for ever, and FORMAT.md describes the one we ship."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from oracle import run
from tiny import tiny_inputs, tiny_quant_graph

from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.tools import format_doc, structs

ROOT = Path(__file__).resolve().parents[1]
VERSIONS = sorted((ROOT / "tests" / "golden" / "containers").glob("v*"))


def test_a_golden_container_of_every_version_is_there() -> None:
    assert [folder.name for folder in VERSIONS] == ["v1"]


@pytest.mark.parametrize("folder", VERSIONS, ids=lambda folder: folder.name)
def test_golden_containers_answer_as_they_did(folder: Path) -> None:
    engine = HostEngine(folder / "tiny.jlt")
    expected = np.load(folder / "tiny.npz")
    checked = 0
    for path in engine.path_names:
        for depth in range(len(engine.exit_names)):
            result = engine.infer([expected["input_0"]], path=path, depth=depth)
            key = f"{path}/{depth}"
            np.testing.assert_array_equal(result.outputs[0], expected[f"{key}/output_0"])
            np.testing.assert_array_equal(result.confidence_q15, expected[f"{key}/confidence_q15"])
            np.testing.assert_array_equal(result.macs, expected[f"{key}/macs"])
            checked += 1
    assert checked == 6


@pytest.mark.parametrize(("path", "precision"), [("w8", 0), ("w4", 1)])
@pytest.mark.parametrize("depth", [0, 1])
def test_golden_answers_are_those_of_an_independent_oracle(path: str, precision: int, depth: int) -> None:
    source = tiny_quant_graph()
    values = run(source.graph, source.precisions[precision], [tiny_inputs()[:, None]])
    expected = np.load(VERSIONS[0] / "tiny.npz")[f"{path}/{depth}/output_0"].astype(int)
    oracle = values[source.graph.exits[depth].output].reshape(expected.shape)
    assert np.abs(oracle.astype(int) - expected).max() <= 1  # the oracle's softmax is real-valued
    assert len(np.unique(expected)) > 5


def test_early_macs_leave_out_what_did_not_run() -> None:
    expected = np.load(VERSIONS[0] / "tiny.npz")
    conv, early, depthwise, last = 4 * 4 * 4 * 18, 4 * 3, 2 * 2 * 4 * 9, 4 * 3
    assert set(expected["w8/0/macs"]) == {conv + early}
    assert set(expected["w8/1/macs"]) == {conv + depthwise + last}


def test_format_md_is_up_to_date() -> None:
    assert format_doc.main(["--root", str(ROOT), "--check"]) == 0


def test_format_h_is_up_to_date() -> None:
    assert structs.main(["--root", str(ROOT), "--check"]) == 0


def test_format_md_numbers_its_invariants_without_a_gap() -> None:
    lines = (ROOT / "FORMAT.md").read_text(encoding="utf-8").splitlines()
    numbers = [int(line.split("|")[1].strip().removeprefix("INV-")) for line in lines if line.startswith("| INV-")]
    assert numbers == list(range(1, 41))


def test_golden_container_is_decoded() -> None:
    container = Container.from_path(VERSIONS[0] / "tiny.jlt")
    assert container.meta["labels"] == ["a", "b", "c"]
    assert container.boards[0].cycles.shape == (2, 8)
