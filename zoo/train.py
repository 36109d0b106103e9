"""Train on the train images, from the last saved state on."""

import common

command = common.command_line("train", __doc__)
command.add_argument("--device_id", type=int, default=0, help="the first device to use")
command.add_argument("--rank_table_file", type=common.file, help="Ascend's rank table")
arguments = command.parse_args()
train = "python -m pipeline.train --device-id {device_id}"
if arguments.rank_table_file:
    train = "python -m pipeline.train --rank-table-file {rank_table_file}"
# The last command lets DVC take over the finished run.
common.run(arguments, "dvc repro mindrecord", train, "dvc repro train")
