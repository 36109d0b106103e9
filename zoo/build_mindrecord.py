"""Convert the images and labels of a split to MindRecord."""

import common

command = common.command_line("mindrecord", __doc__)
command.add_argument("--data_path", "--data_url", required=True, help="folder of leftImg8bit/ and gtFine/")
command.add_argument(
    "--train_path",
    "--train_url",
    dest="output",
    type=common.place,
    required=True,
    help="folder for the record",
)
command.add_argument("--split", choices=("train", "val"), required=True, help="which images")
common.run(
    command.parse_args(),
    "python -m pipeline.mindrecord --split {split} --output {output} --name cityscapes_{split}",
)
