"""How many steps a run has."""

from __future__ import annotations

import dataclasses

from adl.dataset.order import steps_per_epoch
from adl.params import Params
from adl.training.schedule import check_warmup


@dataclasses.dataclass(frozen=True)
class Plan:
    """Sizes of a run that follow from the parameters and the data. first_step: where `start_epoch` begins."""

    images: int
    steps_per_epoch: int
    steps: int
    first_step: int

    @classmethod
    def of(cls, params: Params, images: int) -> Plan:
        """Raises AdlError if the warm-up does not fit the run. images: of the training record."""
        per_epoch = steps_per_epoch(images, params.batch_size)
        check_warmup(params.warmup_iters, params.epochs, per_epoch)
        return cls(
            images=images,
            steps_per_epoch=per_epoch,
            steps=params.epochs * per_epoch,
            first_step=params.start_epoch * per_epoch,
        )

    def ends_epoch(self, position: int) -> bool:
        """Is an epoch complete after so many batches?"""
        return position % self.steps_per_epoch == 0
