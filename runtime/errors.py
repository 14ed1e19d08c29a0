# SPDX-License-Identifier: Apache-2.0
"""Every exception Joulet raises on purpose.

::

    JouletError                  anything a user can act on; the tools print it as one line
    ├── UsageError               a wrong option, path or combination of them
    ├── ModelError               a model file that cannot be taken as it is
    │   ├── UnsupportedModelError    ops or types that no kernel covers (all of them are named)
    │   └── MalformedModelError      bytes that are not what their format says
    ├── ContainerError           a .jlt that fails a check of FORMAT.md
    ├── DataError                arrays, labels or traces of the wrong shape, type or value
    ├── PlanError                a model that cannot be laid out for a board
    ├── EngineError              the engine was driven in the wrong order or on the wrong thread
    ├── PolicyError              a policy that breaks its contract
    ├── LinkError                a board that does not answer, or not as PROTOCOL.md says
    ├── FlashError               a board, probe or volume that did not take an image
    ├── MeterError               a source of power readings that is missing, unreadable or contradicts itself
    ├── KnobError                a setting of the machine that cannot be read, changed or put back
    └── MissingDependencyError   an optional package that this call needs

Each message names the thing (file, op, tensor, option) and the remedy.
"""


class JouletError(Exception):
    """Base of every error a user can act on."""


class UsageError(JouletError):
    """A wrong option, path or combination of them."""


class ModelError(JouletError):
    """A model file that cannot be taken as it is."""


class UnsupportedModelError(ModelError):
    """Ops or types that no kernel covers; the message names all of them."""


class MalformedModelError(ModelError):
    """Bytes that are not what their format says."""


class ContainerError(JouletError):
    """A container that fails a check of FORMAT.md."""


class DataError(JouletError):
    """Arrays, labels or traces of the wrong shape, type or value."""


class PlanError(JouletError):
    """A model that cannot be laid out for a board."""


class EngineError(JouletError):
    """The engine was driven in the wrong order or on the wrong thread."""


class PolicyError(JouletError):
    """A policy that breaks its contract."""


class LinkError(JouletError):
    """A board that does not answer, or not as PROTOCOL.md says."""


class FlashError(JouletError):
    """A board, probe or volume that did not take an image."""


class MeterError(JouletError):
    """A source of power readings that is missing, unreadable or contradicts itself; the message names it and the remedy."""


class KnobError(JouletError):
    """A setting of the machine that cannot be read, changed or put back; the message names it and the remedy."""


class MissingDependencyError(JouletError):
    """An optional package that this call needs; the message names the extra to install."""
