from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim.swa_utils import AveragedModel

from fakd.models import create_model, open_model
from fakd.models.weights_file import prefix_advice, read_torch_file, read_weights


def net() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))


def wrapped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "_orig_mod.", "student.", "module._orig_mod.", "ema."])
@pytest.mark.parametrize("place", [None, "state_dict", "model", "student", "state_dict_ema"])
def test_wrappers_are_taken_off(tmp_path: Path, prefix: str, place: str | None) -> None:
    expected = net().state_dict()
    state = wrapped(expected, prefix)
    torch.save(state if place is None else {"epoch": 3, place: state}, tmp_path / "w.pth")
    found = read_weights(tmp_path / "w.pth")
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_mean_weights_of_pytorch_and_compiled_safetensors(tmp_path: Path) -> None:
    network = net()
    torch.save(AveragedModel(network).state_dict(), tmp_path / "mean.pth")
    save_file(torch.compile(network).state_dict(), tmp_path / "compiled.safetensors")
    for name in ("mean.pth", "compiled.safetensors"):
        assert read_weights(tmp_path / name).keys() == network.state_dict().keys()


def test_a_prefix_of_some_entries_stays(tmp_path: Path) -> None:
    state = wrapped(net().state_dict(), "model.") | {"loss.weight": torch.ones(2)}
    torch.save(state, tmp_path / "w.pth")
    assert list(read_weights(tmp_path / "w.pth")) == list(state)


def test_the_entries_found_are_named(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "best": "x"}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"under 'state_dict', .*; it holds 'epoch' \(int\), 'best' \(str\)\."):
        read_weights(tmp_path / "w.pth")
    torch.save([1], tmp_path / "w.pth")
    with pytest.raises(ValueError, match="it holds a list"):
        read_weights(tmp_path / "w.pth")


def test_an_unknown_prefix_is_named_with_how_to_strip_it(tmp_path: Path) -> None:
    encoder = create_model("pspnet/test_resnet", num_classes=2).encoder.body
    torch.save(wrapped(encoder.state_dict(), "net.trunk."), tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"would be known without the prefix 'net\.trunk\.'") as caught:
        create_model("pspnet/test_resnet", num_classes=2, backbone_weights=str(tmp_path / "w.pth"))
    code = str(caught.value).rpartition("anew with ")[2]
    saved = eval(code, {"weights": torch.load(tmp_path / "w.pth", weights_only=True)})
    assert list(saved) == list(encoder.state_dict())
    assert prefix_advice(["a.b"], ["c.d", "b"]) == ""


def test_a_checkpoint_of_mmsegmentation_under_another_prefix(tmp_path: Path) -> None:
    torch.save({"seg.decode_head.conv_seg.weight": torch.ones(2, 3, 1, 1)}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"(?s)begin with seg\.decode_head.*without the prefix 'seg\.'"):
        open_model(str(tmp_path / "w.pth"))


def test_programs_and_whole_modules_get_advice_that_works(tmp_path: Path) -> None:
    network, path = net().eval(), tmp_path / "w.pt"
    torch.jit.trace(network, torch.rand(1, 3, 4, 4)).save(str(path))
    with pytest.raises(ValueError, match="is a TorchScript program") as caught:
        read_torch_file(path)
    advised = eval(str(caught.value).partition("{'state_dict': ")[2].partition("},")[0], {"torch": torch})
    assert list(advised) == list(network.state_dict())
    torch.save(network, path)
    with pytest.raises(ValueError, match=r"a whole module: .*'state_dict': model\.state_dict\(\)"):
        read_torch_file(path)
    torch.save({"epoch": 1, "model": network}, path)
    with pytest.raises(ValueError, match=r"a whole module among them: .*checkpoint\['model'\]\.state_dict\(\)"):
        read_torch_file(path)
