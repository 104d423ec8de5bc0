"""Every block of code on every page is run as printed, or held against what exists, with a reason."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import av
import pytest
import yaml
from blocks import ROOT, Block, blocks, check, pages
from PIL import Image
from shell import Shell, run_script
from videos import noise, write_video

import fakd
from fakd import cli
from fakd.data import DATASETS
from fakd.data.sets.toy_scenes import TOY_SCENES, ToyScenes
from fakd.methods import METHODS
from fakd.models import HEADS, create_model

_LONG = "hours on a GPU, or a data set that the repository may not hold"
_TESTS = "the tests and measurements of this repository, which run by themselves"
_CAMVID = "CamVid, which is for research use and not in the repository"

ONLY_CHECKED = {
    ("README.md", "make demo"): "installs everything, and runs this test",
    ("README.md", "pip install ."): "installs from the package index",
    ("README.md", "fakd train --config configs/camvid-small.yaml"): _CAMVID,
    ("README.md", "fakd distill --dataset cityscapes"): _LONG,
    (
        "README.md",
        "fakd export demo/fakd",
    ): "needs the demo's student; docs/export.md, predict.md, share.md have the same",
    ("README.md", "fakd predict demo/fakd"): "needs the demo's student; docs/predict.md has the same",
    (
        "README.md",
        "fakd convert checkpoint.pth",
    ): "needs a checkpoint; tests/commands/test_convert.py has one",
    ("CONTRIBUTING.md", "make check"): "runs this test",
    ("docs/add-a-method.md", '    "feature-cosine": FeatureCosine,'): "a line of a dict; tests/test_add_a_method.py",
    ("docs/add-a-network.md", '    "sum": SumHead,'): "a line of a dict; tests/test_add_a_network.py",
    ("docs/add-a-dataset.md", "from my_dataset"): "reads photographs; tests/test_add_a_dataset.py has some",
    ("docs/add-a-dataset.md", "fakd data check"): "reads photographs; tests/test_add_a_dataset.py has some",
    ("docs/any-model.md", "pip install"): "downloads published networks",
    (
        "docs/any-model.md",
        "student = fakd.ClassifierTap(network",
    ): "of three networks: tests/models/test_classifier_tap.py",
    ("docs/any-model.md", "fakd train --dataset voc2012 --data-root VOC --network linear"): "downloads weights; "
    "tests/training/test_freezing.py trains so",
    ("docs/any-model.md", "from transformers import SwinConfig"): "minutes, and gigabytes: Swin-L",
    ("docs/any-model.md", "fakd distill"): "a published network; tests/training has class maps",
    ("docs/import.md", "pip install"): "downloads data sets; tests/data/sets/test_hub.py has some",
    ("docs/index.md", "pip install"): "installs from the package index; tests/commands/test_demo.py runs the demo",
    ("docs/rasters.md", "pip install"): "needs rasters; tests/training/test_bands.py has some",
    ("docs/rasters.md", "fakd predict"): "needs a raster; tests/evaluation/test_raster_windows.py has some",
    ("docs/rasters.md", "fakd train"): "needs rasters; tests/training/test_bands.py has some",
    ("docs/reliability.md", ""): _TESTS,
    ("docs/scaling.md", "srun"): "needs a cluster; tests/experiments/test_plan.py has a stand-in",
    ("docs/scaling.md", "fakd compare --dataset cityscapes"): _LONG,
    ("docs/scaling.md", "pip install 'fakd[ray]'"): "a cluster; tests/experiments/test_ray_engine.py has one",
    ("docs/scaling.md", "python -m pytest"): _TESTS,
    ("docs/share.md", "fakd share runs/student for-the-hub --push"): "uploads; tests/commands/test_share.py does it "
    "to a server of its own",
    ("docs/teacher-cache.md", "fakd distill --dataset camvid"): _CAMVID,
    ("docs/teacher-cache.md", "python benchmarks/camvid.py"): _CAMVID,
    ("docs/benchmarks/", ""): "measurements, whose figures stand beside them",
    ("docs/tune.md", "pip install"): "hours, and CamVid; tests/commands/test_tune.py searches on toy-scenes",
    ("docs/tracking.md", "pip install"): "CamVid, and an account; tests/training/test_tracker.py has both without",
    ("docs/tutorials/own-data.md", "fakd train --dataset folder --data-root DATA --network fcn"): _CAMVID,
    ("docs/serve.md", "pip install"): "waits for a browser; tests/serve has one",
    ("docs/export.md", "fakd benchmark"): "starts a process for each network; its own tests do",
    ("docs/tutorials/several-gpus.md", "fakd distill"): "starts processes of its own: test_two_processes",
    ("docs/tutorials/several-gpus.md", "torchrun"): "tests/reliability/test_several_processes.py does",
    ("docs/tutorials/several-gpus.md", "fakd compare"): "needs pairs of GPUs",
    ("docs/tutorials/reproduce-the-paper.md", "fakd data prepare"): _LONG,
    ("docs/tutorials/reproduce-the-paper.md", "fakd compare --dataset ade20k"): _LONG,
    ("docs/tutorials/reproduce-the-paper.md", "fakd ablate --table 5 --dataset ade20k"): _LONG,
}
"""Page or folder of pages, and start of a block -> why it is not run. Its commands still go through the real parser."""

_TINY_RUN = "--max-steps 2 --batch-size 2 --eval-every 2 --checkpoint-every 2 --workers 0 --accelerator cpu"
SHORTER = {
    "train": _TINY_RUN,
    "distill": _TINY_RUN,
    "compare": f"{_TINY_RUN} --seeds 1",
    "ablate": f"{_TINY_RUN} --seeds 1",
    "predict": "--workers 0 --device cpu",
    "evaluate": "--workers 0 --device cpu",
    "analyze": "--images 1",
    "report": "--images 1 --search 1",
    "export": "--workers 0",
    "examples/plain_loop.py": "--steps 2 --batch-size 2",
    "docs/figures/bounds.py": "--samples 5 --output bounds.svg",
}
"""Command or script -> options that are added, as the last of its kind counts."""

INSTEAD = {
    "deeplabv3plus-r101": "pspnet/test_resnet",
    "deeplabv3plus-mv2": "pspnet/test_efficientnet",
    "fcn-concat/efficientnet_lite0": "pspnet/test_efficientnet",
    "32": "4",  # images to calibrate with
    "--backbone-weights": None,  # which would be downloaded
    "imagenet": None,
    "max_steps=1000": 'max_steps=2, batch_size=2, workers=0, accelerator="cpu", student="pspnet/test_resnet"',
}
"""Words of commands, and parts of Python, -> what is taken in their place; None leaves them out."""

GIVEN = {
    "README.md": """
