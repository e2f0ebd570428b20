"""SIGINT and SIGTERM ask for a stop; training saves and ends at the next optimizer step."""

import logging
import os
import signal
from types import FrameType

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignals:
    """Context in which the first signal sets `received` and the second ends the process at once."""

    def __init__(self) -> None:
        self.received: int | None = None
        self._former: dict[signal.Signals, object] = {}

    def __enter__(self) -> "StopSignals":
        for number in _SIGNALS:
            self._former[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            os._exit(128 + number)
        self.received = number
        logger.warning(
            "%s: saving at the next optimizer step; once more ends at once",
            signal.Signals(number).name,
        )
