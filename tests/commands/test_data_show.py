"""Contact sheets: what is drawn is compared with the samples themselves, and the file is opened."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from fakd.commands import data_show as module
from fakd.commands.data_show import ShowConfig, draw_sheet, show
from fakd.data import DATASETS, DataError
from fakd.data.batches import SegmentationDataset
from fakd.data.palette import overlay
from fakd.data.spec import DatasetSpec, Sample
from fakd.data.transforms import TrainTransform

pytestmark = pytest.mark.usefixtures("few_scenes")


@pytest.fixture
def sheet(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """Every figure that is drawn from now on."""
    drawn: list[Figure] = []

    def keep(*arguments: object) -> Figure:
        drawn.append(draw_sheet(*arguments))  # type: ignore[arg-type]
        return drawn[-1]

    monkeypatch.setattr(module, "draw_sheet", keep)
    return drawn


def pictures(figure: Figure) -> list[np.ndarray]:
    return [np.asarray(axes.images[0].get_array()) for axes in figure.axes if axes.images]


def captions(figure: Figure) -> list[str]:
    return [axes.get_xlabel() for axes in figure.axes if axes.images]


def legend(figure: Figure) -> dict[str, tuple[int, ...]]:
    (found,) = figure.legends
    return {
        text.get_text(): tuple(round(255 * part) for part in patch.get_facecolor()[:3])
        for text, patch in zip(found.get_texts(), found.get_patches(), strict=True)
    }


def test_the_sheet_shows_images_labels_and_training_crops(tmp_path: Path, sheet: list[Figure]) -> None:
    output = tmp_path / "new" / "sheet.png"
    assert show(ShowConfig("toy-scenes", count=3, output=output, seed=5, scale=(0.7, 0.7))) == output
    with Image.open(output) as picture:
        assert picture.format == "PNG"
        assert len(np.unique(np.asarray(picture.convert("RGB")))) > 100
    assert [path.name for path in output.parent.iterdir()] == ["sheet.png"]

    spec = DATASETS["toy-scenes"]
    source = spec.open(None, "train")
    crops = SegmentationDataset(source, TrainTransform(spec.base_size, spec.crop_size, scale=(0.7, 0.7)), seed=5)
    shown = captions(sheet[0])
    chosen = [int(name.removeprefix("train/")) for name in shown[::3]]
    assert len(set(chosen)) == 3
    for place, index in enumerate(chosen):
        image, labelled, cropped = pictures(sheet[0])[3 * place : 3 * place + 3]
        assert np.array_equal(image, source[index].image.permute(1, 2, 0))
        assert np.array_equal(labelled, overlay(source[index].image, source[index].label, spec.palette))
        assert np.array_equal(cropped, overlay(crops[0, index].image, crops[0, index].label, spec.palette))
        assert shown[3 * place + 1] == "72x48"
        assert shown[3 * place + 2].startswith("32x32, scale 0.7")
    present = {number for index in chosen for number in source[index].label.unique().tolist()} - {255}
    expected = {spec.classes[number]: spec.palette[number] for number in present}
    assert {name: colour for name, colour in legend(sheet[0]).items() if name != "no colour: ignored"} == expected
    assert sheet[0].get_suptitle() == "toy-scenes, train: 3 of 8 images"


def test_the_choice_depends_on_the_seed_alone(tmp_path: Path, sheet: list[Figure]) -> None:
    for seed in (1, 1, 2):
        show(ShowConfig("toy-scenes", count=4, output=tmp_path / "x.png", seed=seed, overwrite=True))
    first, again, other = ([pixels.tobytes() for pixels in pictures(figure)] for figure in sheet)
    assert first == again
    assert first != other


def test_no_more_images_are_shown_than_there_are(tmp_path: Path, sheet: list[Figure]) -> None:
    show(ShowConfig("toy-scenes", split="val", count=100, output=tmp_path / "x.png"))
    assert captions(sheet[0])[::3] == [f"val/{index:04d}" for index in range(8)]


def test_options_reach_the_transform(tmp_path: Path, sheet: list[Figure]) -> None:
    options = {"crop_size": (20, 30), "base_size": (96, 144), "scale": (1.0, 1.0), "opacity": 0.0}
    show(ShowConfig("toy-scenes", count=1, output=tmp_path / "x.png", **options))  # type: ignore[arg-type]
    image, labelled, cropped = pictures(sheet[0])
    assert np.array_equal(image, labelled)
    assert cropped.shape == (20, 30, 3)
    assert captions(sheet[0])[2].startswith("30x20, scale 2.00")


def test_the_frame_is_where_the_crop_comes_from(colour_spec: DatasetSpec) -> None:
    label = torch.zeros(40, 80, dtype=torch.uint8)
    whole = Sample(torch.zeros(3, 40, 80, dtype=torch.uint8), label, "a")
    geometry = torch.tensor([0.25, 0.5, 0.5, 0.25, 1.0])
    crop = Sample(torch.zeros(3, 40, 40, dtype=torch.uint8), label[:, :40], "a", geometry)
    figure = draw_sheet([(whole, crop)], colour_spec)
    for frame in figure.axes[0].patches:
        assert frame.get_bbox().bounds == (39.5, 9.5, 20, 20)
    assert len(figure.axes[0].patches) == 2
    assert captions(figure)[2] == "40x40, scale 2.00, flipped"


def test_ignored_pixels_and_long_names(colour_spec: DatasetSpec) -> None:
    sample = Sample(torch.zeros(3, 4, 5, dtype=torch.uint8), torch.full((4, 5), 255), "train/" + "x" * 50 + "/end")
    figure = draw_sheet([(sample, sample)] * 2, colour_spec)
    assert list(legend(figure)) == ["no colour: ignored"]
    background = Sample(torch.zeros(3, 1, 5, dtype=torch.uint8), torch.tensor([[0, 1, 1, 255, 0]]), "a")
    assert list(legend(draw_sheet([(background, sample)], colour_spec, hide=(0,)))) == ["b", "no colour: a, ignored"]
    assert captions(figure)[0].startswith("...x")
    assert captions(figure)[0].endswith("x/end")


def test_upright_and_very_wide_images_and_many_classes() -> None:
    spec = replace(
        DATASETS["ade20k"],
        open=lambda root, split: None,  # type: ignore[arg-type,return-value]  # never opened
    )
    rng = torch.Generator().manual_seed(0)
    samples = [
        Sample(
            torch.zeros(3, *size, dtype=torch.uint8), torch.randint(0, 150, size, generator=rng).to(torch.uint8), "a"
        )
        for size in [(90, 30), (30, 200), (50, 50)]
    ]
    figure = draw_sheet([(sample, samples[2]) for sample in samples], spec)
    assert len(legend(figure)) == 150
    figure.draw_without_rendering()  # letters are measured at the same resolution as below
    box, width = figure.legends[0].get_window_extent(), figure.bbox.width
    assert 0 <= box.x0 < box.x1 <= width
    assert box.y1 < figure.axes[-1].get_window_extent().y0 + 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count must be from 1 to 100, got 0"),
        ({"count": 101}, "count must be from 1 to 100, got 101"),
        ({"opacity": 1.5}, r"opacity must be between 0 and 1, got 1\.5"),
        ({"output": Path("sheet.jpg")}, r"output must be the name of a PNG file, .*got sheet\.jpg"),
        ({"dataset": "camvid"}, "dataset 'camvid' is read from disk: give its folder, too"),
        ({"dataset": "nothing"}, "no data set 'nothing'"),
        ({"scale": (2.0, 0.5)}, "scale"),
        ({"crop_size": (0, 5)}, "crop_size"),
    ],
)
def test_options_out_of_range(tmp_path: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        show(ShowConfig(**{"dataset": "toy-scenes", "output": tmp_path / "x.png", **options}))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_data_set_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        show(ShowConfig("camvid", tmp_path / "nowhere", output=tmp_path / "x.png"))
