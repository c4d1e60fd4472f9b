"""The clock that a chat template prints: a moment in local time, kept so that it can be shown
again."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

import msgspec


class Clock(msgspec.Struct, frozen=True):
    """A moment in local time.

    Args:
        time: local time in ISO 8601, without the zone.
        zone: the zone's offset from UTC, ``+02:00``.

    Raises:
        msgspec.ValidationError: when read from a file in which ``time`` is no time.
    """

    time: str
    zone: str = "+00:00"

    def __post_init__(self) -> None:
        datetime.fromisoformat(self.time)

    @classmethod
    def now(cls) -> Clock:
        """The local time of this machine."""
        return cls.of(datetime.now().astimezone())

    @classmethod
    def of(cls, moment: datetime) -> Clock:
        """The local time that ``moment``, which knows its zone, shows."""
        offset = moment.utcoffset() or timedelta()
        minutes = round(offset.total_seconds() / 60)
        hours, rest = divmod(abs(minutes), 60)
        zone = f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}"
        return cls(moment.replace(tzinfo=None).isoformat(), zone)

    @classmethod
    def read(cls, value: object) -> Clock | None:
        """The clock that a run's manifest holds as ``value``; None where it holds none."""
        try:
            return msgspec.convert(value, cls)
        except msgspec.ValidationError:
            return None

    def strftime(self, pattern: str) -> str:
        """What ``datetime.now().strftime(pattern)`` gave at that moment, in any zone today."""
        moment = datetime.fromisoformat(self.time)

        def epoch(found: re.Match[str]) -> str:
            if found[0] != "%s":
                return found[0]
            aware = datetime.fromisoformat(f"{moment.isoformat()}{self.zone}")
            return str(int(aware.timestamp()))

        # Python leaves the seconds since 1970 to the system, which reads the zone of today.
        return moment.strftime(re.sub(r"%.", epoch, pattern, flags=re.DOTALL))

    def later(self, **amounts: float) -> Clock:
        """A later moment; ``amounts`` are those of ``datetime.timedelta``."""
        moment = datetime.fromisoformat(self.time) + timedelta(**amounts)
        return Clock(moment.isoformat(), self.zone)

    def __str__(self) -> str:
        return f"{self.time[:19].replace('T', ' ')} {self.zone}"
