"""What timm's HRNet lacks for segmentation: bilinear fusion, and maps of any size."""

import operator
from functools import reduce

from timm.models.hrnet import HighResolutionModule
from torch import Tensor, nn

from fakd.models.layers import resize


class BilinearFusion(HighResolutionModule):
    """A module of HRNet whose coarse branches are enlarged bilinearly and to the fine branch's actual size.

    timm enlarges by nearest neighbour and a power of two, as the classifier was trained, which fits only images
    whose sides are multiples of 32. Where a side is not, the benchmark enlarges by the power of two first and
    then to the size, so that is done here.
    """

    def forward(self, x: list[Tensor]) -> list[Tensor]:
        """Return the fused branches, fine to coarse, from branches of (B, channels, h, w)."""
        x = [branch(map_) for branch, map_ in zip(self.branches, x, strict=True)]
        if self.num_branches == 1:
            return x
        return [
            self.fuse_act(
                reduce(operator.add, (resize(path(source), target) for path, source in zip(paths, x, strict=True)))
            )
            for paths, target in zip(self.fuse_layers, x, strict=True)
        ]


def fuse_bilinearly(body: nn.Module) -> None:
    """Turn every fusion of a timm HRNet into a bilinear one, in place; weights stay as they are."""
    for module in body.modules():
        if isinstance(module, HighResolutionModule):
            # Rebuilding them would be a second copy of timm's construction; only the forward pass differs.
            module.__class__ = BilinearFusion
        elif isinstance(module, nn.Upsample):
            module.mode, module.align_corners = "bilinear", False
