"""What every network must do; a network's own test only says which network it is and its numbers."""

import math

import pytest
import torch

from fakd.models import Segmentor, create_model, load_model, save_model
from fakd.models.network import config_from_json
from fakd.types import SegmentationModel, SegmentationOutput


def parameters(module: torch.nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


class NetworkTester:
    """Subclass with a name that pytest collects, and set these."""

    name: str
    channels: int
    num_classes = 5
    output_stride: int | None = 8
    logits_stride: int | None = None  # where it is not the output stride
    aux = True
    stages = 4
    settings: dict[str, object] = {}  # noqa: RUF012

    @pytest.fixture
    def model(self) -> Segmentor:
        # Built once per subclass: building is slower than any check.
        if "built" not in type(self).__dict__:
            torch.manual_seed(0)
            type(self).built = create_model(
                self.name, num_classes=self.num_classes, output_stride=self.output_stride, **self.settings
            )
        type(self).built.zero_grad(set_to_none=True)
        return type(self).built.train()

    @pytest.mark.parametrize("size", [(65, 97), (64, 96)])
    def test_shapes_follow_the_output_stride(self, model: Segmentor, size: tuple[int, int]) -> None:
        cells = tuple(math.ceil(side / (self.logits_stride or self.output_stride)) for side in size)
        output = model(torch.rand(2, 3, *size))
        assert isinstance(output, SegmentationOutput)
        assert output.logits.shape == (2, self.num_classes, *cells)
        assert output.features.shape == (2, self.channels, *cells)
        assert (output.aux is not None) == self.aux
        assert output.aux is None or output.aux.shape[:2] == (2, self.num_classes)
        assert len(output.stages) == self.stages
        assert [s.shape[1] for s in output.stages] == list(model.encoder.channels)
        for stage, stride in zip(output.stages, model.encoder.strides, strict=True):
            assert stage.shape[2:] == tuple(math.ceil(side / stride) for side in size)

    def test_keeps_the_contract(self, model: Segmentor) -> None:
        assert isinstance(model, SegmentationModel)
        assert model.classifier.kernel_size == (1, 1)
        assert model.classifier.in_channels == self.channels == model.config.channels
        assert model.num_classes == self.num_classes

    def test_eval_is_deterministic_and_has_no_aux(self, model: Segmentor) -> None:
        images = torch.rand(1, 3, 48, 48)
        model.eval()
        with torch.no_grad():
            first, second = model(images), model(images)
        assert first.aux is None
        torch.testing.assert_close(first.logits, second.logits, rtol=0, atol=0)
        torch.testing.assert_close(model.classifier(first.features), first.logits)

    def test_gradient_reaches_every_parameter(self, model: Segmentor) -> None:
        output = model(torch.rand(2, 3, 48, 48))
        sum(scores.square().mean() for scores in (output.logits, output.aux) if scores is not None).backward()
        assert [name for name, p in model.named_parameters() if p.grad is None] == []
        assert all(p.grad.isfinite().all() for p in model.parameters())

    def test_rebuilds_from_its_config(self, model: Segmentor) -> None:
        config = config_from_json(model.config.to_json())
        assert config == model.config
        twin = Segmentor(config)
        twin.load_state_dict(model.state_dict())
        images = torch.rand(1, 3, 40, 40)
        with torch.no_grad():
            torch.testing.assert_close(twin.eval()(images), model.eval()(images), rtol=0, atol=0)

    def test_file_round_trip_is_bit_exact(self, model: Segmentor, tmp_path) -> None:
        path = tmp_path / "deep" / "model.safetensors"
        save_model(model, path, {"classes": "road,car"})
        loaded, metadata = load_model(path)
        assert metadata == {"classes": "road,car"}
        assert loaded.config == model.config
        assert not loaded.training
        for (name, ours), (same, theirs) in zip(model.state_dict().items(), loaded.state_dict().items(), strict=True):
            assert name == same
            assert torch.equal(ours, theirs), name
        assert [p.name for p in path.parent.iterdir()] == [path.name]
