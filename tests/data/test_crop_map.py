import pytest
import torch
from torch import Tensor
from torch.utils.data import default_collate

from fakd.data.cropping import WHOLE_IMAGE, Geometry, crop_map
from fakd.data.spec import Sample
from fakd.data.transforms import EvalTransform, TrainTransform


def _smooth(height: int, width: int) -> Tensor:
    """A picture that antialiasing and interpolation hardly change, other in every direction."""
    down, across = torch.linspace(0, 3, height)[:, None], torch.linspace(0, 4, width)
    waves = [torch.sin(down + across), torch.cos(down - 0.7 * across), torch.sin(1.3 * down) * torch.cos(across)]
    return (127 + 100 * torch.stack(waves)).round().to(torch.uint8)


@pytest.mark.parametrize("size", [(120, 160), (161, 95)])
@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0), (1.7, 1.7), (0.5, 2.0)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_map_of_the_whole_image_follows_the_crop(
    size: tuple[int, int], scale: tuple[float, float], flip: float
) -> None:
    source = Sample(_smooth(*size), torch.zeros(size, dtype=torch.uint8), "waves")
    transform = TrainTransform((120, 160), (90, 100), scale, flip, max_class_share=1)
    torch.manual_seed(0)
    batch = default_collate([transform(source) for _ in range(6)])
    whole = source.image.float().expand(6, -1, -1, -1)
    cut = crop_map(whole, batch.geometry, (90, 100))
    inside = (batch.label != 255)[:, None].expand_as(cut)
    assert inside.any(dim=-1).any(dim=-1).all()
    difference = (cut - batch.image.float()).abs()[inside]
    assert difference.max() < 3
    assert difference.mean() < 0.5


def test_map_may_be_coarser_than_the_image() -> None:
    size = (160, 240)
    source = Sample(_smooth(*size), torch.zeros(size, dtype=torch.uint8), "waves")
    torch.manual_seed(1)
    samples = [TrainTransform(size, (120, 120), (0.8, 1.5), max_class_share=1)(source) for _ in range(6)]
    batch = default_collate(samples)
    coarse = torch.nn.functional.avg_pool2d(source.image.float()[None], 4).expand(6, -1, -1, -1)  # as logits, stride 4
    due = torch.nn.functional.avg_pool2d(batch.image.float(), 4)
    assert (crop_map(coarse, batch.geometry, (30, 30)) - due).abs().mean() < 1.5


def test_fields_by_hand() -> None:
    source = Sample(torch.zeros(3, 10, 20, dtype=torch.uint8), torch.zeros(10, 20, dtype=torch.uint8), "")
    padded = TrainTransform((10, 20), (30, 40), (1, 1), flip=1, max_class_share=1)(source)
    geometry = Geometry(*padded.geometry.tolist())
    assert (geometry.height, geometry.width, geometry.flipped) == (3, 2, 1)
    labelled = (padded.label != 255).nonzero()
    assert round(-geometry.top * 10) == labelled[0][0]
    # Flipped: what lies left of the image shows on the right.
    assert round(-geometry.left * 20) == 40 - (labelled[0][1] + 20)


def test_samples_show_their_whole_image_unless_cropped() -> None:
    source = Sample(_smooth(30, 40), torch.zeros(30, 40, dtype=torch.uint8), "waves")
    assert torch.equal(EvalTransform((15, 20))(source).geometry, WHOLE_IMAGE)
    assert Geometry(*WHOLE_IMAGE.tolist()) == (0, 0, 1, 1, 0)
    whole = torch.rand(1, 2, 30, 40)
    assert torch.allclose(crop_map(whole, WHOLE_IMAGE[None], (30, 40)), whole, atol=1e-5)


def test_batches_give_their_fields_by_name() -> None:
    geometry = Geometry(*torch.tensor([[0.1, 0.2, 0.5, 0.25, 0], [0.3, 0.4, 0.5, 0.25, 1]]).unbind(-1))
    assert torch.equal(torch.as_tensor(geometry.flipped), torch.tensor([0.0, 1.0]))


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match=r"expected \(N, C, h, w\) and \(N, 5\)"):
        crop_map(torch.rand(2, 3, 4, 4), WHOLE_IMAGE[None], (4, 4))
