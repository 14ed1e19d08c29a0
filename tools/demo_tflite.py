# SPDX-License-Identifier: Apache-2.0
"""Writes the demo's network as an int8 .tflite file: weights one scale a channel, activations one a tensor.

Only what the demo's recipe needs: convolutions along time, a mean over time, one dense layer and a softmax.
"""

from __future__ import annotations

from dataclasses import dataclass

import flatbuffers
import numpy as np
import numpy.typing as npt
import tflite

F32 = npt.NDArray[np.float32]
SCHEMA_VERSION = 3
SOFTMAX_SCALE, SOFTMAX_ZERO_POINT = 1.0 / 256.0, -128


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """One weighted layer: convolution ``(o, 1, k, i)``, depthwise ``(1, 1, k, o)`` or dense ``(o, i)``.

    ``bias`` is ``(o,)``; ``low`` and ``high`` bound the output that calibration saw. A convolution ends in a ReLU.
    """

    name: str
    weight: F32
    bias: F32
    stride: int
    depthwise: bool
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    values: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0


class _Writer:
    """Collects tensors, buffers and ops of one subgraph, then serialises them."""

    def __init__(self) -> None:
        self.builder = flatbuffers.Builder(64 * 1024)
        self.buffers: list[bytes] = [b""]
        self.tensors: list[int] = []
        self.ops: list[int] = []
        self.codes: list[int] = []

    def int_vector(self, values: tuple[int, ...]) -> int:
        """Return the offset of an int32 vector."""
        return int(self.builder.CreateNumpyVector(np.asarray(values, dtype=np.int32)))

    def tensor(
        self, name: str, shape: tuple[int, ...], scale: _Scale, data: npt.NDArray[np.generic] | None = None
    ) -> int:
        """Add a tensor (int8, or int32 if ``data`` is) and return its index."""
        b = self.builder
        scales = b.CreateNumpyVector(np.asarray(scale.values, dtype=np.float32))
        points = b.CreateNumpyVector(np.full(len(scale.values), scale.zero_point, dtype=np.int64))
        tflite.QuantizationParametersStart(b)
        tflite.QuantizationParametersAddScale(b, scales)
        tflite.QuantizationParametersAddZeroPoint(b, points)
        tflite.QuantizationParametersAddQuantizedDimension(b, scale.axis)
        quantisation = tflite.QuantizationParametersEnd(b)
        label, dims = b.CreateString(name), self.int_vector(shape)
        is_wide = data is not None and data.dtype == np.int32
        tflite.TensorStart(b)
        tflite.TensorAddShape(b, dims)
        tflite.TensorAddType(b, tflite.TensorType.INT32 if is_wide else tflite.TensorType.INT8)
        tflite.TensorAddBuffer(b, 0 if data is None else len(self.buffers))
        tflite.TensorAddName(b, label)
        tflite.TensorAddQuantization(b, quantisation)
        self.tensors.append(int(tflite.TensorEnd(b)))
        if data is not None:
            self.buffers.append(data.tobytes())
        return len(self.tensors) - 1

    def op(self, code: int, inputs: tuple[int, ...], output: int, options: tuple[int, int]) -> None:
        """Add an op; ``options`` is the union's tag and the table's offset."""
        if code not in self.codes:
            self.codes.append(code)
        b = self.builder
        ins, outs = self.int_vector(inputs), self.int_vector((output,))
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, self.codes.index(code))
        tflite.OperatorAddInputs(b, ins)
        tflite.OperatorAddOutputs(b, outs)
        tflite.OperatorAddBuiltinOptionsType(b, options[0])
        tflite.OperatorAddBuiltinOptions(b, options[1])
        self.ops.append(int(tflite.OperatorEnd(b)))

    def offsets(self, offsets: list[int]) -> int:
        """Return the offset of a vector of tables."""
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def finish(self, inputs: tuple[int, ...], outputs: tuple[int, ...], description: str) -> bytes:
        """Return the file."""
        b = self.builder
        codes = []
        for code in self.codes:
            tflite.OperatorCodeStart(b)
            tflite.OperatorCodeAddDeprecatedBuiltinCode(b, code)
            tflite.OperatorCodeAddVersion(b, 3 if code in _VERSION_3 else 2)
            tflite.OperatorCodeAddBuiltinCode(b, code)
            codes.append(int(tflite.OperatorCodeEnd(b)))
        name, tensors, ops = b.CreateString("main"), self.offsets(self.tensors), self.offsets(self.ops)
        ins, outs = self.int_vector(inputs), self.int_vector(outputs)
        tflite.SubGraphStart(b)
        tflite.SubGraphAddTensors(b, tensors)
        tflite.SubGraphAddInputs(b, ins)
        tflite.SubGraphAddOutputs(b, outs)
        tflite.SubGraphAddOperators(b, ops)
        tflite.SubGraphAddName(b, name)
        subgraph = int(tflite.SubGraphEnd(b))
        text, graphs, operators = b.CreateString(description), self.offsets([subgraph]), self.offsets(codes)
        buffers = self.offsets([self._buffer(data) for data in self.buffers])
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, SCHEMA_VERSION)
        tflite.ModelAddOperatorCodes(b, operators)
        tflite.ModelAddSubgraphs(b, graphs)
        tflite.ModelAddDescription(b, text)
        tflite.ModelAddBuffers(b, buffers)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    def _buffer(self, data: bytes) -> int:
        b = self.builder
        vector = 0
        if data:
            b.StartVector(1, len(data), 16)
            b.head -= len(data)
            b.Bytes[b.head : b.head + len(data)] = data
            vector = b.EndVector()
        tflite.BufferStart(b)
        if data:
            tflite.BufferAddData(b, vector)
        return int(tflite.BufferEnd(b))


