"""The processes of a training run. DVC does not list this folder: nothing in it can change a weight."""
