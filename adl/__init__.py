"""Auto-DeepLab on MindSpore: everything that the pipeline's stages call."""

from adl import runtime as runtime  # first, because it has to set a variable before mindspore is imported
