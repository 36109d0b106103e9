"""Score a checkpoint, from 2021 or from this project."""

import common

command = common.command_line("evaluate", __doc__)
common.add_model(command, output="evaluated")
command.add_argument("--split", choices=("train", "val"), default="val", help="which images")
command.add_argument("--batch_size", "--batch-size", dest="images", type=int, default=1, help="images at a time")
common.run(
    command.parse_args(),
    "dvc repro baselines",
    "python -m pipeline.evaluate --checkpoint {checkpoint} --output {output} --split {split} "
    "--eval-batch-size {images}",
)
