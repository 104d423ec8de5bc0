"""A made-up source for tests; not in conftest.py, as every folder has one of that name."""

import torch

from fakd.data.spec import Sample


class ColourSource:
    """Images whose red channel is the label times 20, so that any misalignment of the mask shows."""

    def __init__(self, count: int = 5, size: tuple[int, int] = (48, 64)) -> None:
        self.count = count
        self.size = size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        height, width = self.size
        blocks = torch.randint(0, 6, (3, 4), generator=torch.Generator().manual_seed(index))
        label = blocks.repeat_interleave(height // 3, 0).repeat_interleave(width // 4, 1).to(torch.uint8)
        rest = torch.full_like(label, 7)
        return Sample(torch.stack([label * 20, rest, rest]), label, f"made/{index}")

    def check(self) -> None:
        pass
