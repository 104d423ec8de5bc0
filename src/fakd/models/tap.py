"""The contract of `fakd.types` for networks that this package did not build."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from fakd.types import SegmentationOutput


class ClassifierTap(nn.Module):
    """Listens to the last 1x1 convolution of any network and returns a `SegmentationOutput`.

    The convolution's output is the logits. Its input is the features, except when that is just what an
    nn.Dropout or nn.Dropout2d module returned: then the features are what the dropout was given. A dropout
    called as a function (F.dropout) cannot be seen, so its features are those after dropout. `stages` is empty.

    The hooks exist only while the network runs, so copies, pickles and the network itself are left without any,
    and no tensor outlives the output that holds it. A network that was compiled before it was wrapped does not
    call hooks: wrap first.

    Args:
        model: any module called with images (B, 3, H, W), RGB in [0, 1]. If it wants them normalised, put that
            in front: nn.Sequential(normalise, model).
        num_classes: C, to find the classifier as the only 1x1 convolution with C outputs.
        classifier: the classifier itself, or its path within `model` (such as "decode_head.conv_seg"); needed if
            several convolutions could be it. Wins over the search; its outputs must still be `num_classes`.
        aux: picks the auxiliary scores (B, C, h', w') or None from what `model` returns, which is otherwise
            ignored; only asked in training mode.

    Raises:
        ValueError: no convolution or more than one could be the classifier, or the one named cannot.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Dropout2d(0.5), nn.Conv2d(8, 5, 1))
        >>> tap = ClassifierTap(network, num_classes=5)
        >>> output = tap(torch.rand(2, 3, 32, 32))
        >>> output.logits.shape, output.features.shape
        (torch.Size([2, 5, 8, 8]), torch.Size([2, 8, 8, 8]))
    """

    classifier: nn.Conv2d

    def __init__(
        self,
        model: nn.Module,
        num_classes: int | None = None,
        classifier: str | nn.Conv2d | None = None,
        aux: Callable[[Any], Tensor | None] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.classifier_path = _find(model, num_classes, classifier)
        self.aux = aux
        # Not through nn.Module, which would list the same weights twice in the state_dict.
        object.__setattr__(self, "classifier", model.get_submodule(self.classifier_path))

    @property
    def num_classes(self) -> int:
        """C, the channels of the logits."""
        return self.classifier.out_channels

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Run the network on images (B, 3, H, W) and return what its classifier saw and said.

        Raises:
            RuntimeError: the classifier did not run, ran more than once, or follows a dropout in place.
        """
        calls: list[tuple[Tensor, Tensor]] = []
        dropouts: list[tuple[nn.Module, Tensor, Tensor]] = []

        def on_dropout(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            dropouts[:] = [(module, inputs[0], output)]  # only the last one can stand before the classifier

        def on_classifier(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            features = inputs[0]
            if dropouts and dropouts[0][2] is features:
                dropout, features, _ = dropouts[0]
                if getattr(dropout, "inplace", False) and dropout.training:
                    raise RuntimeError(
                        f"the dropout before classifier {self.classifier_path!r} works in place, which destroys the "
                        "features that the method needs: set its inplace to False"
                    )
            calls.append((features, output))

        handles = [self.classifier.register_forward_hook(on_classifier)]
        handles += [
            module.register_forward_hook(on_dropout)
            for module in self.model.modules()
            if isinstance(module, nn.Dropout | nn.Dropout2d)
        ]
        try:
            returned = self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        if len(calls) != 1:
            raise RuntimeError(
                f"classifier {self.classifier_path!r} ran {len(calls)} times in one forward pass, expected once"
                + ("" if calls else ": the network bypasses it, or was compiled before it was wrapped")
            )
        features, logits = calls[0]
        aux = self.aux(returned) if self.aux is not None and self.training else None
        return SegmentationOutput(logits, features, aux)


def _find(model: nn.Module, num_classes: int | None, classifier: str | nn.Conv2d | None) -> str:
    """Return the classifier's path within `model`."""
    convolutions: dict[str, nn.Conv2d] = {path: m for path, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    if classifier is not None:
        named = [path for path, m in convolutions.items() if classifier in (path, m)]
        if not named:
            what = repr(classifier) if isinstance(classifier, str) else "the given convolution"
            raise ValueError(
                f"{what} is not a Conv2d of this {type(model).__name__}; its 1x1 convolutions end with "
                f"{[path for path, m in convolutions.items() if m.kernel_size == (1, 1)][-5:]}"
            )
        found = convolutions[named[0]]
        if found.kernel_size != (1, 1) or num_classes not in (None, found.out_channels):
            raise ValueError(
                f"the classifier must be a 1x1 convolution with {num_classes or 'one output per class'} outputs, "
                f"but {named[0]!r} is {found}"
            )
        return named[0]
    if num_classes is None:
        raise ValueError("give num_classes, or the path of the last 1x1 convolution as classifier=")
    outputs = {path: m for path, m in convolutions.items() if m.out_channels == num_classes}
    candidates = [path for path, m in outputs.items() if m.kernel_size == (1, 1)]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ValueError(
            f"several 1x1 convolutions have {num_classes} outputs: {candidates}; name the one whose scores are the "
            f"network's answer (not an auxiliary one), e.g. classifier={candidates[-1]!r}"
        )
    other = [f"{path} ({m.kernel_size[0]}x{m.kernel_size[1]})" for path, m in outputs.items()]
    raise ValueError(
        f"no 1x1 convolution with {num_classes} outputs in this {type(model).__name__}"
        + (f"; other convolutions with that many: {other}; a method needs a 1x1 classifier" if other else "")
    )
