import pytest
import torch
from torch.testing import assert_close

from fakd.functional.kernels import rows as module
from fakd.functional.kernels.rows import TileReader, feature_rows, feature_tiles

LAYOUTS = {
    "contiguous": lambda features: features.contiguous(),
    "channels-last": lambda features: features.contiguous(memory_format=torch.channels_last),
    "crop": lambda features: torch.nn.functional.pad(features, (1, 2, 3, 0))[:, :, 3:, 1:-2],
    "every second channel": lambda features: features.repeat_interleave(2, 1)[:, ::2],
    "expanded": lambda features: features[:1].expand(features.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("numbers", [2**20, 32 * 7], ids=["one block", "blocks"])
def test_tiles_make_up_the_rows(layout, dtype, numbers, monkeypatch):
    monkeypatch.setattr(module, "_ON_CPU", numbers)
    monkeypatch.setattr(module, "_STRIP", 5)
    features = LAYOUTS[layout](torch.randn(2, 70, 3, 4).to(dtype))
    before, found = features.clone(), torch.full((24, 70), torch.nan, dtype=torch.float64)
    reader = TileReader(features, next(feature_tiles(features))[0])
    for tiles in feature_tiles(features):
        assert len({(pixels.start, pixels.stop) for pixels, _ in tiles}) == 1
        for pixels, channels in tiles:
            tile = reader.read(pixels, channels)
            assert tile.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            found[pixels, channels] = tile.double()
            tile.zero_()  # the reader's own memory
    assert_close(found, torch.stack([image[:, y, x] for image in before for y in range(3) for x in range(4)]).double())
    assert_close(features, before, rtol=0, atol=0)


def test_rows_of_channels_last_features_are_a_view():
    features = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    assert feature_rows(features).data_ptr() == features.data_ptr()
