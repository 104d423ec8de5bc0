"""What CIRKD remembers of earlier images: for each class a queue of the teacher's pixels, and one of its regions."""

from abc import ABC, abstractmethod

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from fakd.functional.cirkd import unit_vectors
from fakd.functional.inputs import check_labels, no_autocast, pixel_classes
from fakd.machine import processes


class ClassQueues(nn.Module, ABC):
    """For each class a ring that holds its latest unit-length vectors.

    Under `torch.distributed` every `update` gathers the vectors of all ranks and writes them in the order of the ranks,
    so that all hold the same queues; it must then be called on every rank, with the same number of images.

    Args:
        num_classes: C.
        num_channels: A, the teacher's.
        size: K, the most vectors a class remembers; the oldest make room for new ones.
        dtype: of the vectors. float16 halves the memory and rounds a cosine by less than 1e-3.

    Attributes:
        vectors: (C, K, A); slots from `filled` on hold nothing.
        pointer: (C,) int64, the slot that each class writes next.
        filled: (C,) int64, how many slots hold a vector.

    All of it is in the state_dict: C * K * A numbers.
    """

    vectors: Tensor
    pointer: Tensor
    filled: Tensor

    def __init__(self, num_classes: int, num_channels: int, size: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.num_classes, self.num_channels, self.size = num_classes, num_channels, size
        self.register_buffer("vectors", torch.zeros(num_classes, size, num_channels, dtype=dtype))
        self.register_buffer("pointer", torch.zeros(num_classes, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(num_classes, dtype=torch.int64))

    @abstractmethod
    def select(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """What to remember of a batch.

        Args:
            vectors: (B, M, A) of unit length.
            labels: (B, M) integers, C where a pixel is of no class.

        Returns:
            (B, C, V, A) vectors and (B, C, V) bool, which of them exist.
        """

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Take in a batch.

        Args:
            features: (B, A, h, w) of the teacher; detached and brought to length 1.
            labels: (B, h, w) integers 0..C-1, 255 = ignore.

        Raises:
            ValueError: a shape or, on the CPU, a label value is not as above.
        """
        if features.ndim != 4 or features.shape[1] != self.num_channels:
            raise ValueError(
                f"features must be (B, A, h, w) with A = {self.num_channels}, got {tuple(features.shape)}."
            )
        check_labels(labels, features, self.num_classes)
        with no_autocast(features):
            chosen, exist = self.select(unit_vectors(features), pixel_classes(labels.flatten(1), self.num_classes))
        chosen, exist = chosen.transpose(0, 1).flatten(1, 2), exist.transpose(0, 1).flatten(1, 2)
        self._write(*_gather_ranks(chosen.to(self.vectors.dtype), exist))

    def _write(self, vectors: Tensor, exist: Tensor) -> None:
        """Append to each class's ring, in order, those of its vectors (C, E, A) that exist (C, E).

        Every class writes the same number of slots, those without a vector what they held: nothing waits for a count.
        """
        count = exist.sum(1)
        oldest = (count - self.size).clamp_min(0)  # of more new vectors than slots only the last remain
        kept = exist & (exist.cumsum(1) > oldest.unsqueeze(1))
        first = kept.logical_not().to(torch.uint8).argsort(dim=1, stable=True)[:, : self.size]
        rows = torch.arange(self.num_classes, device=exist.device).unsqueeze(1)
        slots = self.pointer.unsqueeze(1) + oldest.unsqueeze(1) + torch.arange(first.shape[1], device=exist.device)
        slots %= self.size
        new = torch.where(kept[rows, first].unsqueeze(2), vectors[rows, first], self.vectors[rows, slots])
        self.vectors[rows, slots] = new
        self.pointer.copy_((self.pointer + count) % self.size)
        self.filled.copy_((self.filled + count).clamp_max(self.size))

    @torch.no_grad()
    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw the same number of vectors from every class, at random and none twice.

        Args:
            count: how many in all; each class gives its equal share, rounded up, as far as it has that many.

        Returns:
            (N, A) vectors in float32 at least, and (N,) bool, which of them exist.
        """
        share = min(-(-count // self.num_classes), self.size)
        slots = torch.arange(self.size, device=self.filled.device)
        keys = torch.rand(self.num_classes, self.size, device=self.filled.device)
        keys = keys.masked_fill_(slots >= self.filled.unsqueeze(1), -1.0)
        drawn = keys.topk(share, dim=1).indices
        rows = torch.arange(self.num_classes, device=drawn.device).unsqueeze(1)
        vectors = self.vectors[rows, drawn].flatten(0, 1)
        exist = (drawn < self.filled.unsqueeze(1)).flatten()
        return vectors if vectors.dtype == torch.float64 else vectors.float(), exist

    def extra_repr(self) -> str:
        """The arguments, as `repr` shows them."""
        return f"{self.num_classes}, {self.num_channels}, {self.size}, dtype={self.vectors.dtype}"


class PixelQueues(ClassQueues):
    """Remembers some pixels of every class in every image, drawn at random.

    Args:
        num_classes: C.
        num_channels: A.
        size: the most pixels a class remembers.
        per_image: V, how many pixels of a class are taken from an image; all it has where they are fewer.
        authors_queue: draw as the published code does: where n pixels of an image are of a class, it permutes the
            numbers below n and takes the pixels of the image at the first V of them, whatever their class, instead of
            the class's pixels at these ranks. Every queue then holds pixels of the images' upper rows.
        dtype: of the vectors.

    Example:
        >>> import torch
        >>> from fakd.methods.memory_bank import PixelQueues
        >>> queues = PixelQueues(num_classes=2, num_channels=1, size=3)
        >>> queues.update(torch.tensor([2.0, -3.0]).view(1, 1, 1, 2), torch.tensor([[[0, 255]]]))
        >>> queues.filled.tolist(), queues.vectors[0].flatten().tolist()
        ([1, 0], [1.0, 0.0, 0.0])
    """

    def __init__(
        self,
        num_classes: int,
        num_channels: int,
        size: int,
        *,
        per_image: int = 16,
        authors_queue: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(num_classes, num_channels, size, dtype=dtype)
        self.per_image, self.authors_queue = per_image, authors_queue

    def select(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """V pixels of every class in every image."""
        images, positions = labels.shape
        rank = torch.arange(min(self.per_image, positions), device=labels.device)
        sizes = _class_sizes(labels, self.num_classes)
        if self.authors_queue:
            keys = torch.rand(images, self.num_classes, positions, device=labels.device)
            beyond = torch.arange(positions, device=labels.device) >= sizes.unsqueeze(2)
            pixels = keys.masked_fill_(beyond, -1.0).topk(len(rank), dim=2).indices
        else:
            # shuffled, then grouped by class: a class's pixels follow each other from where the lower classes end
            shuffled = torch.rand(labels.shape, device=labels.device).argsort(1)
            grouped = shuffled.gather(1, labels.gather(1, shuffled).argsort(dim=1, stable=True))
            start = sizes.cumsum(1) - sizes
            pixels = grouped[:, None].expand(-1, self.num_classes, -1)
            pixels = pixels.gather(2, (start.unsqueeze(2) + rank).clamp_max(positions - 1))
        image = torch.arange(images, device=labels.device).view(-1, 1, 1)
        return vectors[image, pixels], rank < sizes.unsqueeze(2)


class RegionQueues(ClassQueues):
    """Remembers the mean of every class's unit-length pixels in every image, brought to length 1 again."""

    def select(self, vectors: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """One region for every class in every image."""
        images, _, channels = vectors.shape
        groups = self.num_classes + 1  # one more, of the pixels of no class
        rows = (labels + groups * torch.arange(images, device=labels.device).unsqueeze(1)).flatten()
        sums = vectors.new_zeros(images * groups, channels).index_add_(0, rows, vectors.flatten(0, 1))
        regions = F.normalize(sums.view(images, groups, 1, channels)[:, :-1], dim=3)  # the mean points the same way
        return regions, _class_sizes(labels, self.num_classes).unsqueeze(2) > 0


def _class_sizes(labels: Tensor, num_classes: int) -> Tensor:
    """(B, M) labels up to C -> (B, C) pixels of each class."""
    sizes = labels.new_zeros(labels.shape[0], num_classes + 1)
    return sizes.scatter_add_(1, labels, torch.ones_like(labels))[:, :-1]


def _gather_ranks(vectors: Tensor, exist: Tensor) -> tuple[Tensor, Tensor]:
    """All ranks' vectors (C, E, A) and which of them exist (C, E), side by side in the order of the ranks."""
    if processes() == 1:
        return vectors, exist

    def gather(values: Tensor) -> Tensor:
        parts = [torch.empty_like(values) for _ in range(processes())]
        dist.all_gather(parts, values)
        return torch.cat(parts, 1)

    return gather(vectors.contiguous()), gather(exist.to(torch.uint8).contiguous()).bool()
