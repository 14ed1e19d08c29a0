# SPDX-License-Identifier: Apache-2.0
"""The recipe of the demo's model: trains it, quantises it to int8 and writes ``watch_int8.tflite``.

Run it as ``python -m joulet.tools.train_demo --out DIR``. It needs PyTorch (``pip install torch``) and the package
``seglearn``; nothing else of Joulet needs PyTorch. One core, about a minute and a half; the seed fixes every byte on
one machine and version of PyTorch. Weights are trained to be read at eight bits and at the four high bits of the
eight, turn by turn, so that both are good. The test people are looked at once, after the last step.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.demo import watch
from joulet.errors import MissingDependencyError
from joulet.tools.demo_tflite import Layer, write_tflite

F32 = npt.NDArray[np.float32]
SEED = 7
STEPS = 3600
BATCH = 96
PEAK_RATE = 4e-3
NESTED_FROM = 0.4  # the share of the steps after which the weights are rounded in the forward pass


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


def blocks() -> tuple[Block, ...]:
    """Return the backbone: one convolution and four depthwise-separable blocks, 280 k MACs with the head."""
    found = [Block(name="stem", inputs=6, outputs=16, kernel=5, stride=2)]
    for index, (inputs, outputs, stride) in enumerate(((16, 32, 1), (32, 48, 2), (48, 64, 2), (64, 96, 1)), start=1):
        found.append(
            Block(name=f"block{index}_depthwise", inputs=inputs, outputs=inputs, kernel=5, stride=stride, groups=inputs)
        )
        found.append(Block(name=f"block{index}_pointwise", inputs=inputs, outputs=outputs, kernel=1, stride=1))
    return tuple(found)


def rotations(count: int, spread_rad: float, rng: np.random.Generator) -> F32:
    """Return ``(count, 3, 3)`` random rotations about random axes: a strap that sits a little differently."""
    axis = rng.normal(size=(count, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    angle = (rng.normal(size=count) * spread_rad)[:, None, None]
    cross = np.zeros((count, 3, 3))
    cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -axis[:, 2], axis[:, 1], -axis[:, 0]
    cross -= cross.transpose(0, 2, 1)
    return (np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross).astype(np.float32)


def augmented_batch(
    recordings: tuple[watch.Recording, ...], share: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[F32, npt.NDArray[np.int64]]:
    """Return ``(BATCH, 6, 128)`` windows and labels: other speeds, strap angles, wrists, amplitudes and noise."""
    chosen = rng.choice(len(recordings), BATCH, p=share)
    speed = np.exp(rng.uniform(-0.25, 0.25, BATCH))
    x = np.empty((BATCH, watch.WINDOW, 6), dtype=np.float32)
    for row in range(BATCH):
        signal = recordings[chosen[row]].signal
        start = rng.integers(0, len(signal) - int(watch.WINDOW * speed[row]) - 1)
        position = start + np.arange(watch.WINDOW) * speed[row]
        whole = position.astype(int)
        part = (position - whole)[:, None].astype(np.float32)
        x[row] = signal[whole] * (1 - part) + signal[np.minimum(whole + 1, len(signal) - 1)] * part
        x[row, :, 3:] *= np.float32(speed[row])
    turn = rotations(BATCH, 0.2, rng).transpose(0, 2, 1)
    x[:, :, :3], x[:, :, 3:] = x[:, :, :3] @ turn, x[:, :, 3:] @ turn
    # The other wrist is the mirror image: x of the acceleration flips, and y and z of the rotation.
    x[rng.random(BATCH) < 0.5] *= np.array([-1, 1, 1, 1, -1, -1], dtype=np.float32)
    x *= np.exp(rng.normal(size=(BATCH, 1, 1)) * 0.08).astype(np.float32)
    x += (rng.normal(size=x.shape) * 0.03).astype(np.float32)
    labels = np.array([recordings[index].label for index in chosen], dtype=np.int64)
    return np.clip(x, -4.0, 127 / 32).transpose(0, 2, 1).copy(), labels


def torch_module() -> Any:
    """Return PyTorch, or raise MissingDependencyError."""
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise MissingDependencyError("the demo's recipe trains with PyTorch; run: pip install torch") from error


class Net:
    """The network as plain tensors; ``bits`` of the forward pass is 32, 8 or 4 (the high bits of the same 8)."""

    def __init__(self, torch: Any) -> None:
        self.torch = torch
        self.blocks = blocks()
        self.weights = []
        for block in self.blocks:
            fan_in = block.kernel * block.inputs // block.groups
            shape = (block.outputs, block.inputs // block.groups, block.kernel)
            self.weights.append(torch.nn.Parameter(torch.randn(shape) * (2.0 / fan_in) ** 0.5))
        self.norms = [torch.nn.BatchNorm1d(block.outputs) for block in self.blocks]
        self.dropout = torch.nn.Dropout(0.3)
        self.head = torch.nn.Linear(self.blocks[-1].outputs, len(watch.LABELS))

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
        """Return logits ``(n, 7)`` of ``x (n, 6, 128)``; ``watch_layer(index, activations)`` sees each layer."""
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


def train(torch: Any, steps: int) -> Net:
    """Return the trained network."""
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    recordings = watch.load_recordings("train")
    share = np.array([len(recording.signal) for recording in recordings], dtype=np.float64)
    net = Net(torch)
    optimiser = torch.optim.AdamW(net.parameters(), lr=PEAK_RATE, weight_decay=2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, PEAK_RATE, steps)
    net.train(True)
    for step in range(steps):
        x, y = augmented_batch(recordings, share / share.sum(), rng)
        bits = 32 if step < NESTED_FROM * steps else (8, 4)[step % 2]
        logits = net.forward(torch.from_numpy(x), bits)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), label_smoothing=0.05)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if (step + 1) % 200 == 0:
            print(f"step {step + 1}/{steps}: loss {float(loss):.3f}", file=sys.stderr)
    settle_statistics(torch, net, recordings, share / share.sum(), rng)
    return net


def settle_statistics(
    torch: Any, net: Net, recordings: tuple[watch.Recording, ...], share: npt.NDArray[np.float64], rng: Any
) -> None:
    """Average the batch norms afresh at eight bits, which is how the imported model reads its weights."""
    for norm in net.norms:
        norm.reset_running_stats()
        norm.momentum = None
    with torch.no_grad():
        for _ in range(60):
            net.forward(torch.from_numpy(augmented_batch(recordings, share, rng)[0]), 8)
    net.train(False)


def float_input(windows: watch.WatchWindows) -> F32:
    """Return the windows as the network trains on them, ``(n, 6, 128)``."""
    real = windows.x[:, 0].astype(np.float32) * np.float32(watch.INPUT_SCALE)
    return np.ascontiguousarray(real.transpose(0, 2, 1))


def accuracy(torch: Any, net: Net, windows: watch.WatchWindows, bits: int) -> float:
    """Return the share of right answers."""
    with torch.no_grad():
        answers = net.forward(torch.from_numpy(float_input(windows)), bits).argmax(1).numpy()
    return float((answers == windows.y).mean())


def layers(torch: Any, net: Net) -> tuple[Layer, ...]:
    """Return the layers with their output ranges, seen on the training people's windows."""
    peaks: list[float] = []
    windows = watch.load_windows("train")
    with torch.no_grad():
        logits = net.forward(
            torch.from_numpy(float_input(windows)), 8,
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


def main() -> int:
    """Train, export and print the accuracies as one JSON object."""
    parser = argparse.ArgumentParser(description="Train the demo's smartwatch model and write it as int8 .tflite.")
    parser.add_argument("--out", type=Path, default=Path("runtime/demo"), help="folder to write to")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"optimiser steps (default {STEPS})")
    args = parser.parse_args()
    torch = torch_module()
    net = train(torch, args.steps)
    model = write_tflite(
        layers(torch, net),
        input_shape=(1, 1, watch.WINDOW, 6),
        input_scale=watch.INPUT_SCALE,
        input_zero_point=watch.INPUT_ZERO_POINT,
        description="Joulet demo: smartwatch exercises",
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "watch_int8.tflite").write_bytes(model)
    report = {"seed": SEED, "steps": args.steps, "bytes": len(model), "torch": torch.__version__}
    for split in ("train", "calibration", "test"):
        windows = watch.load_windows(split)
        report[split] = {f"{bits} bit": round(accuracy(torch, net, windows, bits), 4) for bits in (32, 8, 4)}
    print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
