"""Auto-DeepLab (Liu et al., CVPR 2019): all wiring in one place."""

from __future__ import annotations

from mindspore import Tensor, nn

from adl.architecture.genotype import LOW_LEVEL_CELL, Architecture
from adl.network.aspp import ASPP
from adl.network.decoder import Decoder
from adl.network.encoder import Encoder
from adl.network.normalization import batch_norm
from adl.network.operations import Resize
from adl.parallel.world import ALONE, World


class AutoDeepLab(nn.Cell):
    """Encoder, ASPP, decoder."""

    def __init__(self, architecture: Architecture, world: World) -> None:
        super().__init__()
        norm = batch_norm(momentum=architecture.bn_momentum, eps=architecture.bn_eps, world=world)
        channels, head = architecture.output_channels, architecture.head_channels
        self.architecture = architecture
        self.encoder = Encoder(architecture, norm)
        self.aspp = ASPP(channels[-1], head, norm)
        self.decoder = Decoder(channels[LOW_LEVEL_CELL], head, architecture.num_classes, norm)
        self.resize = Resize()

    def construct(self, images: Tensor, keys: Tensor | None = None, survivors: Tensor | None = None) -> Tensor:
        """images: (N, 3, H, W) float32, BGR, normalised; H, W ≥ 33, odd or even.

        keys: (2, N) int32, dropout's keys; None for no dropout (evaluation).
        survivors: (cells, operations, N) float32, drop path's factors; None for no drop path (evaluation).
        Returns logits (N, classes, H, W) float32.
        """
        low_level, features = self.encoder(images, survivors)
        logits = self.decoder(low_level, self.aspp(features), keys)
        return self.resize(logits, images.shape[2:])


def build(architecture: Architecture, *, world: World = ALONE) -> AutoDeepLab:
    """The network of an architecture, freshly initialised. Seed MindSpore first (`adl.device.start`).

    world: the ranks over whose images batch norm goes.
    """
    return AutoDeepLab(architecture, world)
