# SPDX-License-Identifier: Apache-2.0
"""What the importer takes, what it refuses and how it says so."""

from __future__ import annotations

from pathlib import Path

import model_zoo
import numpy as np
import pytest
from tflite_build import ModelBuilder

from joulet.errors import MalformedModelError, UnsupportedModelError
from joulet.importers.tflite import load_tflite
from joulet.importers.tflite_move import concat_table
from joulet.ir import DType, OpKind, Quant, Slice, Unary
from joulet.passes.verify import verify

MODELS = Path(__file__).parent / "models"

REFUSED = {
    "arm_kwt1_transformer_float": ("GATHER", "SQRT", "MAXIMUM", "LOG", "SQUARED_DIFFERENCE", "RSQRT", "POW"),
    "coral_invalid_fake_op": ("CUSTOM fake-op-double",),
    "coral_keras_lstm_mnist_int8": ("UNIDIRECTIONAL_SEQUENCE_LSTM",),
    "coral_traffic_ssd_uint8": ("CUSTOM TFLite_Detection_PostProcess",),
    "mediapipe_hand_recrop_float": ("PRELU", "'p_re_lu'", "'p_re_lu_12'"),
    "tflm_audio_preprocessor_int8_customops": ("CUSTOM SignalWindow", "CUSTOM SignalPCAN", "CAST", "DIV"),
    "tflm_keyword_scrambled_svdf_int8": ("SVDF", "'tensor_47'"),
    "tflm_micro_speech_lstm_int8": ("UNIDIRECTIONAL_SEQUENCE_LSTM",),
    "tflm_mnist_lstm_float": ("UNIDIRECTIONAL_SEQUENCE_LSTM",),
    "tflm_mnist_lstm_int8": ("UNIDIRECTIONAL_SEQUENCE_LSTM",),
}


def test_every_shared_model_imports_or_is_refused_with_all_it_lacks(shared_data: Path) -> None:
    paths = sorted(shared_data.rglob("*.tflite"))
    assert len(paths) >= 36
    for path in paths:
        if path.stem in REFUSED:
            with pytest.raises(UnsupportedModelError) as refusal:
                load_tflite(path)
            assert all(word in str(refusal.value) for word in (path.name, *REFUSED[path.stem]))
        else:
            verify(load_tflite(path))


def test_the_committed_models_are_what_their_recipe_builds() -> None:
    assert {p.stem for p in MODELS.glob("*.tflite")} == set(model_zoo.MODELS)
    for name, build in model_zoo.MODELS.items():
        assert (MODELS / f"{name}.tflite").read_bytes() == build()


def test_the_committed_models_cover_every_op() -> None:
    kinds = {op.kind for path in MODELS.glob("*.tflite") for op in load_tflite(path).ops}
    assert kinds == set(OpKind)


def test_uint8_becomes_int8_without_changing_a_real_number() -> None:
    graph = load_tflite(MODELS / "classic_uint8.tflite")
    first, last = graph.tensors[graph.inputs[0]], graph.tensors[graph.outputs[0]]
    assert (first.dtype, first.border, last.border) == (DType.S8, "uint8", "uint8")
    weights = graph.tensors[graph.ops[0].inputs[1]]
    assert weights.quant is not None
    assert weights.quant.zero_point == 121 - 128
    assert weights.border == "uint8"
    assert last.quant == Quant(scale=(1 / 256,), zero_point=-128)


def test_uint8_concat_rescales_by_a_table() -> None:
    same = Quant(scale=(0.5,), zero_point=-3)
    assert concat_table(same, same) == bytes(np.arange(-128, 128).astype(np.int8).tobytes())
    table = np.frombuffer(concat_table(Quant(scale=(1.0,), zero_point=0), Quant(scale=(2.0,), zero_point=0)), np.int8)
    assert table[128 + 4] == 2
    assert table[128 + 1] == 1  # one half goes away from zero
    assert table[128 - 1] == -1


def test_split_is_slices_and_packing_is_reshapes() -> None:
    graph = load_tflite(MODELS / "movement_int8.tflite")
    begins = [op.attrs.begin for op in graph.ops if isinstance(op.attrs, Slice) and op.name.startswith("part_")]
    assert begins == [(0, 0, 0, 0), (0, 0, 4, 0)]
    assert [op.kind for op in graph.ops[-3:]] == [OpKind.RESHAPE, OpKind.RESHAPE, OpKind.CONCAT]


def test_unary_ops_of_an_integer_graph_carry_tables() -> None:
    graph = load_tflite(MODELS / "activations_int8.tflite")
    tables = [op.attrs.table for op in graph.ops if isinstance(op.attrs, Unary)]
    assert len(tables) == 7
    assert all(table is not None and len(table) == 256 for table in tables)


def test_dynamic_batch_is_one_and_shape_arithmetic_is_folded(shared_data: Path) -> None:
    graph = load_tflite(shared_data / "tflite_corpus" / "models" / "silabs_anomaly_dynbatch_int8.tflite")
    assert {op.kind for op in graph.ops} == {
        OpKind.QUANTIZE, OpKind.RESHAPE, OpKind.FULLY_CONNECTED, OpKind.DEQUANTIZE,
    }  # fmt: skip
    assert graph.tensors[graph.outputs[0]].shape == (1, 5, 128, 1)


