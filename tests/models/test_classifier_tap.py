import copy
import gc
import pickle
import weakref

import pytest
import torch
from torch import Tensor, nn

from fakd.models import ClassifierTap, create_model
from fakd.types import SegmentationModel


class Network(nn.Module):
    def __init__(self, dropout: nn.Module | None = None, classes: int = 4) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.other_dropout = nn.Dropout(0.5)
        self.dropout = nn.Identity() if dropout is None else dropout
        self.classifier = nn.Conv2d(6, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.body_output = self.body(images)
        self.other_dropout(self.body_output)
        scores = self.classifier(self.dropout(self.body_output))
        return {"out": nn.functional.interpolate(scores, scale_factor=2), "aux": scores + 1}


class TwoHeads(Network):
    def __init__(self) -> None:
        super().__init__()
        self.aux_classifier = nn.Conv2d(6, 4, 1)


class Skips(Network):
    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


class Twice(Network):
    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.body(images)) + self.classifier(self.body(images))


IMAGES = torch.rand(2, 3, 8, 8)


@pytest.mark.parametrize("dropout", [None, nn.Dropout(0.5), nn.Dropout2d(0.9)])
@pytest.mark.parametrize("training", [True, False])
def test_features_are_before_dropout(dropout: nn.Module | None, training: bool) -> None:
    network = Network(dropout)
    output = ClassifierTap(network, 4).train(training)(IMAGES)
    assert output.logits.shape == (2, 4, 4, 4)
    torch.testing.assert_close(output.features, network.body_output, rtol=0, atol=0)
    assert output.aux is None
    assert output.stages == ()
    if not training:
        torch.testing.assert_close(network.classifier(output.features), output.logits)


def test_dropout_in_place_is_refused_in_training() -> None:
    tap = ClassifierTap(Network(nn.Dropout(0.5, inplace=True)), 4)
    with pytest.raises(RuntimeError, match="in place"):
        tap(IMAGES)
    tap.eval()(IMAGES)


def test_contract_and_no_second_copy_of_the_weights() -> None:
    network = Network()
    tap = ClassifierTap(network, 4)
    assert isinstance(tap, SegmentationModel)
    assert tap.classifier is network.classifier
    assert tap.num_classes == 4
    assert list(tap.state_dict()) == [f"model.{name}" for name in network.state_dict()]
    assert len(list(tap.parameters())) == len(list(network.parameters()))


def test_agrees_with_a_network_of_our_own() -> None:
    model = create_model("pspnet/test_resnet", num_classes=7, channels=8, aux=False).eval()
    tap = ClassifierTap(model, 7)
    images = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        direct, tapped = model(images), tap(images)
    torch.testing.assert_close(tapped.logits, direct.logits)
    torch.testing.assert_close(tapped.features, direct.features)


def test_candidates() -> None:
    network = TwoHeads()
    with pytest.raises(ValueError, match=r"several.*\['classifier', 'aux_classifier'\]"):
        ClassifierTap(network, 4)
    assert ClassifierTap(network, 4, "classifier").classifier is network.classifier
    assert ClassifierTap(network, classifier=network.aux_classifier).classifier_path == "aux_classifier"


def test_what_cannot_be_the_classifier() -> None:
    with pytest.raises(ValueError, match="give num_classes, or the path"):
        ClassifierTap(Network())
    with pytest.raises(ValueError, match=r"no 1x1 convolution with 9 outputs in this Network$"):
        ClassifierTap(Network(), 9)
    with pytest.raises(ValueError, match=r"no 1x1.*other convolutions with that many: \['body \(3x3\)'\]"):
        ClassifierTap(Network(), 6)
    with pytest.raises(ValueError, match=r"'head' is not a Conv2d.*\['classifier'\]"):
        ClassifierTap(Network(), 4, "head")
    with pytest.raises(ValueError, match="given convolution is not"):
        ClassifierTap(Network(), 4, nn.Conv2d(6, 4, 1))
    with pytest.raises(ValueError, match="one output per class outputs, but 'body'"):
        ClassifierTap(Network(), classifier="body")
    with pytest.raises(ValueError, match="with 5 outputs, but 'classifier'"):
        ClassifierTap(Network(), 5, "classifier")


