import pytest
import torch

from fakd.models import copy_weights, create_model, save_model


def build(classes: int, **changes):
    return create_model("pspnet/test_resnet", num_classes=classes, **{"channels": 8, **changes})


def test_all_but_the_classifiers_of_other_classes_is_taken(tmp_path, capsys) -> None:
    source, model = build(5), build(3)
    save_model(source, tmp_path / "a.safetensors")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    copy_weights(tmp_path / "a.safetensors", model)
    theirs = source.state_dict()
    for name, tensor in model.state_dict().items():
        own = name.startswith(("classifier.", "aux_head.classifier."))
        assert torch.equal(tensor, before[name] if own else theirs[name]), name
    said = " ".join(capsys.readouterr().out.split())
    count = len(before)
    assert f"{count - 4} of {count} entries from" in said
    assert "aux_head.classifier, classifier starts random (5 classes there, 3 here)" in said


def test_an_auxiliary_head_may_be_on_one_side_alone(tmp_path, capsys) -> None:
    for aux, said in ((True, "its auxiliary head is left there"), (False, "the auxiliary head starts random")):
        source, model = build(3, aux=aux), build(3, aux=not aux)
        save_model(source, tmp_path / "a.safetensors")
        copy_weights(tmp_path / "a.safetensors", model)
        assert torch.equal(model.classifier.weight, source.classifier.weight)
        assert said in " ".join(capsys.readouterr().out.split())


def test_what_else_does_not_fit_is_refused(tmp_path) -> None:
    save_model(build(5, channels=16), tmp_path / "a.safetensors")
    model = build(3)
    before = model.classifier.weight.clone()
    with pytest.raises(ValueError, match=r"do not fit .*:\n  head\.pools\.0\.1\.0\.weight: expected \(8, 96"):
        copy_weights(tmp_path / "a.safetensors", model)
    assert torch.equal(model.classifier.weight, before)
