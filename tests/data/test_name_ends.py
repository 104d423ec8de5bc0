import pytest

from fakd.data import DataError
from fakd.data.pairing import find_ends


@pytest.mark.parametrize(
    ("image_end", "mask_end"),
    [("", ""), ("", "_mask"), ("_photo", "_gt"), ("_photo", "_png"), ("_leftImg8bit", "_gtFine_labelIds"), ("-im", "")],
)
def test_endings(image_end: str, mask_end: str) -> None:
    names = [f"{folder}/{stem}{number}" for folder in ("day", "night") for stem in ("", "im_") for number in range(12)]
    images = [name + image_end for name in names[1:]]  # one has no partner on either side
    masks = [name + mask_end for name in names[:-1]]
    assert find_ends(images, masks, "") == (image_end, mask_end)


def test_one_pair() -> None:
    assert find_ends(["x_photo"], ["x_gt"], "") == ("_photo", "_gt")


@pytest.mark.parametrize(
    ("images", "masks"), [(["0001"], ["0002"]), (["a_1"], ["a_2"]), (["photo"], ["label"]), (["_im"], ["_gt"])]
)
def test_strangers_are_not_paired(images: list[str], masks: list[str]) -> None:
    with pytest.raises(DataError, match=f"no rule pairs .* named as {images[0]}, masks as {masks[0]}. Say so."):
        find_ends(images, masks, "Say so.")


def test_two_kinds_of_masks_are_unclear() -> None:
    masks = [f"{name}_{kind}" for name in "ab" for kind in ("gt", "color")]
    with pytest.raises(DataError, match="unclear") as info:
        find_ends(["a", "b"], masks, "")
    assert '"" with "_gt"' in str(info.value)
    assert '"" with "_color"' in str(info.value)
