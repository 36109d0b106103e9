"""How long a run takes, over all its attempts."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from adl import runtime


class Stopwatch:
    """seconds: of each step of this attempt; the first includes the compilation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = time.monotonic()
        self._lap = time.perf_counter()
        # Of earlier attempts, up to the state from which this one resumes.
        self._seconds_before = 0.0
        self._speed_before: dict[str, Any] = {}

    def resume(self, meta: dict[str, Any]) -> None:
        """Resume from what an earlier attempt saved."""
        self._seconds_before, self._speed_before = meta["seconds"], meta["speed"]

    def start(self) -> None:
        self._lap = time.perf_counter()

    def step_done(self) -> None:
        now = time.perf_counter()
        self.seconds.append(now - self._lap)
        self._lap = now

    def total_seconds(self) -> float:
        """How long the run has taken over all attempts; what was lost between two saves is left out."""
        return self._seconds_before + time.monotonic() - self._began

    def speed(self, *, batch_size: int, devices: int, device_target: str) -> dict[str, Any]:
        """The usual step's time, memory, and the machine; of an earlier attempt if this one took no step."""
        total = {"total_seconds": round(self.total_seconds(), 1)}
        if not self.seconds:
            return self._speed_before and self._speed_before | total
        usual = float(np.median(self.seconds[1:] or self.seconds))
        compilation = self.seconds[0] - usual
        return {
            **total,
            "ms_per_step": round(1000 * usual, 1),
            "samples_per_second": round(batch_size / usual, 2),
            "compile_seconds": round(compilation, 1) if len(self.seconds) > 1 else None,
            "peak_memory_mb": runtime.peak_memory() // 2**20,
            "devices": devices,
            **runtime.machine(device_target),
        }
