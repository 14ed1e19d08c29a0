# SPDX-License-Identifier: Apache-2.0
"""An exit's head fitted again while the model runs, by the same C that a board has: the same labels, the same bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet._core import ffi, lib
from joulet.engine.host import HostEngine
from joulet.errors import UsageError

_NO_HEAD, _NO_TARGET = -15, -11
_FEATURES, _CLASSES = 512, 64  # csrc/core/refit.h
_RULE = ("forgetting", "prior", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitRule:
    """How a head learns.

    Attributes
    ----------
    forgetting
        Weight of a sample once the next one has come, 0.9 to 1; about 1 / (1 − forgetting) samples are remembered.
    prior
        The head that was shipped weighs as much as 1 / prior samples in every direction, 1e-6 to 1e3: more adapts faster.
    target
        Logit of the right class, in steps of the logits' int8 grid, 8 to 255; 0 for the one that the head was fitted to, which
        a head from :mod:`joulet.exits.ridge` tells by itself.

    Raises
    ------
    UsageError
        When a figure is out of range.
    """

    forgetting: float = 0.998
    prior: float = 0.1
    target: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("forgetting", 0.9, 1.0), ("prior", 1e-6, 1e3)):
            value = getattr(self, name)
            if not low <= value <= high:
                raise UsageError(f"refit: {name} is {value:g}; it must lie within {low:g} and {high:g}")
        if self.target != 0.0 and not 8.0 <= self.target <= 255.0:
            raise UsageError(f"refit: target is {self.target:g} steps; it must be 0 or lie within 8 and 255")


def parse_rule(text: str) -> RefitRule:
    """Return the rule that some ``name=value`` with commas make.

    Raises
    ------
    UsageError
        When one is no rule.
    """
    rule = RefitRule()
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if name not in _RULE or number != number:
            raise UsageError(f"refit rule '{part}': give {', '.join(f'{key}=NUMBER' for key in _RULE)}")
        rule = replace(rule, **{name: number})
    return rule


class HeadRefit:
    """Recursive least squares of one exit's head, attached to an engine; its backbone stays as it is.

    From then on the engine answers at this exit with the head as it stands. One head serves all integer paths.

    Parameters
    ----------
    engine : HostEngine
        What runs; it is used by one :class:`HeadRefit` at a time.
    exit : int or str
        An exit that was attached or re-fitted by :mod:`joulet.exits`; the imported one stays byte for byte.
    rule : RefitRule, optional
        How it learns.

    Raises
    ------
    UsageError
        When the exit has no head that could be fitted, or its target is not known.

    Notes
    -----
    The covariance is kept factored as U·D·Uᵀ in float32 (G. J. Bierman, Factorization Methods for Discrete Sequential
    Estimation, Academic Press 1977, chapter V.3); csrc/NUMERICS.md §13 says what that costs and why it is stable.
    """

    def __init__(self, engine: HostEngine, exit: int | str, rule: RefitRule | None = None) -> None:
        self.engine = engine
        self.rule = rule or RefitRule()
        self.exit = exit_index(engine, exit)
        name = engine.exit_names[self.exit]
        self._refit: Any = ffi.new("jlt_refit_t *")
        head = ffi.new("jlt_head_t *")
        checked = engine.checked
        status = lib.jlt_head_find(checked, self.exit, head)
        n_bytes = int(lib.jlt_refit_bytes(head.n_features, head.n_classes)) if status == 0 else 0
        if n_bytes == 0:
            raise UsageError(f"exit {name} cannot be fitted again: {_obstacle(engine, self.exit, head)}")
        self._memory = np.zeros(n_bytes, np.uint8)
        c_rule = ffi.new(
            "jlt_refit_rule_t *",
            {"forgetting": self.rule.forgetting, "prior": self.rule.prior, "target": self.rule.target},
        )
        memory = ffi.from_buffer("uint8_t[]", self._memory, require_writable=True)
        status = lib.jlt_refit_open(self._refit, checked, self.exit, c_rule, memory, n_bytes)
        if status == _NO_TARGET:
            raise UsageError(
                f"exit {name}: its head does not say which logit the right class should have, as one by least squares does; "
                "give the target in steps of the logits, for instance 96"
            )
        if status != 0:
            raise UsageError(f"exit {name} cannot be fitted again (status {status})")
        engine.use_head(self._refit)

    @property
    def c_refit(self) -> Any:
        """The same as ``jlt_refit_t *``, for what else in C drives it; lives as long as this."""
        return self._refit

    @property
    def n_features(self) -> int:
        """Pooled features that the head reads."""
        return int(self._refit.head.n_features)

    @property
    def n_classes(self) -> int:
        """Classes that it answers with."""
        return int(self._refit.head.n_classes)

    @property
    def memory_bytes(self) -> int:
        """All memory that the head takes on a board, its state included [bytes]."""
        return len(self._memory)

    @property
    def updates(self) -> int:
        """Samples learned from."""
        return int(self._refit.updates)

    @property
    def target(self) -> float:
        """Logit that the right class should have [steps]."""
        return float(self._refit.target)

    @property
    def fresh(self) -> bool:
        """Whether an inference has come by the exit that has not been learned from."""
        return bool(self._refit.head.fresh)

    def forget(self) -> None:
        """Learn nothing from the last inference."""
        self._refit.head.fresh = False

    def learn(self, label: int) -> None:
        """Learn that the last inference that came by this exit was of a class.

        Raises
        ------
        UsageError
            When there is no such class, or nothing to learn from.
        """
        if not 0 <= label < self.n_classes:
            raise UsageError(f"label {label}: the exit has classes 0..{self.n_classes - 1}")
        if not self.fresh:
            raise UsageError("nothing to learn from: no inference has come by this exit since the last label")
        lib.jlt_refit_update(self._refit, label)

    @property
    def last(self) -> tuple[int, int]:
        """(class, margin) that the head answered the last inference that came by with; the margin in steps, 0..255."""
        return int(self._refit.head.predicted), int(self._refit.head.margin)

    def confidence_q15(self, path: int | str = 0) -> npt.NDArray[np.uint16]:
        """Return P(correct) by bin of margin as the exit tells it now on a path, ``(32,)`` q15.

        Before the first label that is the container's table; afterwards the mean of a Beta distribution with that table as its
        prior and, as counts, how often labels were answered rightly before they were learned; made monotone. NUMERICS.md §13.
        """
        index = self.engine.path_index(path)
        margins = range(0, 256, 8)
        ask = lib.jlt_head_confidence_q15
        head, checked = ffi.addressof(self._refit, "head"), self.engine.checked
        return np.array([ask(head, checked, index, margin) for margin in margins], np.uint16)

    def reset(self) -> None:
        """Go back to the head that was shipped."""
        lib.jlt_refit_reset(self._refit)

    def close(self) -> None:
        """Leave the engine with the head that was shipped."""
        self.engine.use_head(None)

    def state(self) -> bytes:
        """Return what has been learned, as a board keeps it: covariance, weights, counts of right answers, float32."""
        return bytes(ffi.buffer(self._refit.state, self._refit.state_bytes))

    def restore(self, state: bytes, updates: int) -> bool:
        """Take up a state; False, and the head that was shipped, where it is none that learning could leave."""
        if len(state) != self._refit.state_bytes:
            raise UsageError(f"a state of this head has {self._refit.state_bytes} bytes, not {len(state)}")
        ffi.memmove(self._refit.state, state, len(state))
        return int(lib.jlt_refit_restore(self._refit, updates)) == 0

    def head(self) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Return the head in integers: weights ``(classes, features)``, then bias, q31 multipliers and shifts ``(classes,)``."""
        head, shape = self._refit.head, (self.n_classes, self.n_features)
        weights = np.frombuffer(ffi.buffer(head.weights, math.prod(shape)), np.int8).reshape(shape).copy()
        rest = (head.bias, head.multipliers, head.shifts)
        bias, multipliers, shifts = (np.frombuffer(ffi.buffer(part, 4 * shape[0]), np.int32).copy() for part in rest)
        return weights, bias, multipliers, shifts


def exit_index(engine: HostEngine, exit: int | str) -> int:
    """Return the index of an exit given by name or number.

    Raises
    ------
    UsageError
        When there is none.
    """
    names = engine.exit_names
    text = str(exit)
    if text in names:
        return names.index(text)
    if text.isdigit() and int(text) < len(names):
        return int(text)
    raise UsageError(f"exit '{exit}': the model has {', '.join(names)}")


def _obstacle(engine: HostEngine, exit: int, head: Any) -> str:
    if int(engine.container.exits[exit]["flags"]) & 1:
        others = [n for k, n in enumerate(engine.exit_names) if not int(engine.container.exits[k]["flags"]) & 1]
        return f"it is the imported one and stays as it is; the others are {', '.join(others) or 'none (compile with exits)'}"
    if head.n_features > _FEATURES or head.n_classes > _CLASSES:
        return f"{head.n_features} features and {head.n_classes} classes; at most {_FEATURES} and {_CLASSES} fit"
    return "its logits do not come from a single linear layer"