_OPERATORS = tflite.BuiltinOperator
_OPTIONS = tflite.BuiltinOptions
_VERSION_3 = frozenset({_OPERATORS.CONV_2D, _OPERATORS.DEPTHWISE_CONV_2D})


def activation_scale(low: float, high: float) -> _Scale:
    """Return scale and zero point that cover ``[min(low, 0), max(high, 0)]`` with 0 exact."""
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = (high - low) / 255.0
    return _Scale(values=(scale,), zero_point=int(np.clip(round(-128 - low / scale), -128, 127)))


def _weights(writer: _Writer, layer: Layer, input_scale: float) -> tuple[int, int]:
    """Add a layer's quantised weights and bias; return their tensor indices."""
    axis = layer.weight.ndim - 1 if layer.depthwise else 0
    others = tuple(i for i in range(layer.weight.ndim) if i != axis)
    # A dense layer has one scale: per-channel dense weights are newer than many readers.
    peak = np.abs(layer.weight).max(axis=others) if layer.weight.ndim == 4 else np.abs(layer.weight).max()[None]
    scale = np.maximum(peak, 1e-8).astype(np.float32) / 127
    shape = [1] * layer.weight.ndim
    shape[axis] = len(scale)
    q = np.clip(np.round(layer.weight / scale.reshape(shape)), -127, 127).astype(np.int8)
    bias_scale = scale.astype(np.float64) * input_scale
    bias = np.round(layer.bias / bias_scale).astype(np.int32)
    weight_scale = _Scale(values=tuple(scale.tolist()), axis=axis)
    return (
        writer.tensor(f"{layer.name}/weights", q.shape, weight_scale, np.ascontiguousarray(q)),
        writer.tensor(f"{layer.name}/bias", bias.shape, _Scale(values=tuple(bias_scale.tolist())), bias),
    )


