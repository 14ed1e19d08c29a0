# SPDX-License-Identifier: Apache-2.0
"""Per-precision bias correction: every layer of the sliced network has the mean output of the full one.

First the means of the accumulators are matched, then, where an activation follows, the means behind it. The mean of an
accumulator is linear in the mean input, so the mean activation map, gathered into mean patches with padding 0, gives
it exactly; no pass over the patches of every image is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from joulet.ir import Activation, Conv, Dense, Graph, Op, OpKind, Precision
from joulet.quant.bare import bias_of, weighted_ops
from joulet.quant.probe import Array, Execute, Setting, full, live_at, probe, spread_samples

CORRECTION_SAMPLES = 256
_I32_MAX = 2**31 - 1
_MOST_LIVE = 6
_LEAST_PASSING = 0.05  # share of outputs an activation lets through; fewer would make the step too long


def mean_patches(graph: Graph, op: Op, mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean over output positions of the input patch of a layer.

    Parameters
    ----------
    graph, op
        A weighted op.
    mean
        Mean input, x − zero point, of the shape of the op's input.

    Returns
    -------
    array
        ``(kh, kw, in_c)`` for convolutions, ``(i,)`` for fully connected.
    """
    weights = graph.tensors[op.inputs[1]].shape
    if not isinstance(op.attrs, Conv):
        return np.asarray(mean.reshape(-1, weights[1]).mean(axis=0))
    out_h, out_w = graph.tensors[op.outputs[0]].shape[1:3]
    image = mean[0]
    height, width, channels = image.shape
    result = np.zeros((weights[1], weights[2], channels))
    for i in range(weights[1]):
        rows = np.arange(out_h) * op.attrs.stride[0] - op.attrs.pad[0] + i * op.attrs.dilation[0]
        rows = rows[(rows >= 0) & (rows < height)]
        for j in range(weights[2]):
            columns = np.arange(out_w) * op.attrs.stride[1] - op.attrs.pad[1] + j * op.attrs.dilation[1]
            columns = columns[(columns >= 0) & (columns < width)]
            result[i, j] = image[np.ix_(rows, columns)].sum(axis=(0, 1)) / (out_h * out_w)
    return result


