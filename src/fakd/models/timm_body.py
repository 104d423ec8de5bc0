"""How timm is asked for the maps of an encoder, found out without memory for its weights."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import timm
from timm.models._features import FeatureGetterNet

from fakd.models.any_size import Sides, find_sides, let_hiera_read_any_size
from fakd.models.backbones import SUGGESTED, Layout, layout_of
from fakd.models.meta import on_meta

_REFUSALS = (TypeError, ValueError, NotImplementedError, RuntimeError, AssertionError, AttributeError)
"""Each of timm's families refuses what it cannot do by another of these."""


class NormalisedMaps(FeatureGetterNet):
    """The maps of a transformer after its last normalisation, as it is published to be read."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **{**settings, "norm": True})


class Plan(NamedTuple):
    """How timm is asked for an encoder, and how that reads images."""

    settings: Mapping[str, Any]
    """Arguments of `timm.create_model`, beyond those of the layout."""
    sides: Sides

    def build(self, layout: Layout) -> Any:
        """Build timm's feature extractor with random weights."""
        return _build(layout, self.settings)


@cache
def plan_body(backbone: str, output_stride: int, or_natural: bool, last_blocks: bool, in_channels: int = 3) -> Plan:
    """Find out how timm gives the maps of an encoder.

    Args:
        backbone: a key of `BACKBONES` or a timm name.
        output_stride: image pixels per cell of the last map.
        or_natural: whether the network's own stride will do where it cannot be had at that one.
        last_blocks: whether a network whose maps all have one stride gives those of its last four blocks; else of four
            that are evenly spread over its depth.

    Raises:
        ValueError: the name is unknown, the network has no maps, none at that stride, or takes images of one size.
    """
    layout = layout_of(backbone)
    with on_meta():
        reason, natural = "", ()
        images = {} if in_channels == 3 else {"in_chans": in_channels}
        for way in _ways(layout, output_stride, last_blocks):
            settings = {**way, **images}
            try:
                body = _build(layout, settings).eval()
                strides = tuple(body.feature_info.reduction())
                if len(strides) < 2:
                    raise ValueError(f"it has maps at strides {strides} alone")
                if strides[-1] != output_stride and (not or_natural or "output_stride" in settings):
                    natural = natural or strides
                    continue
                return Plan(settings, find_sides(body, in_channels))
            except _REFUSALS as error:
                reason = " ".join(str(error).split()) or type(error).__name__
    if natural:
        raise ValueError(
            f"backbone {backbone!r} cannot give feature maps at output_stride {output_stride}: its strides are "
            f"{', '.join(map(str, natural))}, and it cannot trade them for dilation as {SUGGESTED} can. Leave "
            "output_stride out."
        )
    raise ValueError(
        f"backbone {backbone!r} gives no feature maps of images of any size ({reason}); some that do: {SUGGESTED}, "
        "vit_small_patch14_dinov2, swin_tiny_patch4_window7_224"
    )


def _ways(layout: Layout, output_stride: int, last_blocks: bool) -> Iterator[dict[str, Any]]:
    """What timm may be asked for, the best first: dilation, then the network's own strides at any image size."""
    yield {"output_stride": output_stride}
    for size in ({"dynamic_img_size": True}, {}):
        try:
            body = _build(layout, size)
        except _REFUSALS:
            continue
        if len(set(body.feature_info.reduction())) == 1:
            depth = len(body.feature_info.info)
            ends = range(depth - 4, depth) if last_blocks else (depth * part // 4 - 1 for part in range(1, 5))
            blocks = {"out_indices": tuple(sorted({block for block in ends if block >= 0}))}
            if hasattr(getattr(body, "model", None), "norm"):
                yield {**size, **blocks, "feature_cls": NormalisedMaps}
            yield {**size, **blocks}
        yield dict(size)


def _build(layout: Layout, settings: Mapping[str, Any]) -> Any:
    body = timm.create_model(
        layout.timm_name, features_only=True, **settings, **layout.timm_settings, **layout.feature_settings
    )
    if layout.adapt is not None:
        layout.adapt(body)
    let_hiera_read_any_size(body)
    return body
