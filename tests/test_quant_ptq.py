# SPDX-License-Identifier: Apache-2.0
"""Our own quantiser: a float network and its int8 form agree, on the oracle and on the C engine."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import execute

from joulet.errors import DataError
from joulet.ir import (
    Activation,
    Binary,
    Concat,
    Conv,
    Dense,
    DType,
    Graph,
    Op,
    OpKind,
    Pool,
    Quant,
    Reduce,
    Softmax,
    Tensor,
    Unary,
    UnaryKind,
)
from joulet.passes.verify import verify
from joulet.quant.bare import with_exit
from joulet.quant.float_exec import run_float
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.probe import full, probe
from joulet.quant.ptq import quantise_float, quantise_weights


def float_network() -> Graph:
    """conv relu6 -> dwconv -> hard swish; logistic of it beside it; concat; add; max pool; mean; fc; softmax."""
    rng = np.random.default_rng(8)

    def real(name: str, *shape: int) -> Tensor:
        return Tensor(name=name, shape=shape, dtype=DType.F32)

    def constant(name: str, *shape: int) -> Tensor:
        data = rng.normal(0, 0.4, shape).astype(np.float32)
        return Tensor(name=name, shape=shape, dtype=DType.F32, data=data)

    tensors = (
        real("x", 1, 8, 8, 3),
        constant("w0", 6, 3, 3, 3),
        constant("b0", 6),
        real("conv", 1, 8, 8, 6),
        constant("w1", 1, 3, 3, 6),
        real("depthwise", 1, 4, 4, 6),
        real("swish", 1, 4, 4, 6),
        real("gate", 1, 4, 4, 6),
        real("both", 1, 4, 4, 12),
        constant("offset", 1, 1, 1, 12),
        real("sum", 1, 4, 4, 12),
        real("pooled", 1, 2, 2, 12),
        real("mean", 1, 12),
        constant("w2", 5, 12),
        constant("b2", 5),
        real("logits", 1, 5),
        real("answer", 1, 5),
    )
    relu6 = Conv(pad=(1, 1), activation=Activation.RELU6)
    ops = (
        Op(kind=OpKind.CONV2D, name="conv", inputs=(0, 1, 2), outputs=(3,), attrs=relu6),
        Op(kind=OpKind.DEPTHWISE_CONV2D, name="dw", inputs=(3, 4), outputs=(5,), attrs=Conv(stride=(2, 2), pad=(1, 1))),
        Op(kind=OpKind.UNARY, name="swish", inputs=(5,), outputs=(6,), attrs=Unary(kind=UnaryKind.HARD_SWISH)),
        Op(kind=OpKind.UNARY, name="gate", inputs=(5,), outputs=(7,), attrs=Unary(kind=UnaryKind.LOGISTIC)),
        Op(kind=OpKind.CONCAT, name="both", inputs=(6, 7), outputs=(8,), attrs=Concat(axis=3)),
        Op(kind=OpKind.ADD, name="sum", inputs=(8, 9), outputs=(10,), attrs=Binary()),
        Op(kind=OpKind.MAX_POOL2D, name="pool", inputs=(10,), outputs=(11,), attrs=Pool(kernel=(2, 2), stride=(2, 2))),
        Op(kind=OpKind.MEAN, name="mean", inputs=(11,), outputs=(12,), attrs=Reduce(axes=(1, 2))),
        Op(kind=OpKind.FULLY_CONNECTED, name="fc", inputs=(12, 13, 14), outputs=(15,), attrs=Dense()),
        Op(kind=OpKind.SOFTMAX, name="softmax", inputs=(15,), outputs=(16,), attrs=Softmax()),
    )
    return Graph(name="float", tensors=tensors, ops=ops, inputs=(0,), outputs=(16,))


@pytest.mark.parametrize("how", [pytest.param(execute, id="oracle"), pytest.param(execute_on_engine, id="engine")])
def test_the_integer_network_follows_the_float_one(how) -> None:
    graph = float_network()
    x = np.random.default_rng(1).normal(0, 1, (100, 8, 8, 3)).astype(np.float32)
    quantised, feeds, notes = quantise_float(graph, {0: x})
    verify(quantised)
    quantised = with_exit(quantised)
    wanted = run_float(graph, {0: x})
    logits = quantised.exits[0].logits
    found = probe(how, quantised, full(quantised), feeds, (logits, quantised.outputs[0]))
    step = quantised.tensors[logits].quant
    real = (found[logits].astype(np.float64) - step.zero_point) * step.scale[0]
    assert np.abs(real - wanted[15][:, 0]).max() < 0.06 * np.ptp(wanted[15])
    assert np.abs(found[quantised.outputs[0]] - wanted[16][:, 0]).max() < 0.12
    assert found[quantised.outputs[0]].dtype == np.float32
    assert "100 samples" in notes[0]


def test_conventions_are_those_of_tensorflow_lite() -> None:
    graph = float_network()
    x = np.random.default_rng(1).normal(0, 1, (40, 8, 8, 3)).astype(np.float32)
    quantised, _, _ = quantise_float(graph, {0: x})
    tensors = {t.name: t for t in quantised.tensors}
    assert tensors["answer"].quant == Quant(scale=(1 / 256,), zero_point=-128)
    assert tensors["gate"].quant == Quant(scale=(1 / 256,), zero_point=-128)
    assert tensors["pooled"].quant == tensors["sum"].quant
    assert tensors["swish"].quant == tensors["both"].quant
    assert tensors["gate:requantized"].quant == tensors["both"].quant
    assert tensors["conv"].quant.zero_point == -128
    assert len(tensors["w1:s8"].quant.scale) == 6
    assert tensors["w1:s8"].quant.axis == 3
    assert [t.dtype for t in (quantised.tensors[quantised.inputs[0]], quantised.tensors[quantised.outputs[0]])] == [
        DType.F32,
        DType.F32,
    ]


def test_weights_are_symmetric_and_biases_fit() -> None:
    weights = np.array([[0.5, -1.0], [0.0, 0.0], [1e-6, 1e-6]])
    q, scales = quantise_weights(weights, 0, np.array([0.0, 0.0, 1e3]), 0.01)
    assert q.min() == -127
    assert np.abs(q * scales[:, None] - weights)[:2].max() <= scales[0] / 2
    assert abs(1e3 / (0.01 * scales[2])) <= 2**30 * (1 + 1e-6)


def test_activations_that_are_not_finite_are_refused() -> None:
    graph = float_network()
    x = np.full((4, 8, 8, 3), 1e38, np.float32)
    with np.errstate(all="ignore"), pytest.raises(DataError, match="not finite"):
        quantise_float(graph, {0: x * 10})