import torch
from torch import nn
import fakd
my_model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Conv2d(8, 19, 1))
teacher = fakd.ClassifierTap(nn.Sequential(nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.Conv2d(8, 19, 1)), 19).eval()
images, labels, step = torch.rand(2, 3, 16, 16), torch.randint(19, (2, 16, 16)), 0
my_loss = fakd.functional.cross_entropy
""",
}
"""Page -> what its Python takes for granted."""


def _reason(block: Block) -> str | None:
    """Why a block is only checked."""
    return next((why for (page, start), why in ONLY_CHECKED.items() if _is(block, page, start)), None)


def _is(block: Block, page: str, start: str) -> bool:
    return block.page.startswith(page) and block.start.startswith(start)


EVERY = [block for page in pages() for block in blocks(page)]
CHECKED = [block for block in EVERY if _reason(block)]
RUN = [page for page in pages() if any(b.language in ("bash", "python") and not _reason(b) for b in blocks(page))]


def test_every_block_is_of_a_kind_that_is_known() -> None:
    for block in EVERY:
        assert block.language in ("bash", "python", "text", "json", "toml", "yaml"), f"{block}: {block.language!r}"
        if block.language == "json":
            json.loads(block.code)
        if block.language == "toml":
            tomllib.loads(block.code)
        if block.language == "yaml":
            yaml.safe_load(block.code)


def test_no_reason_is_left_over() -> None:
    for page, start in ONLY_CHECKED:
        assert any(_is(block, page, start) for block in EVERY), f"{page} has no block {start!r}"


@pytest.mark.parametrize("block", CHECKED, ids=str)
def test_what_is_not_run_exists(block) -> None:
    check(block)


@pytest.fixture
def scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let toy-scenes be 40 small images to train on and 4 to validate."""

    def opened(root: Path | None, split: str) -> ToyScenes:
        return ToyScenes(split, count=40 if split == "train" else 4, size=(48, 72))

    monkeypatch.setitem(
        DATASETS, "toy-scenes", replace(TOY_SCENES, base_size=(48, 72), crop_size=(32, 32), open=opened)
    )


