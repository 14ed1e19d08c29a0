# SPDX-License-Identifier: Apache-2.0
"""Reading on while sources come and go: what is lost is said, and asked for again."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.errors import JouletError, LinkError, MeterError, UsageError
from joulet.meters.machine import Machine
from joulet.meters.open import open_meter
from joulet.meters.replay import EndedError
from joulet.meters.seam import Meter, Quality, Reading

_AGAIN_S = 1.0
_JUMP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Happening:
    """Something that a reader of the figures must know.

    ``kind`` is ``note`` (of a source, once), ``lost``, ``back``, ``late`` (this program did not run for a while, as when the
    machine sleeps), ``clock`` (the time of day jumped; readings are timed by a clock that does not), ``gap`` (samples were lost)
    or ``end`` (of a recording).
    """

    time_s: float
    kind: str
    source: str
    text: str


@dataclass(slots=True)
class _Watched:
    source: str
    meter: Meter | None
    lost_s: float = 0.0
    tried_s: float = 0.0
    ended: bool = False


class Watch:
    """Several sources, read in turn.

    Parameters
    ----------
    sources : list of str
        Names; all must open, a later loss is no error.
    machine : Machine
        Where they are.
    allow_estimate : bool
        As for :func:`joulet.meters.open_meter`.
    late_s : float
        A pause between two polls that is told [s].

    Raises
    ------
    MeterError, UsageError, MissingDependencyError
        If a source cannot be opened.
    """

    def __init__(self, sources: list[str], machine: Machine, *, allow_estimate: bool, late_s: float) -> None:
        self._machine, self._allow_estimate, self._late_s = machine, allow_estimate, late_s
        self._watched: list[_Watched] = []
        self._polled_s: float | None = None
        self._apart_s = machine.wall() - machine.clock()
        self._news: list[Happening] = []
        try:
            for source in sources:
                if sources.count(source) > 1:
                    raise UsageError(f"source '{source}' is named {sources.count(source)} times; name it once")
                meter = open_meter(source, machine, allow_estimate=allow_estimate)
                self._watched.append(_Watched(source, meter))
                self._news += [self._tell("note", source, note) for note in meter.notes]
        except JouletError:
            self.close()
            raise

    def _tell(self, kind: str, source: str, text: str) -> Happening:
        return Happening(time_s=self._machine.clock(), kind=kind, source=source, text=text)

    def poll(self) -> tuple[list[tuple[str, Reading]], list[Happening]]:
        """Return (source, reading) of every rail, and what has happened since the last time."""
        news, self._news = self._news, []
        news += self._clocks()
        readings: list[tuple[str, Reading]] = []
        for watched in self._watched:
            if watched.meter is None and not watched.ended:
                self._try_again(watched, news)
            if watched.meter is None:
                continue
            try:
                found = watched.meter.read()
            except EndedError as error:
                watched.meter.close()
                watched.meter, watched.ended = None, True
                news.append(self._tell("end", watched.source, str(error)))
                continue
            except (MeterError, LinkError) as error:
                self._lose(watched, str(error), news)
                continue
            readings += [(watched.source, reading) for reading in found]
            gaps = [reading.rail for reading in found if Quality.GAP in reading.quality]
            if gaps:
                news.append(self._tell("gap", watched.source, f"samples were lost on {', '.join(gaps)}"))
        return readings, news

    def _lose(self, watched: _Watched, text: str, news: list[Happening]) -> None:
        assert watched.meter is not None
        watched.meter.close()
        watched.meter = None
        watched.lost_s = watched.tried_s = self._machine.clock()
        news.append(self._tell("lost", watched.source, text))

    def _try_again(self, watched: _Watched, news: list[Happening]) -> None:
        now_s = self._machine.clock()
        if now_s - watched.tried_s < _AGAIN_S:
            return
        watched.tried_s = now_s
        try:
            watched.meter = open_meter(watched.source, self._machine, allow_estimate=self._allow_estimate)
        except (MeterError, LinkError):
            return
        missed_s = self._machine.clock() - watched.lost_s
        news.append(self._tell("back", watched.source, f"answers again; {missed_s:.1f} s are missing"))

    def _clocks(self) -> list[Happening]:
        news = []
        now_s, apart_s = self._machine.clock(), self._machine.wall() - self._machine.clock()
        if self._polled_s is not None and now_s - self._polled_s > self._late_s:
            news.append(self._tell("late", "", f"nothing was read for {now_s - self._polled_s:.1f} s"))
        if abs(apart_s - self._apart_s) > _JUMP_S:
            jump_s = apart_s - self._apart_s
            news.append(
                self._tell("clock", "", f"the time of day jumped by {jump_s:+.1f} s; readings are not affected")
            )
            self._apart_s = apart_s
        self._polled_s = now_s
        return news

    @property
    def lost(self) -> list[str]:
        """Sources that do not answer now."""
        return [watched.source for watched in self._watched if watched.meter is None and not watched.ended]

    @property
    def over(self) -> bool:
        """True when every source was a recording that is over."""
        return all(watched.ended for watched in self._watched)

    def close(self) -> None:
        """Let go of all sources."""
        for watched in self._watched:
            if watched.meter is not None:
                watched.meter.close()
                watched.meter = None
