# SPDX-License-Identifier: Apache-2.0
"""What PyTorch's own exporter writes: imported, it computes what the module computes."""

from __future__ import annotations

import io

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the package onnx")
torch = pytest.importorskip("torch", reason="PyTorch is not installed; tests/test_onnx.py has files as it writes them")

from joulet.importers.onnx import load_onnx  # noqa: E402
from joulet.ir import OpKind  # noqa: E402
from joulet.passes.pipeline import exact_passes  # noqa: E402
from joulet.quant.float_exec import run_float  # noqa: E402

nn, F = torch.nn, torch.nn.functional


class Mobile(nn.Module):
    """Hard swish, squeeze and excitation, depthwise, pooled head."""

    shape = (1, 3, 16, 16)

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depth = nn.Sequential(nn.Conv2d(8, 8, 5, 1, 2, groups=8, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.wide = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Sequential(nn.Linear(16, 12), nn.Hardswish(), nn.Dropout(), nn.Linear(12, 5))

    def forward(self, x):
        x = self.depth(self.stem(x))
        x = self.wide(x * F.hardsigmoid(self.excite(F.relu(self.squeeze(self.pool(x))))))
        return F.softmax(self.head(torch.flatten(self.pool(x), 1)), dim=1)


class Flat(nn.Module):
    """An image flattened by ``view`` with the batch's own size."""

    shape = (1, 1, 24, 24)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.head = nn.Conv2d(1, 6, 5), nn.Conv2d(6, 16, 3), nn.Linear(256, 10)

    def forward(self, x):
        x = F.avg_pool2d(torch.sigmoid(self.b(F.max_pool2d(torch.tanh(self.a(x)), 2))), 2)
        return self.head(x.view(x.size(0), -1))


class Signal(nn.Module):
    """One-dimensional convolutions."""

    shape = (1, 6, 40)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm = nn.Conv1d(6, 16, 5, 2, 2), nn.BatchNorm1d(16)
        self.b, self.head = nn.Conv1d(16, 16, 3, padding=1, groups=16), nn.Linear(16, 4)

    def forward(self, x):
        x = F.leaky_relu(self.norm(self.a(x)), 0.1)
        return self.head((x + self.b(x)).mean(-1))


class Upwards(nn.Module):
    """Both interpolations, joined with the input."""

    shape = (1, 2, 12, 10)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Conv2d(2, 8, 3, 2, 1), nn.Conv2d(8, 4, 3, 2, 1), nn.Conv2d(6, 3, 1)

    def forward(self, x):
        y = F.interpolate(F.relu(self.a(x)), scale_factor=2, mode="bilinear", align_corners=False)
        y = F.interpolate(self.b(y), size=x.shape[2:], mode="nearest")
        return self.out(torch.cat([y, x], 1))


class Shuffle(nn.Module):
    """Channels halved at the input, grouped, shuffled."""

    shape = (1, 8, 5, 6)

    def __init__(self) -> None:
        super().__init__()
        self.grouped, self.head = nn.Conv2d(8, 8, 1, groups=2), nn.Linear(8, 3)

    def forward(self, x):
        a, b = x.chunk(2, 1)
        x = self.grouped(torch.cat([b, a], 1))
        n, c, h, w = x.shape
        return self.head(x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w).mean([2, 3]))


class Exits(nn.Module):
    """Two classifiers."""

    shape = (1, 2, 8, 8)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 6, 3, 2, 1), nn.Conv2d(6, 8, 3, 1, 1)
        self.early, self.late = nn.Linear(6, 4), nn.Linear(8, 4)

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        return F.softmax(self.late(b.mean([2, 3])), 1), F.softmax(self.early(a.mean([2, 3])), 1)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [13, 18])
@pytest.mark.parametrize("kind", [Mobile, Flat, Signal, Upwards, Shuffle, Exits])
def test_an_exported_module_computes_what_it_computed(kind, opset: int) -> None:
    torch.manual_seed(5)
    module = kind().eval()
    for part in module.modules():
        if isinstance(part, (nn.BatchNorm1d, nn.BatchNorm2d)):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    x = torch.randn(*kind.shape)
    file = io.BytesIO()
    names = {"x": {0: "n"}} if opset == 18 else None
    torch.onnx.export(module, x, file, opset_version=opset, dynamo=False, input_names=["x"], dynamic_axes=names)
    graph = exact_passes(load_onnx(file.getvalue()))
    stored = np.moveaxis(x.numpy(), 1, -1).reshape(graph.tensors[graph.inputs[0]].shape)
    values = run_float(graph, {graph.inputs[0]: stored})
    wanted = module(x)
    for t, want in zip(graph.outputs, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        want = want.detach().numpy()
        want = want if want.ndim < 4 else np.moveaxis(want, 1, -1)
        np.testing.assert_allclose(values[t].reshape(want.shape), want, rtol=1e-4, atol=1e-5)
    assert sum(op.kind is OpKind.TRANSPOSE for op in graph.ops) <= (2 if kind is Shuffle else 0)