@pytest.mark.parametrize("stem", ["mediapipe_face_short_fp16", "kws_ref_model_float32", "ad_ToyCar_hybrid_weightonly"])
def test_half_and_hybrid_weights_become_float32(shared_data: Path, stem: str) -> None:
    graph = load_tflite(next(shared_data.rglob(f"{stem}.tflite")))
    assert {t.dtype for t in graph.tensors} == {DType.F32}


def small(weight_scales: list[float], axis: int = 0, **x_quant: object) -> bytes:
    """Return a fully connected model with chosen quantisation."""
    b = ModelBuilder("test")
    x = b.tensor("x", (1, 3), scale=x_quant.get("scale", 0.1), zero=x_quant.get("zero", 0))  # type: ignore[arg-type]
    w = b.tensor("w", (2, 3), scale=weight_scales, axis=axis, data=np.ones((2, 3), np.int8))
    y = b.tensor("y", (1, 2), scale=0.1, zero=0)
    b.op("FULLY_CONNECTED", (x, w, -1), (y,), "FullyConnectedOptions")
    return b.finish((x,), (y,))


def test_one_scale_holds_whatever_axis_is_named() -> None:
    graph = load_tflite(small([0.1], axis=3))
    assert graph.tensors[graph.ops[0].inputs[1]].quant == Quant(scale=(float(np.float32(0.1)),))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (small([0.1, 0.2], axis=1), "axis 1"),
        (small([0.1, 0.2, 0.3]), "3 scales"),
        (small([]), "0 scales"),
        (small([0.1], scale=()), "'x' has 0 scales"),
        (small([0.1], scale=0.0), "'x' has scale 0"),
        (small([0.1], zero=200), "zero point 200"),
        (small([0.1], scale=(0.1, 0.2)), "2 scales"),
    ],
)
def test_malformed_quantisation_is_an_error_not_a_guess(data: bytes, words: str) -> None:
    with pytest.raises(MalformedModelError, match=words):
        load_tflite(data, name="m")


def test_int8_concat_of_different_scales_is_refused() -> None:
    b = ModelBuilder("test")
    x, y = (b.tensor(n, (1, 2), scale=s, zero=0) for n, s in (("x", 0.1), ("y", 0.2)))
    z = b.tensor("z", (1, 4), scale=0.2, zero=0)
    b.op("CONCATENATION", (x, y), (z,), "ConcatenationOptions", Axis=1)
    with pytest.raises(MalformedModelError, match="different quantisation"):
        load_tflite(b.finish((x, y), (z,)))


def test_all_missing_ops_are_listed_in_one_message() -> None:
    b = ModelBuilder("test")
    t = [b.tensor(f"t{i}", (1, 4), scale=0.1, zero=0) for i in range(5)]
    b.op("ABS", (t[0],), (t[1],))
    b.op("CUSTOM", (t[1],), (t[2],), custom="mystery")
    b.op("ABS", (t[2],), (t[3],))
    b.op("LOGISTIC", (t[3],), (t[4],))
    with pytest.raises(UnsupportedModelError, match=r"3 operator.*ABS at 't1', 't3'; CUSTOM mystery at 't2'"):
        load_tflite(b.finish((t[0],), (t[4],)))


def test_an_input_of_unknown_size_is_refused() -> None:
    b = ModelBuilder("test")
    x = b.tensor("x", (1, 1, 1, 3), scale=0.1, zero=0, signature=(-1, -1, -1, 3))
    y = b.tensor("y", (1, 1, 1, 3), scale=0.1, zero=0)
    b.op("RELU", (x,), (y,))
    with pytest.raises(UnsupportedModelError, match=r"\[\?, \?, \?, 3\]"):
        load_tflite(b.finish((x,), (y,)))


def test_uint8_averages_that_would_round_otherwise_are_refused() -> None:
    b = ModelBuilder("test")
    x = b.tensor("x", (1, 4, 4, 1), "UINT8", scale=0.1, zero=0)
    y = b.tensor("y", (1, 2, 2, 1), "UINT8", scale=0.1, zero=0)
    sizes = {"StrideH": 2, "StrideW": 2, "FilterHeight": 2, "FilterWidth": 2}
    b.op("AVERAGE_POOL_2D", (x,), (y,), "Pool2DOptions", Padding=1, **sizes)
    with pytest.raises(UnsupportedModelError, match="even number"):
        load_tflite(b.finish((x,), (y,)))


def test_declared_shapes_must_be_the_computed_ones() -> None:
    b = ModelBuilder("test")
    x = b.tensor("x", (1, 4), scale=0.1, zero=0)
    y = b.tensor("y", (1, 5), scale=0.1, zero=0)
    b.op("RELU", (x,), (y,))
    with pytest.raises(MalformedModelError, match=r"declared \[1, 5\] but computes to \[1, 4\]"):
        load_tflite(b.finish((x,), (y,)))