@pytest.fixture
def folder(tmp_path: Path, teacher_run: Path) -> Path:
    """What lies where the reader is: the repository, the demo's teacher, and images and a video of the reader's own."""
    home = tmp_path / "reader"
    home.mkdir()
    for name in ("configs", "examples", "docs", "benchmarks"):
        (home / name).symlink_to(ROOT / name)
    shutil.copytree(teacher_run, home / "demo/teacher")
    source = ToyScenes("train", count=24, size=(48, 72))
    for number in range(24):
        image, label = source[number][:2]
        for path, picture in (
            (f"ROOT/images/{number}.png", image.permute(1, 2, 0)),
            (f"ROOT/masks/{number}.png", label % 3),
            *[(f"{place}/{number}.png", image.permute(1, 2, 0)) for place in ("demo/images", "photos") if number < 2],
        ):
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture.numpy()).save(home / path)
    write_video(home / "clip.mp4", noise(26))
    return home


@pytest.fixture
def names_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the methods, heads and data sets that a page adds."""
    for registry in (METHODS, HEADS, DATASETS):
        monkeypatch.setattr(registry, "data", dict(registry.data))


@pytest.fixture
def run_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a comparison's runs happen here, and any teacher teach."""
    sys.path.insert(0, str(ROOT / "tests/analysis"))
    try:
        from grid_runs import RunHere
    finally:
        sys.path.remove(str(ROOT / "tests/analysis"))

    class Trained(RunHere):
        started: list = []  # noqa: RUF012
        fail = staticmethod(lambda config: None)
        before = staticmethod(lambda config: None)
        student = None

    monkeypatch.setattr("fakd.experiments.local_engine.RunProcess", Trained)
    monkeypatch.setattr("fakd.training.run.chance_miou", lambda matrix: -1.0)
    monkeypatch.setattr(cli, "quiet_libraries", lambda: None)


def _film(path: Path) -> None:
    """A video of two frames."""
    with av.open(path, "w") as film:
        stream = film.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 72, 48, "yuv420p"
        for number in range(2):
            picture = Image.new("RGB", (72, 48), (100 * number, 0, 0))
            film.mux(stream.encode(av.VideoFrame.from_image(picture)))
        film.mux(stream.encode(None))


def _run(words: list[str]) -> int:
    """What `fakd` and `python SCRIPT` do: the real thing, shortened."""
    program, *rest = (INSTEAD.get(word, word) for word in words if INSTEAD.get(word, word) is not None)
    name = rest[0]
    added = SHORTER.get(name, "").split()
    try:
        return cli.main([*rest, *added]) if program == "fakd" else run_script(name, [*rest[1:], *added])
    except SystemExit as stopped:  # an option that does not exist
        return int(stopped.code or 0)


@pytest.mark.slow
@pytest.mark.parametrize("page", RUN)
def test_the_blocks_of_a_page(
    page, folder, names_as_before, scenes, run_in_this_process, tmp_path, monkeypatch
) -> None:
    for name in ("runs/teacher", "runs/student"):
        if not any(f"--output {name}" in block.code for block in blocks(page)):  # else the page makes it
            shutil.copytree(folder / "demo/teacher", folder / name)
    for name in {name for block in blocks(page) for name in re.findall(r"(?<![/\w])\w+\.mp4", block.code)}:
        _film(folder / name)
    shell = Shell(tmp_path / "shell", _run)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder / "examples"))
    for block in blocks(page):
        if block.language not in ("bash", "python") or _reason(block):
            continue
        if block.language == "bash":
            shell(block.code, folder)
            continue
        code = block.code
        for part, other in INSTEAD.items():
            code = code.replace(part, other or "") if "=" in part else code
        names = {"__name__": "block"}
        exec(compile(GIVEN.get(page, ""), "given", "exec"), names)
        exec(compile(code, str(block), "exec"), names)


@pytest.mark.slow
def test_two_processes(tmp_path) -> None:
    """The page's command for two processes of the CPU, with a teacher of random weights and two steps."""
    (block,) = (b for b in blocks("docs/tutorials/several-gpus.md") if "--accelerator cpu --devices 2" in b.code)
    teacher = create_model("pspnet/test_resnet", num_classes=12, channels=8)
    fakd.save_model(teacher, tmp_path / "demo/teacher/student.safetensors")
    shims = tmp_path / "bin"
    shims.mkdir()
    options = f"{_TINY_RUN} --batch-size 4 --crop-size 32,32 --allow-bad-teacher"
    (shims / "fakd").write_text(f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/small_fakd.py "$@" {options}\n')
    (shims / "fakd").chmod(0o755)
    environment = {**os.environ, "PATH": f"{shims}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euc", block.code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "runs/two-processes/results.json").read_text())["steps"] == 2
