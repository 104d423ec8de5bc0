"""Several networks that are asked as one."""

from collections.abc import Sequence

from torch import Tensor, nn

from fakd.functional import mean_log_probability
from fakd.models.network import Scorer
from fakd.types import SegmentationOutput


class Ensemble(Scorer):
    """The mean of several networks' probabilities, at temperature 1 and the finest of their strides.

    It gives scores and no features: those of different networks have no mean.

    Args:
        networks: that score the same classes; each normalises images by itself.
        weights: of each network's probabilities, above 0; the same for all by default.

    Raises:
        ValueError: there is no network, they score different numbers of classes, one gives labels alone, or weights do
            not fit them.
    """

    def __init__(self, networks: Sequence[Scorer], weights: Sequence[float] | None = None) -> None:
        super().__init__()
        counts = [network.num_classes for network in networks]
        if len(set(counts)) != 1:
            raise ValueError(f"an ensemble is of networks with the same classes, got networks of {counts} classes.")
        if any(network.gives_labels for network in networks):
            raise ValueError("a network that gives labels and no scores cannot be one of several: use one with scores.")
        self.weights = tuple(weights or [1.0] * len(networks))
        if len(self.weights) != len(networks) or min(self.weights) <= 0:
            raise ValueError(f"expected a weight above 0 for each of {len(networks)} networks, got {self.weights}.")
        self.networks = nn.ModuleList(networks)
        self.register_buffer("mean", networks[0].mean.clone(), persistent=False)

    @property
    def num_classes(self) -> int:
        """C, which all have."""
        return int(self.networks[0].num_classes)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class: the logarithms (B, C, h, w) of the mean probabilities."""
        logits = [network(images).logits for network in self.networks]
        mean = mean_log_probability(logits, self.weights)
        return SegmentationOutput(mean, mean[:, :0])
