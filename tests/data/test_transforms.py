import pytest
import torch
from colour_source import ColourSource

from fakd.data.spec import Sample
from fakd.data.transforms import EvalTransform, TrainTransform, fitted_size

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
    image, label, _ = transform(sample)
    assert (image[0].int() - label.int()).abs().max() <= 1
    upscaled = TrainTransform((240, 240), (480, 480), scale=(2.0, 2.0), flip=0, max_class_share=1)(sample)
    assert (upscaled.image[0].float() - upscaled.label.float()).mean().abs() < 0.05


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