@pytest.mark.parametrize(("network", "times"), [(Skips(), 0), (Twice(), 2)])
def test_the_classifier_must_run_once(network: nn.Module, times: int) -> None:
    tap = ClassifierTap(network, 4)
    with pytest.raises(RuntimeError, match=f"'classifier' ran {times} times"):
        tap(IMAGES)
    assert not network.classifier._forward_hooks


def test_aux_is_picked_in_training_only() -> None:
    tap = ClassifierTap(Network(), 4, aux=lambda returned: returned["aux"])
    output = tap(IMAGES)
    torch.testing.assert_close(output.aux, output.logits + 1)
    assert tap.eval()(IMAGES).aux is None


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda tap: pickle.loads(pickle.dumps(tap))])
def test_copies_are_independent(duplicate) -> None:
    tap = ClassifierTap(Network(nn.Dropout(0.5)), 4).eval()
    with torch.no_grad():
        tap(IMAGES)
    twin = duplicate(tap)
    assert twin.classifier is twin.model.classifier
    assert twin.classifier is not tap.classifier
    with torch.no_grad():
        twin.classifier.bias += 1
        torch.testing.assert_close(twin(IMAGES).logits, tap(IMAGES).logits + 1)


def test_gradient_autocast_and_no_grad() -> None:
    tap = ClassifierTap(Network(), 4)
    output = tap(IMAGES)
    (output.features.sum() + output.logits.sum()).backward()
    assert tap.model.body.weight.grad is not None
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.no_grad():
        output = tap(IMAGES)
    assert output.logits.dtype == output.features.dtype == torch.bfloat16
    assert not output.logits.requires_grad


def test_wrapped_in_another_module() -> None:
    tap = ClassifierTap(nn.Sequential(nn.Identity(), Network()), 4)
    assert tap.classifier_path == "1.classifier"
    assert nn.DataParallel(tap)(IMAGES).logits.shape == (2, 4, 4, 4)


def test_no_tensor_outlives_its_output() -> None:
    network = Network()
    tap = ClassifierTap(network, 4)
    output = tap(IMAGES)
    alive = weakref.ref(output.logits)
    del output
    gc.collect()
    assert alive() is None
    assert not any(m._forward_hooks for m in network.modules())


