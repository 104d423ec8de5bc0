import pytest
import torch
from colour_source import ColourSource
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from fakd.data.cropping import WHOLE_IMAGE, Geometry
from fakd.data.spec import Sample
from fakd.data.transforms import EvalTransform, TrainTransform, fitted_size
from fakd.types import UNLABELLED

FILL = torch.tensor([124, 116, 104], dtype=torch.uint8)


@pytest.mark.parametrize("scale", [(0.5, 0.5), (1.0, 1.0), (1.37, 1.37), (2.0, 2.0)])
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_mask_stays_on_the_image(scale: tuple[float, float], flip: float) -> None:
    transform = TrainTransform((48, 64), (40, 40), scale=scale, flip=flip, max_class_share=1)
    torch.manual_seed(0)
    for index in range(10):
        sample = transform(ColourSource()[index])
        assert sample.image.shape == (3, 40, 40)
        assert sample.label.shape == (40, 40)
        labelled = sample.label != 255
        # Bilinear colours mix within a pixel or two of a border between blocks, and nowhere else.
        inner = labelled & ~_near_border(sample.label)
        assert inner.any()
        assert torch.equal(sample.image[0][inner], sample.label[inner] * 20)
        # Where the mask is off by half a pixel, the mixed colours lean to one side.
        lean = sample.image[0][labelled].float() - sample.label[labelled].float() * 20
        assert lean.mean().abs() < 1.0


def test_nearest_mask_is_centred_like_the_bilinear_image() -> None:
    ramp = torch.arange(240, dtype=torch.uint8).expand(240, -1)
    sample = Sample(ramp.expand(3, -1, -1), ramp, "ramp")
    transform = TrainTransform((240, 240), (120, 120), scale=(0.5, 0.5), flip=0, max_class_share=1)
    halved = transform(sample)
    assert (halved.image[0].int() - halved.label.int()).abs().max() <= 1
    upscaled = TrainTransform((240, 240), (480, 480), scale=(2.0, 2.0), flip=0, max_class_share=1)(sample)
    assert (upscaled.image[0].float() - upscaled.label.float()).mean().abs() < 0.05


@pytest.mark.parametrize("size", [(90, 140), (141, 83)])
def test_result_is_that_of_resizing_everything(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=generator)
    label = torch.randint(0, 9, size, dtype=torch.uint8, generator=generator)
    transform = TrainTransform((90, 140), (70, 80))
    torch.manual_seed(0)
    for _ in range(30):
        sample = transform(Sample(image, label, ""))
        top, left, height, width, flipped = sample.geometry.tolist()
        resized = [round(70 / height), round(80 / width)]
        place = [round(top * resized[0]), round(left * resized[1])]
        whole = F.resize_image(image, resized, antialias=True)
        whole_label = F.resize_image(label[None], resized, interpolation=v2.InterpolationMode.NEAREST_EXACT)
        # Where the window reaches beyond, F.crop pads with 0.
        due = F.crop_image(whole, *place, 70, 80).flip([-1] if flipped else [])
        due_label = F.crop_image(whole_label.int() + 1, *place, 70, 80).flip([-1] if flipped else [])[0] - 1
        inside = due_label >= 0
        assert torch.equal(inside, sample.label != 255)
        assert torch.equal(due_label[inside], sample.label[inside].int())
        assert (due - sample.image.int())[:, inside].abs().max() <= 1
        assert torch.equal(sample.image[:, ~inside], FILL[:, None].expand(-1, int((~inside).sum())))


