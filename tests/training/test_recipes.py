"""Recipes: what a run has where nothing is given, and that every one of them trains."""

import pytest
import yaml
from folders import write_folder
from steps import whole_and_resumed
from test_resumed_runs import assert_equal_runs

from fakd.analysis.run_options import command_words, with_defaults
from fakd.commands.compare import CompareConfig
from fakd.commands.export import ExportConfig, export
from fakd.commands.recipes import RecipesConfig, recipes
from fakd.methods import create_method
from fakd.training import DistillConfig, TrainConfig, train
from fakd.training.learner import Learner
from fakd.training.optimization import parameter_groups
from fakd.training.recipe import read_recipe, recipe_names
from fakd.training.student import create_student


@pytest.fixture
def folder(tmp_path):
    root = write_folder(tmp_path / "data", [f"{number:02d}" for number in range(20)])
    (root / "val.txt").write_text("00\n01\n")
    return {"dataset": "folder", "data_root": root}


def test_the_papers_data_have_the_papers_recipe() -> None:
    for dataset, rate in (("toy-scenes", 0.01), ("pascal-context", 0.004)):
        config = TrainConfig(dataset=dataset, data_root="x")
        assert (config.recipe, config.optimizer, config.learning_rate, config.weight_decay) == (
            *("paper", "sgd", rate),
            5e-4,
        )
        assert (config.schedule, config.poly_power, config.warmup_steps, config.max_steps) == ("poly", 0.9, 0, 40_000)
        assert (config.class_weights, config.loss, config.backbone_lr_factor) == ("none", "ce", 1)


def test_data_of_ones_own_have_their_own(folder) -> None:
    config = TrainConfig(**folder)
    assert (config.recipe, config.optimizer, config.schedule, config.class_weights) == (
        "own",
        *("adamw", "cosine", "sqrt"),
    )
    assert config.max_steps == 500  # 60 passes over 18 images are 68 steps of 16
    assert config.warmup_steps == 50
    assert TrainConfig(**folder, batch_size=1).max_steps == 18 * 60
    assert TrainConfig(**folder, recipe="paper").max_steps == 40_000


def test_what_is_given_overrides_the_recipe(folder) -> None:
    config = TrainConfig(**folder, max_steps=40, schedule="constant", class_weights="none", warmup_steps=7)
    assert (config.max_steps, config.schedule, config.class_weights, config.warmup_steps) == (40, "constant", "none", 7)
    assert config.optimizer == "adamw"


def test_epochs_are_passes_over_the_training_images(folder) -> None:
    assert TrainConfig(**folder, epochs=3, batch_size=4).max_steps == 14  # 54 crops
    assert TrainConfig(epochs=0.5).max_steps == 8  # of 256 scenes
    with pytest.raises(ValueError, match="epochs 3 and max_steps 40 both say how long the run is: give one of them"):
        TrainConfig(epochs=3, max_steps=40)
    with pytest.raises(ValueError, match="there is no recipe 'own-data'; choose one of paper, own, segformer"):
        TrainConfig(recipe="own-data")


def test_a_run_says_what_it_resolved_and_is_repeated_by_few_words(folder) -> None:
    plain = TrainConfig(**folder, network="pspnet/resnet18").to_dict()
    assert yaml.safe_load(yaml.safe_dump(plain)) == plain
    assert TrainConfig(**plain).to_dict() == plain
    words = command_words(plain)
    assert [word for word in words if word.startswith("--")] == ["--dataset", "--data-root", "--network"]
    plain = DistillConfig(teacher="t", recipe="segformer", learning_rate=1e-3).to_dict()
    words = command_words(plain)
    assert words[words.index("--recipe") + 1] == "segformer"
    assert "--optimizer" not in words
    assert words[words.index("--learning-rate") + 1] == "0.001"


def test_runs_from_before_recipes_had_the_papers(folder) -> None:
    known = ("dataset", "data_root", "network", "max_steps", "learning_rate", "weight_decay", "seed", "batch_size")
    old = {name: value for name, value in TrainConfig(**folder).to_dict().items() if name in known}
    options = with_defaults(old)
    assert (options["recipe"], options["optimizer"], options["schedule"]) == ("paper", "sgd", "poly")
    words = command_words(old)
    assert words[words.index("--recipe") + 1] == "paper"


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_trains(train_config, tmp_path, name) -> None:
    results = train(train_config(recipe=name, max_steps=2, eval_every=2))
    assert results is not None
    kept = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert {key: kept[key] for key in read_recipe(name).options if key not in ("max_steps", "warmup_steps")} == {
        key: value for key, value in read_recipe(name).options.items() if key not in ("max_steps", "warmup_steps")
    }


def test_recipes_are_listed(capsys) -> None:
    found = recipes(RecipesConfig())
    said = capsys.readouterr().out
    assert list(found) == ["paper", "own", "segformer"]
    assert "--class-weights" in said
    assert "60 passes" in said
    assert found["paper"]["learning_rate"] == "the data set's"


def test_a_comparison_trains_all_by_one_recipe(folder) -> None:
    config = CompareConfig(
        **folder, teacher_network="pspnet-r101", epochs=3, batch_size=4, teacher_options={"epochs": 6}
    )
    assert {run.config.max_steps for run in config.plan_runs(config.arms(), {}).values()} == {14}
    teacher = config.plan_teacher()
    assert teacher is not None
    assert (teacher.config.max_steps, teacher.config.optimizer) == (27, "adamw")
    assert CompareConfig(**folder, teacher="t", recipe="paper", max_steps=9).command_line("compare")[-2:] == [
        "--max-steps",
        "9",
    ]


@pytest.fixture
def segformer(tmp_path):
    """The folder of a small SegFormer's configuration."""
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_sizes": [8, 8, 16, 16], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]}
    transformers.SegformerConfig(**sizes, decoder_hidden_size=16, num_labels=12).save_pretrained(tmp_path / "segformer")
    return tmp_path / "segformer"


def test_a_segformer_by_its_recipe_resumes_to_the_bit(distill_config, segformer, monkeypatch, tmp_path) -> None:
    settings = {
        "student": f"hf:{segformer}",
        "recipe": "segformer",
        "method": "cwd",
        "head_channels": None,
        "ema": 0.9,
        "max_steps": 4,
    }
    assert_equal_runs(*whole_and_resumed(monkeypatch, distill_config, tmp_path, 3, **settings))
    pytest.importorskip("onnxruntime")
    export(ExportConfig(str(tmp_path / "whole"), tmp_path / "segformer.onnx"))
    assert (tmp_path / "segformer.onnx").is_file()


def test_a_segformers_head_learns_ten_times_as_fast(train_config, segformer) -> None:
    config = train_config(network=f"hf:{segformer}", recipe="segformer", head_channels=None)
    student = create_student(config)
    learner = Learner(student, create_method("none", student, None, max_steps=4), None, config)
    names = {id(parameter): name for name, parameter in learner.named_parameters()}
    for group in parameter_groups(student, learner, config):
        for parameter in group["params"]:
            name = names[id(parameter)]
            assert group["lr"] == pytest.approx(6e-4 if "decode_head" in name else 6e-5), name
            assert (group["weight_decay"] == 0) == (parameter.ndim == 1), name
