"""The parameters of params.yaml, and the published runs as differences from them."""

from adl.config.params import Params as Params
from adl.config.params import load as load
