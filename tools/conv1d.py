# SPDX-License-Identifier: Apache-2.0
"""A network of convolutions along time for the recipes of small models: PyTorch trains it, ``demo_tflite`` writes it."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import MissingDependencyError
from joulet.tools.demo_tflite import Layer

F32 = npt.NDArray[np.float32]
Batches = Callable[[np.random.Generator], tuple[F32, npt.NDArray[np.int64]]]
"""Draws a batch: inputs ``(n, channels, t)`` and classes ``(n,)``."""

NESTED_FROM = 0.4  # the share of the steps after which the weights are rounded in the forward pass
_SETTLING = 60  # batches that the batch norms are averaged over at the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One convolution along time with ``kernel`` taps; ``groups`` > 1 means depthwise."""

    name: str
    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int = 1

    @property
    def pad(self) -> tuple[int, int]:
        """Samples of padding before and after, as TensorFlow's SAME for even lengths."""
        total = self.kernel - self.stride if self.kernel > 1 else 0
        return total // 2, total - total // 2


def torch_module() -> Any:
    """Return PyTorch, or raise MissingDependencyError."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("this recipe trains with PyTorch; run: pip install torch") from error


class Net:
    """The network as plain tensors; ``bits`` of the forward pass is 32, 8 or 4 (the high bits of the same 8)."""

    def __init__(self, torch: Any, blocks: tuple[Block, ...], classes: int) -> None:
        self.torch = torch
        self.blocks = blocks
        self.weights = []
        for block in self.blocks:
            fan_in = block.kernel * block.inputs // block.groups
            shape = (block.outputs, block.inputs // block.groups, block.kernel)
            self.weights.append(torch.nn.Parameter(torch.randn(shape) * (2.0 / fan_in) ** 0.5))
        self.norms = [torch.nn.BatchNorm1d(block.outputs) for block in self.blocks]
        self.dropout = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(self.blocks[-1].outputs, classes)

    def parameters(self) -> list[Any]:
        """Return what the optimiser moves."""
        of_norms = [parameter for norm in self.norms for parameter in norm.parameters()]
        return [*self.weights, *of_norms, *self.head.parameters()]

    def train(self, mode: bool) -> None:
        """Switch batch statistics and dropout on or off."""
        for module in (*self.norms, self.dropout):
            module.train(mode)

    def rounded(self, weight: Any, bits: int) -> Any:
        """Return ``weight`` as read at ``bits``, with gradients passed straight through (design: nested planes)."""
        if bits == 32:
            return weight
        torch = self.torch
        scale = weight.detach().abs().flatten(1).amax(1).clamp_min(1e-8).view(-1, *[1] * (weight.dim() - 1)) / 127
        q = torch.clamp(torch.round(weight.detach() / scale), -127, 127)
        if bits == 4:
            q = 16 * torch.floor((q + 128) / 16) - 120
        return weight + (q * scale - weight).detach()

    def forward(self, x: Any, bits: int, watch_layer: Any = None) -> Any:
        """Return logits ``(n, classes)`` of ``x (n, channels, t)``; ``watch_layer(index, activations)`` sees each layer."""
        functional = self.torch.nn.functional
        for index, block in enumerate(self.blocks):
            x = functional.conv1d(
                functional.pad(x, block.pad), self.rounded(self.weights[index], bits), None, block.stride, 0, 1,
                block.groups,
            )  # fmt: skip
            x = functional.relu(self.norms[index](x))
            if watch_layer is not None:
                watch_layer(index, x)
        pooled = self.dropout(x.mean(2))
        return functional.linear(pooled, self.rounded(self.head.weight, bits), self.head.bias)

    def folded(self, index: int) -> tuple[F32, F32]:
        """Return weights ``(o, 1, k, i)`` and bias ``(o,)`` of block ``index`` with its batch norm folded in."""
        norm = self.norms[index]
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach()
        weight = (self.weights[index].detach() * gain[:, None, None]).permute(0, 2, 1)[:, None]
        bias = norm.bias.detach() - norm.running_mean * gain
        return np.asarray(weight.numpy(), dtype=np.float32), np.asarray(bias.numpy(), dtype=np.float32)


def train(
    torch: Any, blocks: tuple[Block, ...], classes: int, batches: Batches, *, seed: int, steps: int, peak_rate: float
) -> Net:
    """Return a trained network, the same for the same arguments on one version of PyTorch.

    Parameters
    ----------
    torch
        PyTorch.
    blocks, classes
        The network.
    batches
        Draws the training data.
    seed
        Of the weights and of the batches.
    steps
        Of the optimiser; from a share of ``NESTED_FROM`` on, in turn at eight and at four bits.
    peak_rate
        Learning rate at its peak (one cycle: Smith and Topin, 2018).
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    net = Net(torch, blocks, classes)
    optimiser = torch.optim.AdamW(net.parameters(), lr=peak_rate, weight_decay=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, peak_rate, steps)
    net.train(True)
    for step in range(steps):
        x, y = batches(rng)
        bits = 32 if step < NESTED_FROM * steps else (8, 4)[step % 2]
        logits = net.forward(torch.from_numpy(x), bits)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % 200 == 0:
            print(f"step {step + 1}/{steps}: loss {float(loss):.3f}", file=sys.stderr)
    _settle(torch, net, batches, rng)
    return net


def _settle(torch: Any, net: Net, batches: Batches, rng: np.random.Generator) -> None:
    """Average the batch norms afresh at eight bits, which is how the imported model reads its weights."""
    for norm in net.norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for _ in range(_SETTLING):
            net.forward(torch.from_numpy(batches(rng)[0]), 8)
    net.train(False)


def right_answers(torch: Any, net: Net, x: F32, y: npt.NDArray[Any], bits: int) -> npt.NDArray[np.bool_]:
    """Return which of the inputs ``x (n, channels, t)`` are told to be of their class ``y (n,)``."""
    with torch.no_grad():
        answers = net.forward(torch.from_numpy(x), bits).argmax(1).numpy()
    return np.asarray(answers == y)


def layers(net: Net, x: F32) -> tuple[Layer, ...]:
    """Return the layers with their output ranges, seen on ``x (n, channels, t)``."""
    torch = net.torch
    peaks: list[float] = []
    with torch.no_grad():
        logits = net.forward(
            torch.from_numpy(x), 8,
            lambda _, x: peaks.append(float(np.quantile(x.numpy(), 0.9999))),
        )  # fmt: skip
    found = []
    for index, block in enumerate(net.blocks):
        weight, bias = net.folded(index)
        if block.groups > 1:
            weight = weight.transpose(3, 1, 2, 0)
        found.append(
            Layer(
                name=block.name, weight=weight, bias=bias, stride=block.stride, depthwise=block.groups > 1,
                low=0.0, high=peaks[index],
            )
        )  # fmt: skip
    head = net.head
    found.append(
        Layer(
            name="head", weight=head.weight.detach().numpy(), bias=head.bias.detach().numpy(), stride=1,
            depthwise=False, low=float(logits.min()), high=float(logits.max()),
        )
    )  # fmt: skip
    return tuple(found)
