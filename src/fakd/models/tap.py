"""The contract of `fakd.types` for networks that this package did not build."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fakd.models.classifiers import JoinedClassifier, find_classifiers
from fakd.types import Classifier, SegmentationOutput


class ClassifierTap(nn.Module):
    """Listens to the last convolution of any network and returns a `SegmentationOutput`.

    The convolution's output is the logits. Its input is the features, except when that is just what an
    nn.Dropout or nn.Dropout2d module returned: then the features are what the dropout was given. A dropout
    called as a function (F.dropout) cannot be seen, so its features are those after dropout. `stages` is empty.

    Some networks add the scores of several 1x1 convolutions of one size. That is one convolution of their inputs side
    by side, and this is how it is shown: features with the channels of all of them, and a classifier whose weight is
    their weights side by side.

    The hooks exist only while the network runs, so copies, pickles and the network itself are left without any,
    and no tensor outlives the output that holds it. Wrap first and compile the tap: torch.compile sees its hooks. A
    network that was compiled before it was wrapped may not call them, which raises an error.

    Args:
        model: any module called with images (B, 3, H, W), RGB in [0, 1]. If it wants them normalised, put that
            in front: nn.Sequential(normalise, model).
        num_classes: C, to find the classifier: the only 1x1 convolution with C outputs; where there is none, a larger
            one with C outputs if it is the last convolution of all.
        classifier: the classifier itself, or its path within `model` (such as "decode_head.conv_seg"), or the paths of
            several whose scores the network adds; needed if several convolutions could be it. Wins over the search; its
            outputs must still be `num_classes`.
        aux: where the auxiliary scores (B, C, h', w') come from: the path of the module that returns them, or a
            function that picks them (or None) from what `model` returns. Only in training mode.
        features: path of the module that is given the features, where that is neither the classifier nor the dropout
            right before it.

    Raises:
        ValueError: no convolution or more than one could be the classifier, or one that is named cannot; or there is no
            module at a path.

    Example:
        >>> import torch
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Dropout2d(0.5), nn.Conv2d(8, 5, 1))
        >>> tap = ClassifierTap(network, num_classes=5)
        >>> output = tap(torch.rand(2, 3, 32, 32))
        >>> output.logits.shape, output.features.shape
        (torch.Size([2, 5, 8, 8]), torch.Size([2, 8, 8, 8]))
    """

    classifier: Classifier

    def __init__(
        self,
        model: nn.Module,
        num_classes: int | None = None,
        classifier: str | nn.Conv2d | Sequence[str] | None = None,
        aux: str | Callable[[Any], Tensor | None] | None = None,
        features: str | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.classifier_paths = find_classifiers(model, num_classes, classifier)
        """Where the classifier is within `model`; several where their scores are added."""
        self.aux = aux
        self.features_path = features
        for path in (features, aux):
            if isinstance(path, str):
                _module_at(model, path)
        convolutions: list[Any] = [model.get_submodule(path) for path in self.classifier_paths]
        # Not through nn.Module, which would list the same weights twice in the state_dict.
        found = convolutions[0] if len(convolutions) == 1 else JoinedClassifier(tuple(convolutions))
        object.__setattr__(self, "classifier", found)

    @property
    def classifier_path(self) -> str:
        """Where the classifier is within `model`; several paths are joined by "+"."""
        return "+".join(self.classifier_paths)

    @property
    def num_classes(self) -> int:
        """C, the channels of the logits."""
        return self.classifier.out_channels

    def forward(self, images: Tensor) -> SegmentationOutput:
        """Run the network on images (B, 3, H, W) and return what its classifier saw and said.

        Raises:
            RuntimeError: the classifier did not run, ran more than once, or follows a dropout in place; or the scores
                that are added are not of one size.
        """
        calls: dict[str, list[tuple[Tensor, Tensor]]] = {path: [] for path in self.classifier_paths}
        dropouts: list[tuple[nn.Module, Tensor, Tensor]] = []
        told: dict[str, Tensor] = {}  # features and auxiliary scores where they have a place of their own

        def on_dropout(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            dropouts[:] = [(module, inputs[0], output)]  # only the last one can stand before the classifier

        def on_classifier(path: str) -> Callable[..., None]:
            def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
                features = inputs[0]
                if dropouts and dropouts[0][2] is features:
                    dropout, features, _ = dropouts[0]
                    self._check_dropout(dropout)
                calls[path].append((features, output))

            return hook

        def on_features(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self._check_dropout(module)
            told["features"] = inputs[0]

        def on_aux(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            told["aux"] = output

        hooks = {path: on_classifier(path) for path in self.classifier_paths}
        handles = [self.model.get_submodule(path).register_forward_hook(hook) for path, hook in hooks.items()]
        handles += [
            module.register_forward_hook(on_dropout)
            for module in self.model.modules()
            if isinstance(module, nn.Dropout | nn.Dropout2d)
        ]
        if self.features_path is not None:
            handles.append(self.model.get_submodule(self.features_path).register_forward_hook(on_features))
        if isinstance(self.aux, str) and self.training:
            handles.append(self.model.get_submodule(self.aux).register_forward_hook(on_aux))
        try:
            returned = self.model(images)
        finally:
            for handle in handles:
                handle.remove()
        features, logits = self._gathered(calls)
        aux = told.get("aux")
        if self.aux is not None and not isinstance(self.aux, str) and self.training:
            aux = self.aux(returned)
        return SegmentationOutput(logits, told.get("features", features), aux)

    def _gathered(self, calls: dict[str, list[tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor]:
        """Return features and logits of the one call of each classifier."""
        for path, made in calls.items():
            if len(made) != 1:
                raise RuntimeError(
                    f"classifier {path!r} ran {len(made)} times in one forward pass, expected once"
                    + ("" if made else ": the network bypasses it, or was compiled before it was wrapped")
                )
        seen = [made[0] for made in calls.values()]
        if len(seen) == 1:
            return seen[0]
        sizes = {path: tuple(int(side) for side in made[0][1].shape[-2:]) for path, made in calls.items()}
        if len(set(sizes.values())) > 1:
            raise RuntimeError(f"scores that are added must be of one size, but the classifiers' are {sizes}")
        logits = seen[0][1]
        for _, more in seen[1:]:
            logits = logits + more
        return torch.cat([features for features, _ in seen], dim=1), logits

    def _check_dropout(self, module: nn.Module) -> None:
        if getattr(module, "inplace", False) and module.training:
            raise RuntimeError(
                f"the dropout before classifier {self.classifier_path!r} works in place, which destroys the "
                "features that the method needs: set its inplace to False"
            )


def _module_at(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError:
        names = ", ".join(name for name, _ in model.named_children())
        raise ValueError(f"there is no module {path!r} in this {type(model).__name__}; it has {names}") from None
