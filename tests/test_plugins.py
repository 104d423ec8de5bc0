"""Installed packages bring methods, heads and data sets; what is wrong with one is said by its name."""

import json
import os
import subprocess
import sys

import pytest
from brought import draw_leaves, install

from fakd.analysis.runs import read_metrics
from fakd.data import DATASETS, DatasetSpec
from fakd.methods import METHODS, Method, PixelKD, create_method, method_options
from fakd.models import HEADS, create_model, save_model
from fakd.plugins import Registry

GROUP = "fakd.methods"


@pytest.fixture
def methods(tmp_path, monkeypatch):
    """Make a registry of one built-in method in an environment with a package that brings these."""

    def make(entries: dict[str, str], **others: dict[str, str]) -> Registry[type[Method]]:
        install(tmp_path, {GROUP: entries})
        for name, more in others.items():
            install(tmp_path, {GROUP: more}, name=name)
        monkeypatch.syspath_prepend(tmp_path)
        return Registry(GROUP, Method, {"pixel": PixelKD}, reserved=("folder",))

    return make


def test_each_kind_may_be_brought() -> None:
    for registry, group in ((METHODS, "fakd.methods"), (DATASETS, "fakd.datasets"), (HEADS, "fakd.heads")):
        assert registry._group == group


def test_what_a_package_brings_is_imported_when_it_is_asked_for(methods) -> None:
    sys.modules.pop("my_method", None)
    registry = methods({"feature-cosine": "my_method:FeatureCosine"})
    assert list(registry) == ["pixel", "feature-cosine"]
    assert len(registry) == 2
    assert "feature-cosine" in registry
    assert "cosine" not in registry
    assert registry["pixel"] is PixelKD
    assert registry.get("cosine") is None
    assert "my_method" not in sys.modules
    assert registry["feature-cosine"] is sys.modules["my_method"].FeatureCosine
    assert list(registry) == ["pixel", "feature-cosine"]


def test_nothing_is_read_before_a_name_is_asked_for(monkeypatch) -> None:
    monkeypatch.setattr("fakd.plugins.entry_points", lambda **_: pytest.fail("read"))
    Registry(GROUP, Method, {"pixel": PixelKD})


def test_packages_are_read_once(methods, monkeypatch) -> None:
    registry = methods({"feature-cosine": "my_method:FeatureCosine"})
    assert "feature-cosine" in registry
    monkeypatch.setattr("fakd.plugins.entry_points", lambda **_: pytest.fail("read again"))
    assert "feature-cosine" in registry


def test_an_assigned_name_needs_no_package(methods) -> None:
    registry = methods({"mine": "nowhere:Nothing"})
    registry["mine"] = registry["more"] = PixelKD
    assert registry["mine"] is registry["more"] is PixelKD
    assert list(registry) == ["pixel", "mine", "more"]


@pytest.mark.parametrize("name", ["pixel", "folder"])
def test_a_built_in_name_is_not_taken_over(methods, name) -> None:
    registry = methods({name: "my_method:FeatureCosine", "feature-cosine": "my_method:FeatureCosine"})
    with pytest.raises(ValueError, match=rf"package my-package 1.0 brings fakd.methods '{name}', a name of fakd's own"):
        registry[name]
    assert issubclass(registry["feature-cosine"], Method)  # only that name is refused


def test_two_packages_with_one_name_are_refused(methods) -> None:
    registry = methods({"mine": "my_method:FeatureCosine"}, other={"mine": "my_method:FeatureCosine"})
    with pytest.raises(ValueError, match=r"package \S+ 1.0 and the .* bring fakd.methods 'mine' each: uninstall one"):
        registry["mine"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("my_lost_module:Method", "cannot be loaded .ModuleNotFoundError: No module named 'my_lost_module'"),
        ("my_method:Lost", "cannot be loaded .AttributeError: .*Lost"),
        ("broken:Method", "cannot be loaded .ZeroDivisionError"),
        ("my_method:resize_logits", "is no Method but <function resize_logits"),
        ("my_head:SumHead", "is no Method but <class 'my_head.SumHead'"),
    ],
)
def test_a_broken_package_is_named(methods, tmp_path, value, message) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    registry = methods({"mine": value})
    with pytest.raises(
        ValueError, match=rf"^the installed package my-package 1.0 brings .*'mine' as {value}, .*{message}"
    ):
        registry["mine"]


def test_a_data_set_is_called_as_its_spec_is(tmp_path, monkeypatch) -> None:
    install(tmp_path, {"fakd.datasets": {"leaf": "my_dataset:LEAVES", "leaves": "my_dataset:LEAVES"}})
    monkeypatch.syspath_prepend(tmp_path)
    registry: Registry[DatasetSpec] = Registry("fakd.datasets", DatasetSpec, {})
    assert registry["leaves"].num_classes == 3
    with pytest.raises(ValueError, match=r"brings fakd\.datasets 'leaf', which calls itself 'leaves'"):
        registry["leaf"]


def test_options_of_the_method_that_it_is_made_of(monkeypatch) -> None:
    class Louder(PixelKD):
        def __init__(self, student, teacher, *, loudness: float = 2.0, temperature: float = 3.0, **options) -> None:
            super().__init__(student, teacher, temperature=temperature, **options)
            self.weight *= loudness

    monkeypatch.setitem(METHODS, "louder", Louder)
    defaults = {name: option.default for name, option in method_options("louder").items()}
    assert defaults == {"loudness": 2.0, "temperature": 3.0, "weight": 1.0, "augment_logits": 0.0}
    network = create_model("pspnet/test_resnet.r160_in1k", num_classes=5, channels=8)
    method = create_method("louder", network, network, max_steps=2, options={"weight": 4.0, "loudness": 0.5})
    assert (method.weight, method.temperature) == (2.0, 3.0)


@pytest.mark.slow
def test_a_fresh_process_distils_with_what_is_installed(tmp_path) -> None:
    entries = {
        "fakd.methods": {"feature-cosine": "my_method:FeatureCosine"},
        "fakd.heads": {"sum": "my_head:SumHead"},
        "fakd.datasets": {"leaves": "my_dataset:LEAVES"},
    }
    site, photos = install(tmp_path / "site", entries), draw_leaves(tmp_path / "photos")
    teacher = tmp_path / "teacher.safetensors"
    save_model(create_model("pspnet/test_resnet.r160_in1k", num_classes=3, channels=8), teacher)
    words = ["--teacher", teacher, "--student", "sum/test_resnet.r160_in1k", "--method", "feature-cosine"]
    words += ["--options.weight", 2, "--dataset", "leaves", "--data-root", photos, "--output", tmp_path / "run"]
    words += ["--max-steps", 2, "--batch-size", 2, "--crop-size", "32,32", "--base-size", "48,64", "--log-every", 1]
    words += ["--workers", 0, "--accelerator", "cpu", "--allow-bad-teacher"]
    paths = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", "fakd", "distill", *map(str, words)],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/results.json").read_text())["steps"] == 2
    assert "loss/feature-cosine" in read_metrics(tmp_path / "run")
