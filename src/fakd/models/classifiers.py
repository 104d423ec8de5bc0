"""Which convolution of a network that others built gives the scores."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class JoinedClassifier:
    """Several 1x1 convolutions whose outputs are added, as the one of their inputs side by side that they are.

    It owns nothing: its weight is put together from theirs each time, so gradients reach them.

    Args:
        convolutions: of the same number of outputs, in the order of the features' channels.

    Example:
        >>> low, high = nn.Conv2d(2, 5, 1), nn.Conv2d(3, 5, 1)
        >>> joined = JoinedClassifier((low, high))
        >>> joined.in_channels, joined.out_channels, joined.weight.shape
        (5, 5, torch.Size([5, 5, 1, 1]))
    """

    kernel_size, stride, padding, dilation = (1, 1), (1, 1), (0, 0), (1, 1)

    def __init__(self, convolutions: tuple[nn.Conv2d, ...]) -> None:
        self.convolutions = convolutions
        self.in_channels = sum(convolution.in_channels for convolution in convolutions)
        self.out_channels = convolutions[0].out_channels

    @property
    def weight(self) -> Tensor:
        """(C, A, 1, 1) their weights side by side."""
        return torch.cat([convolution.weight for convolution in self.convolutions], dim=1)


def find_classifiers(
    model: nn.Module, num_classes: int | None, classifier: str | nn.Conv2d | Sequence[str] | None
) -> tuple[str, ...]:
    """Return the paths of the classifier within `model`, in the order that was given; usually one.

    Args:
        model: the network.
        num_classes: C; None where `classifier` says it.
        classifier: the convolution, its path or several paths; None to look for it.

    Raises:
        ValueError: it cannot be told, with the list of those that could be meant; or one that is named cannot be it.
    """
    convolutions = {path: m for path, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if classifier is None:
        return (_search(model, convolutions, num_classes),)
    given = [classifier] if isinstance(classifier, str | nn.Conv2d) else list(classifier)
    paths = tuple(_named(model, convolutions, num_classes, one) for one in given)
    outputs = {path: convolutions[path].out_channels for path in paths}
    several = len(paths) > 1
    if several and (len(set(outputs.values())) > 1 or len(outputs) < len(paths)):
        raise ValueError(f"classifiers whose scores are added must be different ones with equal outputs, got {outputs}")
    if several and (larger := [path for path in paths if convolutions[path].kernel_size != (1, 1)]):
        raise ValueError(f"classifiers whose scores are added must be 1x1 convolutions, but {larger} are larger")
    return paths


def _named(
    model: nn.Module, convolutions: dict[str, nn.Conv2d], num_classes: int | None, classifier: str | nn.Conv2d
) -> str:
    named = [path for path, m in convolutions.items() if classifier in (path, m)]
    if not named:
        what = repr(classifier) if isinstance(classifier, str) else "the given convolution"
        raise ValueError(
            f"{what} is not a Conv2d of this {type(model).__name__}; its 1x1 convolutions end with "
            f"{[path for path, m in convolutions.items() if m.kernel_size == (1, 1)][-5:]}"
        )
    found = convolutions[named[0]]
    if not _can_classify(found) or num_classes not in (None, found.out_channels):
        raise ValueError(
            f"the classifier must be an ordinary convolution of stride 1 with {num_classes or 'one output per class'} "
            f"outputs, but {named[0]!r} is {found}"
        )
    return named[0]


def _search(model: nn.Module, convolutions: dict[str, nn.Conv2d], num_classes: int | None) -> str:
    if num_classes is None:
        raise ValueError("give num_classes, or the path of the last convolution as classifier=")
    outputs = {path: m for path, m in convolutions.items() if m.out_channels == num_classes}
    candidates = [path for path, m in outputs.items() if m.kernel_size == (1, 1)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        main = next((path for path in reversed(candidates) if "aux" not in path), candidates[-1])
        raise ValueError(
            f"several 1x1 convolutions have {num_classes} outputs: {candidates}; name the one whose scores are the "
            f"network's answer (not an auxiliary one), e.g. classifier={main!r}, or all of those whose "
            "scores it adds"
        )
    last = next(reversed(convolutions), None)
    if last in outputs and _can_classify(outputs[last]):
        return last
    other = [f"{path} ({m.kernel_size[0]}x{m.kernel_size[1]})" for path, m in outputs.items()]
    raise ValueError(
        f"no 1x1 convolution with {num_classes} outputs in this {type(model).__name__}"
        + (f"; other convolutions with that many: {other}; if one of them gives the scores, name it" if other else "")
    )


def _can_classify(convolution: nn.Conv2d) -> bool:
    """Whether each output is one weighted sum of what the convolution sees around its position."""
    if convolution.kernel_size == (1, 1):
        return convolution.groups == 1
    plain = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    return plain and convolution.groups == 1 and convolution.stride == (1, 1)