def mean_products(graph: Graph, op: Op, bits: int, mean: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the mean of Σ w·x over images and positions for each output channel, ``(o,)``, without bias."""
    weights = graph.tensors[op.inputs[1]]
    q = np.asarray(weights.data).astype(np.int64)
    zero_point = weights.quant.zero_point if weights.quant else 0
    w = (q if bits == 8 else 16 * ((q + 128) >> 4) - 120).astype(np.float64) - zero_point
    patch = mean_patches(graph, op, mean)
    if op.kind is OpKind.FULLY_CONNECTED:
        return np.asarray(w @ patch)
    if op.kind is OpKind.DEPTHWISE_CONV2D:
        return np.asarray((w[0] * np.repeat(patch, w.shape[3] // patch.shape[2], axis=2)).sum(axis=(0, 1)))
    groups = op.attrs.groups if isinstance(op.attrs, Conv) else 1
    parts = zip(np.split(w, groups), np.split(patch, groups, axis=2), strict=True)
    return np.concatenate([np.tensordot(rows, part, axes=3) for rows, part in parts])


def closed_form_bias(
    graph: Graph,
    index: int,
    mean_full: npt.NDArray[np.float64],
    mean_sliced: npt.NDArray[np.float64],
    bits: int,
    *,
    reference: Graph | None = None,
) -> npt.NDArray[np.int32]:
    """Return the bias ``(o,)`` that makes the mean accumulator at ``bits`` equal to that of ``reference`` at 8 bits.

    The reference is the same graph with its imported weights and biases; by default the graph itself.
    """
    reference = reference if reference is not None else graph
    op, right = graph.ops[index], reference.ops[index]
    gap = mean_products(reference, right, 8, mean_full) - mean_products(graph, op, bits, mean_sliced)
    corrected = bias_of(reference, right).astype(np.float64) + np.rint(gap)
    return np.clip(corrected, -_I32_MAX, _I32_MAX).astype(np.int32)


def mean_of(graph: Graph, tensor: int, values: Array) -> npt.NDArray[np.float64]:
    """Return the mean of x − zero point over samples, of the tensor's own shape."""
    quant = graph.tensors[tensor].quant
    mean = values.mean(axis=0, dtype=np.float64).reshape(graph.tensors[tensor].shape)
    return np.asarray(mean - (quant.zero_point if quant else 0))


def mean_maps(
    execute: Execute, graph: Graph, feeds: Mapping[int, Array], layers: Sequence[int]
) -> dict[int, npt.NDArray[np.float64]]:
    """Return the mean input of each given weighted op at 8 bits, by op index."""
    inputs = {index: graph.ops[index].inputs[0] for index in layers}
    values = probe(execute, graph, full(graph), feeds, tuple(dict.fromkeys(inputs.values())))
    return {index: mean_of(graph, t, values[t]) for index, t in inputs.items()}


def corrected(
    execute: Execute,
    graph: Graph,
    precision: Precision,
    feeds: Mapping[int, Array],
    *,
    reference: Graph | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Precision:
    """Return a precision with biases fitted on its own prefix, layer after layer.

    Parameters
    ----------
    execute
        Runs probes.
    graph
        Integer graph.
    precision
        Bits by op; its biases are replaced.
    feeds
        Calibration inputs ``(n, *shape[1:])`` by tensor index; at most 256 samples are used.
    reference
        The same graph with the weights as imported, whose means are the aim; by default the graph itself.
    progress
        Called with (what, done, total).
    """
    few = spread_samples(feeds, CORRECTION_SAMPLES)
    layers = weighted_ops(graph)
    if all(precision.bits[index] == 8 for index in layers):
        return replace(precision, bias={})
    storage = {index: "nested" if precision.bits[index] == 4 else "s8" for index in layers}
    reference = reference if reference is not None else graph
    imported = Walk(execute, reference, full(reference), few)
    bias: dict[int, npt.NDArray[np.int32]] = {}
    sliced = Walk(execute, graph, Setting(bits=precision.bits, bias=bias, storage=storage), few)
    for done, index in enumerate(layers):
        imported.advance(index)
        sliced.advance(index)
        fit_bias(imported, sliced, bias, index)
        if progress:
            progress(f"{precision.name}: bias correction", done + 1, len(layers))
    return replace(precision, bias=bias)


def fit_bias(imported: Walk, sliced: Walk, bias: dict[int, npt.NDArray[np.int32]], index: int) -> None:
    """Set the bias of a layer that both walks have reached; ``bias`` is the one that the sliced walk runs with."""
    graph, op = sliced.graph, sliced.graph.ops[index]
    source, output = op.inputs[0], op.outputs[0]
    means = [mean_of(graph, source, walk.read(source)) for walk in (imported, sliced)]
    bits = sliced.how.bits[index]
    bias[index] = closed_form_bias(graph, index, means[0], means[1], bits, reference=imported.graph)
    if isinstance(op.attrs, (Conv, Dense)) and op.attrs.activation is not Activation.NONE:
        gap = _gap_after_activation(imported.read(output), sliced.read(output))
        bias[index] = _moved(graph, op, bias[index], gap)


class Walk:
    """A network run step by step: each step starts from the tensors that are live where the last one ended."""

    def __init__(self, execute: Execute, graph: Graph, how: Setting, feeds: Mapping[int, Array]) -> None:
        self.execute = execute
        self.graph = graph
        self.how = how
        self.known = feeds

    def advance(self, op: int) -> None:
        """Compute what is live right before an op, unless that is too much to hold."""
        live = live_at(self.graph, op, ())
        if len(live) <= _MOST_LIVE:
            self.known = probe(self.execute, self.graph, self.how, self.known, live)

    def read(self, tensor: int) -> Array:
        """Return a tensor that follows from what is known."""
        return probe(self.execute, self.graph, self.how, self.known, (tensor,))[tensor]


def _gap_after_activation(wanted: Array, got: Array) -> npt.NDArray[np.float64]:
    """Return how far the mean before an activation must move so that the mean after it fits, in output steps, ``(o,)``.

    Slicing widens the spread before a ReLU, which raises the mean behind it though the mean in front is right.
    """
    axes = tuple(range(wanted.ndim - 1))
    gap = wanted.mean(axis=axes, dtype=np.float64) - got.mean(axis=axes, dtype=np.float64)
    passing = ((got > -128) & (got < 127)).mean(axis=axes)
    return np.asarray(gap / np.maximum(passing, _LEAST_PASSING))


def _moved(graph: Graph, op: Op, bias: npt.NDArray[np.int32], gap: npt.NDArray[np.float64]) -> npt.NDArray[np.int32]:
    source, weights, output = (graph.tensors[t].quant for t in (op.inputs[0], op.inputs[1], op.outputs[0]))
    assert source is not None
    assert weights is not None
    assert output is not None
    steps = output.scale[0] / (source.scale[0] * np.asarray(weights.scale))
    moved = bias + np.rint(gap * steps)
    return np.clip(moved, -_I32_MAX, _I32_MAX).astype(np.int32)
