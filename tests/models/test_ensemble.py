import numpy as np
import pytest
import torch

from fakd.models import Ensemble, ScoringTeacher, create_model
from fakd.models.merged_teacher import MergedTeacher
from fakd.types import scores_alone


def shares(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_the_mean_of_the_probabilities() -> None:
    """Two networks of one stride, one of them with its classes in another order, against NumPy in float64."""
    first, second = (create_model("pspnet/test_resnet", num_classes=3, channels=8).eval() for _ in range(2))
    ensemble = Ensemble([first, MergedTeacher(second, [[2], [0], [1]])], [3, 1]).eval()
    images = torch.rand(2, 3, 32, 48)
    with torch.no_grad():
        output = ensemble(images)
        a, b = (network(images).logits.double().numpy() for network in (first, second))
    mean = 0.75 * shares(a) + 0.25 * shares(b[:, [2, 0, 1]])
    np.testing.assert_allclose(output.logits.numpy(), np.log(mean), rtol=1e-5, atol=1e-5)
    assert output.features.shape[1] == 0
    assert scores_alone(ensemble)
    assert ensemble.num_classes == 3


def test_what_cannot_be_joined() -> None:
    two, three = (ScoringTeacher(lambda images: images[:, :1], classes) for classes in (2, 3))
    with pytest.raises(ValueError, match=r"with the same classes, got networks of \[2, 3\]"):
        Ensemble([two, three])
    for weights in ([1.0], [1.0, 0.0], [2.0, -1.0]):
        with pytest.raises(ValueError, match="a weight above 0 for each of 2 networks"):
            Ensemble([two, two], weights)
    labelling = ScoringTeacher(lambda images: images[:, :1], 2)
    labelling.gives_labels = True
    with pytest.raises(ValueError, match="gives labels and no scores cannot be one of several"):
        Ensemble([two, labelling])
    with pytest.raises(ValueError, match="gives labels and no scores cannot be merged"):
        MergedTeacher(labelling, [[0, 1]])
    assert MergedTeacher(labelling, [[1], [0]]).gives_labels