class Patches(nn.Module):
    """Ends with a 3x3 convolution, as some networks do."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3, padding=1)
        self.head = nn.Conv2d(4, classes, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def test_a_larger_convolution_is_taken_if_it_is_the_last_of_all() -> None:
    tap = ClassifierTap(Patches(), 5)
    output = tap(IMAGES)
    assert tap.classifier_path == "head"
    torch.testing.assert_close(output.logits, tap.model.head(output.features))
    with pytest.raises(ValueError, match=r"no 1x1.*\['body \(3x3\)'\]; if one of them gives the scores, name it"):
        ClassifierTap(Patches(), 4)
    strided = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 3, stride=2))
    with pytest.raises(ValueError, match="no 1x1 convolution with 5 outputs"):
        ClassifierTap(strided, 5)
    with pytest.raises(ValueError, match="ordinary convolution of stride 1"):
        ClassifierTap(strided, 5, "1")


class Summed(nn.Module):
    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self.low, self.high = nn.Conv2d(3, 5, 1), nn.Conv2d(6, 5, 1)
        self.body = nn.Conv2d(3, 6, 3, padding=1, stride=stride)

    def forward(self, images: Tensor) -> Tensor:
        low, high = self.low(images), self.high(self.body(images))
        return low + nn.functional.interpolate(high, size=low.shape[-2:])


def test_scores_that_are_added_are_one_convolution_of_features_side_by_side() -> None:
    network = Summed()
    tap = ClassifierTap(network, 5, ["low", "high"])
    output = tap(IMAGES)
    torch.testing.assert_close(output.logits, network(IMAGES))
    bias = network.low.bias + network.high.bias
    expected = nn.functional.conv2d(output.features, tap.classifier.weight, bias)
    torch.testing.assert_close(output.logits, expected)
    assert (tap.classifier.in_channels, tap.classifier.out_channels, tap.num_classes) == (9, 5, 5)
    tap.classifier.weight.sum().backward()  # gradients reach the convolutions
    assert network.low.weight.grad is not None
    assert network.high.weight.grad is not None
    twin = copy.deepcopy(tap)
    assert twin.classifier.convolutions[0] is twin.model.low


def test_what_cannot_be_added() -> None:
    with pytest.raises(ValueError, match=r"several.*\['low', 'high'\].*or all of those whose scores it adds"):
        ClassifierTap(Summed(), 5)
    with pytest.raises(ValueError, match="must be different ones"):
        ClassifierTap(Summed(), 5, ["low", "low"])
    with pytest.raises(ValueError, match="equal outputs"):
        ClassifierTap(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1)), classifier=["0", "1"])
    with pytest.raises(ValueError, match=r"must be 1x1 convolutions, but \['0.head'\]"):
        ClassifierTap(nn.Sequential(Patches(), nn.Conv2d(5, 5, 1)), 5, ["0.head", "1"])
    with pytest.raises(RuntimeError, match="must be of one size"):
        ClassifierTap(Summed(stride=2), 5, ["low", "high"])(IMAGES)


class Elsewhere(Network):
    """Copies what its dropout returns, and has an auxiliary head of its own."""

    def __init__(self) -> None:
        super().__init__(nn.Dropout2d(0.9))
        self.aux_classifier = nn.Conv2d(6, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.body_output = self.body(images)
        self.aux_output = self.aux_classifier(self.body_output)
        return self.classifier(self.dropout(self.body_output).clone())


def test_places_of_features_and_auxiliary_scores() -> None:
    network = Elsewhere()
    tap = ClassifierTap(network, 4, aux="aux_classifier", features="dropout")
    output = tap(IMAGES)
    assert torch.equal(output.features, network.body_output)
    assert torch.equal(output.aux, network.aux_output)
    assert tap.eval()(IMAGES).aux is None
    assert not any(m._forward_hooks for m in network.modules())
    with pytest.raises(ValueError, match=r"no module 'nowhere' in this Elsewhere; it has body"):
        ClassifierTap(network, 4, aux="nowhere")


def test_compiled_it_sees_the_same_and_is_not_compiled_anew_at_each_step() -> None:
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    torch.compiler.reset()
    tap = ClassifierTap(Network(), 4)
    compiled = torch.compile(tap, dynamic=False, backend=backend)
    for step in range(12):
        output = compiled(IMAGES)
        if step == 3:
            after_some = len(graphs)
    assert len(graphs) == after_some > 0
    torch.testing.assert_close(output.logits, tap(IMAGES).logits)
    torch.testing.assert_close(output.features, tap(IMAGES).features)


def test_compiled_before_it_was_wrapped_it_sees_the_tensors_or_says_so() -> None:
    torch.compiler.reset()
    network = Network()
    compiled = torch.compile(network, backend="eager")
    expected = compiled(IMAGES)["aux"] - 1
    tap = ClassifierTap(compiled, 4)
    try:
        output = tap(IMAGES)
    except RuntimeError as error:
        assert "compiled before it was wrapped" in str(error)  # noqa: PT017 - either is right
    else:
        torch.testing.assert_close(output.logits, expected)


def test_under_distributed_data_parallel(tmp_path) -> None:
    dist = torch.distributed
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        tap = ClassifierTap(Network(nn.Dropout2d(0.5)), 4)
        spread = nn.parallel.DistributedDataParallel(tap)
        for _ in range(2):
            output = spread(IMAGES)
            assert torch.equal(output.features, tap.model.body_output)
            (output.logits.sum() + output.features.sum()).backward()
        assert tap.model.body.weight.grad is not None
    finally:
        dist.destroy_process_group()
