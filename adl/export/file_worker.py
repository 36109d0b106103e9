"""`python -m adl.export.file_worker JOB`: a process that scores an exported file. Only the launcher starts it.

In this folder, because the stage `evaluate`, which scores checkpoints, depends on none of it.
"""

from __future__ import annotations

import functools

from adl.evaluation import worker
from adl.evaluation.counts import EvaluationJob
from adl.evaluation.worker import LabelMaps
from adl.export.exported import Exported
from adl.parallel.world import World


def of_file(job: EvaluationJob, world: World) -> LabelMaps:
    """Raises AdlError if the file is damaged, or cannot do what the job asks for."""
    file = Exported.load(job.model, device_target=job.device_target, device_id=world.device)
    file.check_mode(job.mode)
    return functools.partial(file.label_maps, mode=job.mode)


if __name__ == "__main__":
    worker.main(of_file)