def _convolution(writer: _Writer, layer: Layer, x: int, inputs: tuple[int, _Scale]) -> tuple[int, int, _Scale]:
    """Add a convolution with ReLU; return its output tensor, length and scale."""
    length, scale = inputs
    weights, bias = _weights(writer, layer, scale.values[0])
    out_length, out_scale = -(-length // layer.stride), activation_scale(layer.low, layer.high)
    y = writer.tensor(layer.name, (1, 1, out_length, len(layer.bias)), out_scale)
    b = writer.builder
    if layer.depthwise:
        tflite.DepthwiseConv2DOptionsStart(b)
        tflite.DepthwiseConv2DOptionsAddPadding(b, tflite.Padding.SAME)
        tflite.DepthwiseConv2DOptionsAddStrideW(b, layer.stride)
        tflite.DepthwiseConv2DOptionsAddStrideH(b, layer.stride)
        tflite.DepthwiseConv2DOptionsAddDepthMultiplier(b, 1)
        tflite.DepthwiseConv2DOptionsAddFusedActivationFunction(b, tflite.ActivationFunctionType.RELU)
        options = (_OPTIONS.DepthwiseConv2DOptions, int(tflite.DepthwiseConv2DOptionsEnd(b)))
        writer.op(_OPERATORS.DEPTHWISE_CONV_2D, (x, weights, bias), y, options)
    else:
        tflite.Conv2DOptionsStart(b)
        tflite.Conv2DOptionsAddPadding(b, tflite.Padding.SAME)
        tflite.Conv2DOptionsAddStrideW(b, layer.stride)
        tflite.Conv2DOptionsAddStrideH(b, layer.stride)
        tflite.Conv2DOptionsAddFusedActivationFunction(b, tflite.ActivationFunctionType.RELU)
        options = (_OPTIONS.Conv2DOptions, int(tflite.Conv2DOptionsEnd(b)))
        writer.op(_OPERATORS.CONV_2D, (x, weights, bias), y, options)
    return y, out_length, out_scale


def write_tflite(
    layers: tuple[Layer, ...],
    *,
    input_shape: tuple[int, int, int, int],
    input_scale: float,
    input_zero_point: int,
    description: str,
) -> bytes:
    """Return the .tflite file of ``layers``: convolutions, then mean over time, the last (dense) layer and softmax."""
    writer = _Writer()
    b = writer.builder
    scale = _Scale(values=(input_scale,), zero_point=input_zero_point)
    first = x = writer.tensor("input", input_shape, scale)
    length = input_shape[2]
    for layer in layers[:-1]:
        x, length, scale = _convolution(writer, layer, x, (length, scale))
    axes = writer.tensor("axes", (2,), _Scale(values=()), np.array([1, 2], dtype=np.int32))
    pooled = writer.tensor("pooled", (1, len(layers[-2].bias)), scale)
    tflite.ReducerOptionsStart(b)
    writer.op(_OPERATORS.MEAN, (x, axes), pooled, (_OPTIONS.ReducerOptions, int(tflite.ReducerOptionsEnd(b))))
    head = layers[-1]
    weights, bias = _weights(writer, head, scale.values[0])
    shape = (1, len(head.bias))
    logits = writer.tensor("logits", shape, activation_scale(head.low, head.high))
    tflite.FullyConnectedOptionsStart(b)
    options = (_OPTIONS.FullyConnectedOptions, int(tflite.FullyConnectedOptionsEnd(b)))
    writer.op(_OPERATORS.FULLY_CONNECTED, (pooled, weights, bias), logits, options)
    output = writer.tensor("output", shape, _Scale(values=(SOFTMAX_SCALE,), zero_point=SOFTMAX_ZERO_POINT))
    tflite.SoftmaxOptionsStart(b)
    tflite.SoftmaxOptionsAddBeta(b, 1.0)
    writer.op(_OPERATORS.SOFTMAX, (logits,), output, (_OPTIONS.SoftmaxOptions, int(tflite.SoftmaxOptionsEnd(b))))
    return writer.finish((first,), (output,), description)
