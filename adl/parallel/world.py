"""Which of the processes that share a piece of work this one is."""

from __future__ import annotations

import os
from typing import NamedTuple

RANK, WORLD_SIZE, DEVICE = "ADL_RANK", "ADL_WORLD_SIZE", "ADL_DEVICE"
"""Environment variables in which the launcher says it."""


def share(n: int, part: int, parts: int) -> range:
    """One of the parts, numbered from 0, into which n things are divided."""
    return range(part * n // parts, (part + 1) * n // parts)


class World(NamedTuple):
    """The processes that share a piece of work, one per device. device: number of this one's device on its machine."""

    rank: int = 0
    size: int = 1
    device: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that saves and reports for all."""
        return self.rank == 0

    def share(self, n: int) -> range:
        """This rank's part of n things; the number of ranks divides n."""
        return share(n, self.rank, self.size)


ALONE = World()


def from_environment() -> World:
    """What the launcher says this process is; one alone where no launcher started it."""
    if RANK not in os.environ:
        return ALONE
    return World(*(int(os.environ[name]) for name in (RANK, WORLD_SIZE, DEVICE)))
