# SPDX-License-Identifier: Apache-2.0
"""The fine-tuning itself: every step asks all precisions and all exits for the same answers.

Loss of a batch = mean over precisions of Σ over exits of (share of inferences that stop there) · ((1 − κ) · cross entropy
with the label + κ · cross entropy with a teacher). The teacher of the last exit is the imported model; that of an earlier
exit is the last exit at 8 bits as it is now (self-distillation).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.quant.probe import Array
from joulet.train.checkpoint import Checkpoint, Store
from joulet.train.net import Net

_SAVE_EVERY_S = 30.0
_BIAS_RATE = 0.2  # of the rate of weights, because one unit of a bias is a whole output step
_BETAS = (0.9, 0.99)
_WARM_UP = 25  # steps over which the rate rises, because the first steps of Adam move every weight alike


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to fine-tune. ``rate`` is the largest step of a weight in 1/256 of its range; it falls to 0 along a cosine."""

    epochs: int = 3
    batch: int = 64
    rate: float = 0.1
    distil: float = 0.7
    flip: bool = False
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """int8 inputs ``(n, *shape[1:])``, one a graph input; labels or None; what the imported model answers.

    ``teacher`` is ``(sides, n, classes)`` in real logits; side 1 belongs to inputs that are mirrored left to right.
    """

    inputs: tuple[Array, ...]
    labels: npt.NDArray[np.int64] | None
    teacher: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How an epoch went: mean loss of its batches, and on held-out samples the accuracy of the last exit by precision."""

    number: int
    loss: float
    held_out: dict[str, float]


def fit(
    net: Net,
    train: Samples,
    judge: Callable[[], dict[str, float]],
    shares: tuple[float, ...],
    options: Options,
    store: Store,
    *,
    progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Epoch, ...]:
    """Fine-tune a net in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    net
        The net; its precisions and exits are all trained.
    train
        What to learn from; where labels are missing the imported model's answers count.
    judge
        Returns the accuracy of the net as it is now, by precision, on samples that are not learned from.
    shares
        Share of inferences that stop at each exit.
    options
        How.
    store
        Where the state is kept, and taken from when there is one.
    progress
        Called with (what, done, total).
    """
    return _Run(net, train, judge, shares, options, store, progress).run()


class _Run:
    def __init__(
        self,
        net: Net,
        train: Samples,
        judge: Callable[[], dict[str, float]],
        shares: tuple[float, ...],
        options: Options,
        store: Store,
        progress: Callable[[str, int, int], None] | None,
    ) -> None:
        self.net, self.torch = net, net.torch
        self.train, self.judge = train, judge
        self.shares, self.options, self.store, self.progress = shares, options, store, progress
        self.n = len(train.teacher[0])
        self.per_epoch = max(1, math.ceil(self.n / options.batch))
        self.steps = self.per_epoch * options.epochs
        weights, biases = net.parameters()
        groups = [{"params": weights, "lr": options.rate}, {"params": biases, "lr": options.rate * _BIAS_RATE}]
        self.optimiser = self.torch.optim.Adam(groups, betas=_BETAS)
        self.step = 0
        self.losses: list[float] = []
        self.epochs: list[Epoch] = []
        self.best: list[Array] = net.state()
        self.best_score = -1.0

    def run(self) -> tuple[Epoch, ...]:
        """Return how every epoch went."""
        found = self.store.load(self.net)
        if found is not None:
            self._take(found)
        else:
            self._judge(0)
        saved = time.monotonic()
        while self.step < self.steps:
            self._one_step()
            if self.step % self.per_epoch == 0:
                self._judge(self.step // self.per_epoch)
            if self.step % self.per_epoch == 0 or time.monotonic() - saved > _SAVE_EVERY_S:
                self.store.save(self._state())
                saved = time.monotonic()
            if self.progress:
                self.progress("training: steps", self.step, self.steps)
        self.net.load(self.best)
        return tuple(self.epochs)

    def _one_step(self) -> None:
        epoch, place = divmod(self.step, self.per_epoch)
        rng = np.random.default_rng((self.options.seed, epoch))
        order = rng.permutation(self.n)
        mirrored = rng.random(self.n) < (0.5 if self.options.flip else 0.0)
        taken = order[place * self.options.batch : (place + 1) * self.options.batch]
        fade = 0.5 * (1 + math.cos(math.pi * self.step / self.steps)) * min(1.0, (self.step + 1) / _WARM_UP)
        for group, rate in zip(self.optimiser.param_groups, (1.0, _BIAS_RATE), strict=True):
            group["lr"] = self.options.rate * rate * fade
        self.optimiser.zero_grad(set_to_none=True)
        loss = self._loss(taken, mirrored[taken])
        loss.backward()
        self.optimiser.step()
        self.losses.append(float(loss.detach()))
        self.step += 1

    def _loss(self, taken: Array, mirrored: Array) -> Any:
        torch = self.torch
        functional = torch.nn.functional
        inputs = []
        for array in self.train.inputs:
            x = array[taken]
            if self.options.flip and x.ndim == 4:
                x = np.where(mirrored[:, None, None, None], x[:, :, ::-1], x)
            inputs.append(torch.from_numpy(np.ascontiguousarray(x)))
        teacher = torch.from_numpy(self.train.teacher[mirrored.astype(int), taken]).softmax(dim=1)
        labels = None if self.train.labels is None else torch.from_numpy(self.train.labels[taken])
        exits = self.net.graph.exits
        total, own = 0.0, None
        # 8 bits come first: their last exit teaches the earlier ones of every precision.
        for name in sorted(self.net.bits, key=lambda n: n != "w8"):
            values = self.net.forward(name, inputs)
            answers = [self.net.real_logits(values, e.logits) for e in exits]
            if own is None:
                own = answers[-1].detach().softmax(dim=1)
            for k, (answer, share) in enumerate(zip(answers, self.shares, strict=True)):
                wanted = teacher if k == len(exits) - 1 else own
                soft = functional.cross_entropy(answer, wanted)
                hard = soft if labels is None else functional.cross_entropy(answer, labels)
                total = total + share * (self.options.distil * soft + (1 - self.options.distil) * hard)
        return total / len(self.net.bits)

    def _judge(self, number: int) -> None:
        """Score the weights; keep them if they are the best."""
        scores = self.judge()
        loss = float(np.mean(self.losses)) if self.losses else 0.0
        self.losses = []
        self.epochs.append(Epoch(number=number, loss=loss, held_out=scores))
        if sum(scores.values()) > self.best_score:
            self.best_score, self.best = sum(scores.values()), self.net.state()

    # --- the state between sittings ---------------------------------------------------------------------------------

    def _state(self) -> Checkpoint:
        moments = []
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:
                state = self.optimiser.state.get(parameter, {})
                for key in ("exp_avg", "exp_avg_sq"):
                    moments.append(state[key].numpy() if key in state else np.zeros(tuple(parameter.shape)))
        return Checkpoint(
            step=self.step,
            parameters=self.net.state(),
            moments=moments,
            best=self.best,
            best_score=self.best_score,
            losses=list(self.losses),
            epochs=[(e.number, e.loss, e.held_out) for e in self.epochs],
        )

    def _take(self, found: Checkpoint) -> None:
        torch = self.torch
        self.net.load(found.parameters)
        self.step, self.best, self.best_score, self.losses = (
            found.step,
            found.best,
            found.best_score,
            list(found.losses),
        )
        self.epochs = [Epoch(number=n, loss=loss, held_out=dict(held)) for n, loss, held in found.epochs]
        moments = iter(found.moments)
        for group in self.optimiser.param_groups:
            for parameter in group["params"]:
                state = {"step": torch.tensor(float(self.step))}
                for key in ("exp_avg", "exp_avg_sq"):
                    state[key] = torch.from_numpy(np.asarray(next(moments))).to(parameter.dtype)
                self.optimiser.state[parameter] = state
