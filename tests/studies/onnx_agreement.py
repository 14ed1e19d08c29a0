# SPDX-License-Identifier: Apache-2.0
"""How closely imported ONNX models agree with ONNX Runtime, on two real networks with real inputs.

The float .tflite of MLPerf Tiny's keyword spotting and image classification become ONNX files with channels first
(``tests/onnx_export.py``); ONNX Runtime's own quantiser makes QDQ models of them. Each is imported and run by the C
engine, and by ONNX Runtime node by node (its fused int8 kernels saturate on processors without VNNI: such a run of the
keyword model agrees with its own float form on a tenth of the inputs).

Columns: share of equal outputs, of outputs within one step of 1/256, largest difference in such steps, same class, and
the accuracy of both. Exit code 1 when fewer than 97 % of the classes agree, or accuracies differ by over 1 point.

    python tests/studies/onnx_agreement.py --shared ../shared [--samples 500] [--json]
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from one_command import real_inputs
from onnx_export import to_onnx

from joulet.container.write import write_container
from joulet.engine.host import HostEngine
from joulet.importers.onnx import load_onnx
from joulet.importers.tflite import load_tflite
from joulet.passes.pipeline import exact_passes
from joulet.quant.bare import bare_quant_graph
from joulet.quant.float_exec import run_float

CALIBRATION = 100
FORMS = {
    "int8, per channel": (QuantType.QInt8, QuantType.QInt8, True),
    "uint8, int8 per channel": (QuantType.QUInt8, QuantType.QInt8, True),
    "uint8, per tensor": (QuantType.QUInt8, QuantType.QUInt8, False),
}
NETWORKS = {"kws": "kws_ref_model_float32", "ic": "ic_resnet8_float32"}


class Reader(CalibrationDataReader):
    """Hands the quantiser one sample after the other."""

    def __init__(self, name: str, x: np.ndarray) -> None:
        self.rows = iter([{name: x[i : i + 1]} for i in range(len(x))])

    def get_next(self) -> dict | None:
        return next(self.rows, None)


def judged(model: Path, x: np.ndarray) -> np.ndarray:
    """Return ONNX Runtime's answers, computed node by node."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return np.concatenate([session.run(None, {name: x[i : i + 1]})[0].reshape(1, -1) for i in range(len(x))])


def row(network: str, form: str, got: np.ndarray, want: np.ndarray, y: np.ndarray) -> dict:
    """Return one line of the table."""
    steps = np.abs(got - want) * 256
    return {
        "network": network,
        "form": form,
        "equal": float((steps < 0.5).mean()),
        "within_one": float((steps < 1.5).mean()),
        "most": float(steps.max()),
        "same_class": float((got.argmax(1) == want.argmax(1)).mean()),
        "accuracy": float((got.argmax(1) == y).mean()),
        "accuracy_judge": float((want.argmax(1) == y).mean()),
    }


def study(network: str, data: Path, samples: int, folder: Path) -> list[dict]:
    """Return the rows of one network."""
    x, y = real_inputs(network, data, CALIBRATION + samples)
    graph = exact_passes(load_tflite(data / "mlperf_tiny" / "models" / f"{NETWORKS[network]}.tflite"))
    source, target = folder / "float.onnx", folder / "qdq.onnx"
    source.write_bytes(to_onnx(graph))
    seen = np.ascontiguousarray(x.transpose(0, 3, 1, 2))
    test, labels = x[CALIBRATION:], y[CALIBRATION:]
    imported = exact_passes(load_onnx(source))
    got = [run_float(imported, {imported.inputs[0]: test[i : i + 64]}) for i in range(0, len(test), 64)]
    real = np.concatenate([g[imported.outputs[0]].reshape(-1, g[imported.outputs[0]].shape[-1]) for g in got])
    rows = [row(network, "float", real, judged(source, seen[CALIBRATION:]), labels)]
    quant_pre_process(str(source), str(source), skip_symbolic_shape=True)
    name = ort.InferenceSession(str(source), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    for form, (activations, weights, per_channel) in FORMS.items():
        quantize_static(
            str(source), str(target), Reader(name, seen[:CALIBRATION]), quant_format=QuantFormat.QDQ,
            per_channel=per_channel, activation_type=activations, weight_type=weights,
        )  # fmt: skip
        integer = exact_passes(load_onnx(target))
        engine = HostEngine(write_container(bare_quant_graph(integer, ("w8",))))
        answers = engine.infer([test]).outputs[0].reshape(len(test), -1)
        rows.append(row(network, form, answers, judged(target, seen[CALIBRATION:]), labels))
    return rows


def main() -> int:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder that holds data/")
    parser.add_argument("--samples", type=int, default=500, help="test inputs (default 500)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for network in NETWORKS:
            rows += study(network, args.shared / "data", args.samples, Path(name))
    if args.json:
        print(json.dumps(rows, indent=1))
    else:
        print("network  form                       equal  within 1   most  same class  accuracy  the judge's")
        for r in rows:
            print(
                f"{r['network']:<8} {r['form']:<24} {r['equal']:7.1%}  {r['within_one']:7.1%}  {r['most']:5.0f}  "
                f"{r['same_class']:9.1%}  {r['accuracy']:8.1%}  {r['accuracy_judge']:8.1%}"
            )
    good = [r["same_class"] >= 0.97 and abs(r["accuracy"] - r["accuracy_judge"]) <= 0.01 for r in rows]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