@pytest.mark.parametrize("size", [(40, 60), (75, 40)])
@pytest.mark.parametrize("max_class_share", [1.0, 0.75])
def test_distribution_is_that_of_resizing_everything(size: tuple[int, int], max_class_share: float) -> None:
    label = torch.zeros(size, dtype=torch.uint8)
    label[:, size[1] // 2 :] = torch.arange(size[1] - size[1] // 2, dtype=torch.uint8)  # the left half is one class
    sample = Sample(torch.zeros(3, *size, dtype=torch.uint8), label, "half")
    transform = TrainTransform((40, 60), (36, 30), max_class_share=max_class_share)
    draws = 500
    torch.manual_seed(0)
    ours = torch.stack([transform(sample).geometry for _ in range(draws)])
    naive = torch.stack([_naive_geometry(label, (40, 60), (36, 30), max_class_share) for _ in range(draws)])
    for name, one, other in zip(Geometry._fields, ours.T, naive.T, strict=True):
        # Kolmogorov and Smirnov: beyond this distance in one of 1,000 pairs of samples of one distribution.
        assert _farthest(one, other) < 1.95 * (2 / draws) ** 0.5, name
    assert _farthest(ours[:, 3], 1.1 * ours[:, 3]) > 0.05  # it would notice other scales
    assert (ours[:, 0] < 0).any()  # padded on both sides
    assert (ours[:, 0] + ours[:, 2] > 1).any()
    assert ((ours[:, 0] > 0) & (ours[:, 0] + ours[:, 2] < 1)).any()  # and not padded


def test_geometry_by_hand() -> None:
    source = Sample(torch.zeros(3, 10, 20, dtype=torch.uint8), torch.zeros(10, 20, dtype=torch.uint8), "")
    assert Geometry(*EvalTransform((5, 10))(source).geometry.tolist()) == Geometry(*WHOLE_IMAGE) == (0, 0, 1, 1, 0)
    padded = TrainTransform((10, 20), (30, 40), (1, 1), flip=1, max_class_share=1)(source)
    geometry = Geometry(*padded.geometry.tolist())
    assert (geometry.height, geometry.width, geometry.flipped) == (3, 2, 1)
    labelled = (padded.label != 255).nonzero()
    assert round(-geometry.top * 10) == labelled[0][0]
    # Flipped: what lies left of the image shows on the right.
    assert round(-geometry.left * 20) == 40 - (labelled[0][1] + 20)


def test_padding_is_ignored_and_mean_coloured() -> None:
    sample = TrainTransform((24, 32), (64, 64), scale=(1, 1), max_class_share=1)(ColourSource()[0])
    padding = sample.label == 255
    assert int((~padding).sum()) == 24 * 32  # the image lies whole within the crop
    assert torch.equal(sample.image[:, padding], FILL[:, None].expand(-1, int(padding.sum())))


def test_result_is_plain_uint8() -> None:
    sample = TrainTransform((48, 64), (32, 48), photometric=True)(ColourSource()[0])
    assert type(sample.image) is type(sample.label) is torch.Tensor
    assert sample.image.dtype == sample.label.dtype == torch.uint8
    assert sample.image.shape == (3, 32, 48)
    assert sample.name == "made/0"


def test_flip_mirrors_both() -> None:
    source = ColourSource()[0]
    kept = TrainTransform((48, 64), (48, 64), scale=(1, 1), flip=0, max_class_share=1)(source)
    turned = TrainTransform((48, 64), (48, 64), scale=(1, 1), flip=1, max_class_share=1)(source)
    assert torch.equal(kept.image, source.image)
    assert torch.equal(kept.label, source.label)
    assert torch.equal(turned.image, source.image.flip(-1))
    assert torch.equal(turned.label, source.label.flip(-1))


def test_photometric_changes_colours_only() -> None:
    source = ColourSource()[0]
    transform = TrainTransform((48, 64), (48, 64), scale=(1, 1), flip=0, photometric=True, max_class_share=1)
    torch.manual_seed(0)
    samples = [transform(source) for _ in range(8)]
    assert all(torch.equal(sample.label, source.label) for sample in samples)
    assert any(not torch.equal(sample.image, source.image) for sample in samples)


def test_crop_is_drawn_again_while_one_class_fills_it() -> None:
    label = torch.zeros(40, 400, dtype=torch.uint8)
    label[:, 200:] = torch.arange(40, dtype=torch.uint8)[:, None]
    sample = Sample(torch.zeros(3, 40, 400, dtype=torch.uint8), label, "half")

    def share_of_mixed(max_class_share: float) -> float:
        torch.manual_seed(0)
        transform = TrainTransform((40, 400), (40, 40), (1, 1), max_class_share=max_class_share)
        counts = [transform(sample).label.flatten().bincount().max().item() for _ in range(60)]
        return sum(count <= 0.75 * 1600 for count in counts) / len(counts)

    assert share_of_mixed(1.0) < 0.75
    assert share_of_mixed(0.75) > 0.95


def test_image_of_one_class_or_none_still_gives_a_crop() -> None:
    for value in (3, 255):
        label = torch.full((20, 20), value, dtype=torch.uint8)
        sample = TrainTransform((20, 20), (10, 10))(Sample(torch.zeros(3, 20, 20, dtype=torch.uint8), label, ""))
        assert sample.label.shape == (10, 10)


def test_an_image_that_nobody_labelled_is_cropped_at_once() -> None:
    """With draws for size, flip, and one place."""
    sample = ColourSource()[0]
    sample = sample._replace(label=torch.full_like(sample.label, UNLABELLED))
    crop = TrainTransform((48, 64), (32, 32))(sample)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    TrainTransform((48, 64), (32, 32), max_class_share=1)(sample)
    assert torch.equal(torch.get_rng_state(), state)
    assert crop.label.unique().tolist()[0] == UNLABELLED


def test_fitted_size() -> None:
    assert fitted_size((360, 480), (180, 240)) == (180, 240)
    assert fitted_size((500, 500), (512, 2048)) == (512, 512)
    assert fitted_size((600, 400), (512, 2048)) == (768, 512)  # upright: the short side bounds the short side
    assert fitted_size((1, 1000), (10, 10)) == (1, 10)


def test_evaluation_resizes_the_image_alone() -> None:
    source = ColourSource()[0]
    result = EvalTransform((24, 32))(source)
    assert result.image.shape == (3, 24, 32)
    assert result.image.dtype == torch.uint8
    assert result.label is source.label
    assert EvalTransform((48, 64))(source).image is source.image


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"crop_size": (0, 4)}, "crop_size is"),
        ({"base_size": (4,)}, "base_size is"),
        ({"scale": (2.0, 0.5)}, "lowest <= highest"),
        ({"flip": 1.5}, "probability"),
        ({"max_class_share": 0.0}, "max_class_share is 0.0"),
    ],
)
def test_arguments_are_checked(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainTransform(**({"base_size": (8, 8), "crop_size": (8, 8)} | arguments))


def _near_border(label: torch.Tensor, reach: int = 2) -> torch.Tensor:
    values = label.float()[None, None]
    largest = torch.nn.functional.max_pool2d(values, 2 * reach + 1, 1, reach)
    smallest = -torch.nn.functional.max_pool2d(-values, 2 * reach + 1, 1, reach)
    near = (largest != smallest)[0, 0]
    near[:reach] = near[-reach:] = near[:, :reach] = near[:, -reach:] = True  # a border may lie just outside
    return near


def _naive_geometry(label: Tensor, base_size: tuple[int, int], crop: tuple[int, int], max_class_share: float) -> Tensor:
    """Where torchvision's transforms cut after the whole mask was resized."""
    resized = fitted_size((label.shape[0], label.shape[1]), base_size, 0.5 + 1.5 * torch.rand(()).item())
    whole = F.resize_image(label[None], list(resized), interpolation=v2.InterpolationMode.NEAREST_EXACT)
    cropping = v2.RandomCrop(crop, pad_if_needed=True, fill=255)
    for _ in range(10):
        params = cropping.make_params([whole])
        labels, counts = cropping.transform(whole, params).unique(return_counts=True)
        counts = counts[labels != 255]
        if max_class_share == 1 or counts.max() <= max_class_share * counts.sum():
            break
    (height, width), (left, top, _, _) = resized, params["padding"]
    flipped = float(torch.rand(()) < 0.5)
    place = ((params["top"] - top) / height, (params["left"] - left) / width)
    return torch.tensor([*place, crop[0] / height, crop[1] / width, flipped])


def _farthest(one: Tensor, other: Tensor) -> float:
    """The largest distance between the shares of two samples that lie below a number."""
    at = torch.cat([one, other])
    shares = [(values[:, None] <= at).float().mean(0) for values in (one, other)]
    return float((shares[0] - shares[1]).abs().max())


def test_photometric_changes_leave_the_filling_alone() -> None:
    transform = TrainTransform((16, 16), (48, 48), scale=(1, 1), photometric=True)
    sample = Sample(torch.full((3, 16, 16), 200, dtype=torch.uint8), torch.zeros(16, 16, dtype=torch.uint8), "x")
    changed = set()
    for seed in range(20):
        torch.manual_seed(seed)
        crop = transform(sample)
        filled = crop.label == 255
        assert int(filled.sum()) == 48 * 48 - 16 * 16
        assert crop.image[:, filled].unique(dim=1).flatten().tolist() == [124, 116, 104]
        changed |= set(crop.image[:, ~filled].unique().tolist())
    assert len(changed) > 5
