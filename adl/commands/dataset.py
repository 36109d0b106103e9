"""describe a data set of your own, look at it, check it, divide it

reads:  the folder of a data set, and the file that describes it: `adl dataset ACTION --help` says more
writes: what the action names

example: adl dataset init /data/mine
"""

from __future__ import annotations

import argparse

from adl.commands import register

ACTIONS = ("init", "check", "show", "split")
"""Each is a module of this folder: dataset_init.py."""


def add(command: argparse.ArgumentParser) -> None:
    register(command.add_subparsers(dest="action", metavar="ACTION", required=True), ACTIONS, prefix="dataset_")
