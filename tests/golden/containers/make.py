# SPDX-License-Identifier: Apache-2.0
"""Write the golden container of the current format version, once; released ones are never rewritten.

::

    python tests/golden/containers/make.py tests/golden/containers/v1
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tiny import tiny_board, tiny_inputs, tiny_quant_graph

from joulet.container.write import lay_out, write_laid
from joulet.engine.host import HostEngine


def main(folder: Path) -> None:
    """Write tiny.jlt and what it must answer to tiny.npz, for every path and depth."""
    laid = lay_out(tiny_quant_graph())
    board = tiny_board(len(laid.lowered.source.precisions), len(laid.lowered.steps))
    container = write_laid(laid, meta={"labels": ["a", "b", "c"]}, boards=(board,))
    (folder / "tiny.jlt").write_bytes(container)
    engine = HostEngine(container)
    arrays: dict[str, np.ndarray] = {"input_0": tiny_inputs()}
    for path in engine.path_names:
        for depth in range(len(engine.exit_names)):
            result = engine.infer([arrays["input_0"]], path=path, depth=depth)
            arrays[f"{path}/{depth}/output_0"] = result.outputs[0]
            arrays[f"{path}/{depth}/confidence_q15"] = result.confidence_q15
            arrays[f"{path}/{depth}/macs"] = result.macs
    np.savez_compressed(folder / "tiny.npz", **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
