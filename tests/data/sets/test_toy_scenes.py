"""toy-scenes: reproducible, disjoint, and labelled as it is drawn."""

import pickle

import pytest
import torch

from fakd.data.sets.toy_scenes import TOY_SCENES, ToyScenes
from fakd.data.spec import Source

CLASS = {name: index for index, name in enumerate(TOY_SCENES.classes)}


@pytest.fixture(scope="module")
def scenes() -> ToyScenes:
    return ToyScenes("train", count=96)


@pytest.fixture(scope="module")
def labels(scenes: ToyScenes) -> torch.Tensor:
    return torch.stack([scenes[index].label for index in range(len(scenes))])


@pytest.fixture(scope="module")
def images(scenes: ToyScenes) -> torch.Tensor:
    return torch.stack([scenes[index].image for index in range(len(scenes))]).float()


def test_a_scene_depends_on_seed_split_and_index_only(scenes: ToyScenes) -> None:
    again = ToyScenes("train", count=3)
    for index in range(3):
        assert torch.equal(again[index].image, scenes[index].image)
        assert torch.equal(again[index].label, scenes[index].label)
        assert again[index].name == scenes[index].name


def test_splits_and_seeds_share_no_scene() -> None:
    sets = [ToyScenes("train", count=8), ToyScenes("val", count=8), ToyScenes("train", count=8, seed=1)]
    pictures = {source[index].image.numpy().tobytes() for source in sets for index in range(8)}
    assert len(pictures) == 24


def test_shapes_types_and_range(scenes: ToyScenes, labels: torch.Tensor) -> None:
    sample = scenes[0]
    assert sample.image.shape == (3, 128, 192)
    assert sample.label.shape == (128, 192)
    assert sample.image.dtype == sample.label.dtype == torch.uint8
    assert sample.name == "train/0000"
    assert set(labels.unique().tolist()) == {*range(TOY_SCENES.num_classes), 255}


def test_other_sizes() -> None:
    sample = ToyScenes("val", count=1, size=(64, 128))[0]
    assert sample.image.shape == (3, 64, 128)
    assert sample.label.shape == (64, 128)


def test_every_class_is_there_with_a_long_tail(labels: torch.Tensor) -> None:
    shares = torch.bincount(labels.flatten().long(), minlength=256) / labels.numel()
    rarest, *_, most = shares[: TOY_SCENES.num_classes].sort().values.tolist()
    assert 0.001 < rarest < 0.008
    assert most > 40 * rarest
    assert 0 < shares[255] < 0.05


def test_sky_is_above_and_road_is_below(labels: torch.Tensor) -> None:
    # The horizon lies between 0.34 and 0.52 of the height.
    assert not (labels[:, 69:] == CLASS["sky"]).any()
    assert not (labels[:, :43] == CLASS["road"]).any()


def test_the_picture_shows_what_the_label_says(images: torch.Tensor, labels: torch.Tensor) -> None:
    def mean_colour(name: str) -> list[float]:
        colour: list[float] = images.permute(0, 2, 3, 1)[labels == CLASS[name]].mean(0).tolist()
        return colour

    assert sum(mean_colour("sky")) > sum(mean_colour("road")) + 60
    for name in ("tree", "grass"):
        red, green, blue = mean_colour(name)
        assert green > max(red, blue)


def test_colour_does_not_give_the_class_away(images: torch.Tensor, labels: torch.Tensor) -> None:
    """Painted things come in all colours: their spread exceeds the distance between the class means."""
    pixels = images.permute(0, 2, 3, 1)
    painted = [pixels[labels == CLASS[name]] for name in ("building", "car", "pedestrian", "bicyclist")]
    means = torch.stack([group.mean(0) for group in painted])
    spread = min(group.std(0).mean().item() for group in painted)
    assert spread > (means - means.mean(0)).abs().max()


def test_a_sample_can_be_changed_without_harm(scenes: ToyScenes) -> None:
    before = scenes[1].image
    scenes[1].image.zero_()
    assert torch.equal(scenes[1].image, before)


def test_survives_the_way_to_a_dataloader_worker(scenes: ToyScenes) -> None:
    small = ToyScenes("val", count=2)
    assert torch.equal(pickle.loads(pickle.dumps(small))[1].label, small[1].label)


def test_spec() -> None:
    assert len(set(TOY_SCENES.classes)) == len(set(TOY_SCENES.palette)) == TOY_SCENES.num_classes == 12
    assert not TOY_SCENES.needs_root
    assert all(crop <= base for crop, base in zip(TOY_SCENES.crop_size, TOY_SCENES.base_size, strict=True))


def test_opens_without_a_root() -> None:
    source: Source = TOY_SCENES.open(None, "val")
    source.check()
    assert len(source) == 64


@pytest.mark.parametrize(
    "arguments", [{"split": "test"}, {"split": "val", "count": 0}, {"split": "val", "size": (16, 16)}]
)
def test_wrong_arguments_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="toy-scenes"):
        ToyScenes(**arguments)  # type: ignore[arg-type]
