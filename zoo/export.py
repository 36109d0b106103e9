"""Export a checkpoint, from 2021 or from this project."""

import common

command = common.command_line("export", __doc__)
common.add_model(command, output="exported")
common.run(
    command.parse_args(),
    "dvc repro mindrecord",
    "python -m pipeline.export --checkpoint {checkpoint} --output {output}",
)
