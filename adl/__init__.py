"""Auto-DeepLab on MindSpore: everything that the pipeline's stages call."""

# First of all modules, because it sets a variable before mindspore can be imported.
from adl import device as device

__version__ = "0.2.0"
