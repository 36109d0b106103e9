"""the earlier name of `adl dataset check`

reads:  the folder, as the file of the data set describes it; params.yaml for those that are not given
writes: nothing; tables and the problems to the terminal, or JSON

example: adl check-data /data/cityscapes --official --deep
"""

from adl.commands.dataset_check import add, run

__all__ = ["add", "run"]
