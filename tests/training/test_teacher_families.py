"""What the page on any model says of families of teachers: each is inspected, teaches, fills a cache and predicts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from foreign_networks import SCORING, SEMANTIC, hf_config
from PIL import Image
from tiny import NETWORK

from fakd.cli import main
from fakd.data.sets.toy_scenes import TOY_SCENES
from fakd.methods import METHODS
from fakd.models import create_model, save_model

PAGE = Path(__file__).parents[2] / "docs/any-model.md"
NAMES = {
    "beit": "BEiT",
    "data2vec-vision": "Data2Vec",
    "detr": "DETR",
    "dpt": "DPT",
    "eomt": "EoMT",
    "eomt_dinov3": "EoMT (DINOv3)",
    "mask2former": "Mask2Former",
    "maskformer": "MaskFormer",
    "mobilenet_v2": "MobileNetV2",
    "mobilevit": "MobileViT",
    "mobilevitv2": "MobileViTV2",
    "oneformer": "OneFormer",
    "sapiens2": "Sapiens2",
    "segformer": "SegFormer",
    "tipsv2_dpt": "TIPSv2 DPT",
    "upernet": "UperNet",
}
DINO = "linear/vit_small_patch14_dinov2"
OWN = {NETWORK: "this project's PSPNet", DINO: "this project's `linear` on DINOv2"}
"""Networks of this project by their names, and what the table calls them: a line here is a row there."""
FAMILIES = [*OWN, *SEMANTIC, *SCORING]
"""Rows of the table: networks of this project, and types of transformers'."""
SAID = {"inspect": "yes", "teach": "yes", "cache": "yes", "predict": "yes"}


def table() -> str:
    """The table as the page has it."""
    rows = [
        "| teacher | inspect | teach | cache | predict | methods on features |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    called = OWN | {kind: f"`hf:` {name}" for kind, name in NAMES.items()}
    for kind in sorted(FAMILIES, key=lambda kind: (kind not in OWN, kind in SCORING, called[kind].lower())):
        features = "refused: it only scores" if kind in SCORING else "yes"
        rows.append(f"| {called[kind]} | {' | '.join(SAID.values())} | {features} |")
    return "\n".join(rows) + "\n"


def test_the_page_has_the_table() -> None:
    assert table() in PAGE.read_text(), f"docs/any-model.md must have this table:\n{table()}"


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """A small network with random weights for toy-scenes, by what a user would call it."""
    import transformers

    from fakd.models.foreign.from_hf import network_names

    root = tmp_path_factory.mktemp("families")

    def saved(kind: str) -> str:
        if kind in OWN:
            network = create_model(kind, num_classes=TOY_SCENES.num_classes, channels=8 if kind == NETWORK else None)
            file = root / f"{kind.partition('/')[0]}.safetensors"
            save_model(network, file, TOY_SCENES.notes(None))
            return str(file)
        if not (root / kind).is_dir():
            config = hf_config(kind, TOY_SCENES.num_classes)
            config.id2label = dict(enumerate(TOY_SCENES.classes))
            getattr(transformers, network_names()[kind])(config).save_pretrained(root / kind)
        return f"hf:{root / kind}"

    return saved


def small(*words: object) -> list[str]:
    """Two steps on crops of 64 pixels, the fewest that all these networks take."""
    options = "--head-channels 8 --batch-size 2 --crop-size 64,64 --workers 0 --accelerator cpu --allow-bad-teacher"
    return [*map(str, words), *options.split(), "--max-steps", "2", "--eval-every", "2", "--log-every", "1"]


WINDOW = {"data2vec-vision": ("--window", "64,64")}
"""Of those that take one size alone."""


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_family_is_inspected_teaches_fills_a_cache_and_predicts(
    kind: str, teacher: Callable[[str], str], few_scenes: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = teacher(kind)
    assert (
        main(
            ["inspect", NETWORK, "--teacher", name, "--head-channels", "8", "--crop-size", "64,64", "--batch-size", "2"]
        )
        == 0
    )
    shown = " ".join(capsys.readouterr().out.split())
    assert ("cannot be trained" in shown) == (kind in SCORING)
    run = ["distill", "--dataset", "toy-scenes", "--teacher", name, "--student", NETWORK, *WINDOW.get(kind, ())]
    assert main(small(*run, "--method", "fakd", "--output", tmp_path / "live")) == 0, capsys.readouterr().err
    cache = ["--method", "cwd", "--teacher-cache", tmp_path / "cache", "--output", tmp_path / "cached"]
    assert main(small(*run, *cache)) == 0, capsys.readouterr().err
    Image.new("RGB", (61, 47), (90, 120, 30)).save(tmp_path / "image.png")
    assert main(["predict", name, str(tmp_path / "image.png"), str(tmp_path / "masks")]) == 0, capsys.readouterr().err
    with Image.open(next((tmp_path / "masks/labels").glob("*.png"))) as mask:
        assert mask.size == (61, 47)


@pytest.mark.parametrize("method", [name for name, kind in METHODS.items() if kind.needs == "features"])
def test_methods_on_features_refuse_them_before_any_work(
    method: str, teacher: Callable[[str], str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = teacher("mask2former")
    words = [
        "distill",
        "--dataset",
        "toy-scenes",
        "--teacher",
        name,
        "--student",
        NETWORK,
        "--method",
        method,
        "--output",
        tmp_path / "run",
    ]
    assert main(small(*words)) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"method '{method}' learns from a teacher's features, and {name} gives scores alone" in said
    assert not (tmp_path / "run").exists()
    assert main(["inspect", NETWORK, "--teacher", name, "--method", method, "--crop-size", "64,64"]) == 1
