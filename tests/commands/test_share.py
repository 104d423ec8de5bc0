"""A run becomes a folder to give away; what its card says is what the run's files say."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml
from hub_server import HubServer
from huggingface_hub import HfApi, ModelCard
from tiny import NETWORK, SETTINGS, SMALL

import fakd
from fakd.analysis.protocol import without_folders
from fakd.cli import main, parse
from fakd.commands import share as command
from fakd.commands.share import ShareConfig, share
from fakd.data import DATASETS
from fakd.training import DistillConfig, distill
from fakd.training.teacher import load_teacher


@pytest.fixture(scope="module")
def run(teacher_run, tmp_path_factory) -> Path:
    """A student, seed 0, beside its teacher and beside runs of seeds 1 and 2 whose scores are made up."""
    root = tmp_path_factory.mktemp("home of ann")
    shutil.copytree(teacher_run, root / "teacher")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "toy-scenes", SMALL)
        distill(
            DistillConfig(
                teacher=str(root / "teacher"),
                student=NETWORK,
                output=root / "fakd-0",
                options={"strength": 0.5},
                allow_bad_teacher=True,
                **SETTINGS,
            )
        )
    for seed, miou in ((1, 20.0), (2, 40.0)):
        _another(root / "fakd-0", root / f"fakd-{seed}", {"seed": seed}, {"mIoU": miou})
    _rewrite(root / "fakd-0" / "results.json", {"mIoU": 30.0})
    return root / "fakd-0"


def _rewrite(file: Path, changes: dict) -> None:
    content = yaml.safe_load(file.read_text()) | changes
    file.write_text(json.dumps(content) if file.suffix == ".json" else yaml.safe_dump(content, sort_keys=False))


def _another(run: Path, target: Path, options: dict, results: dict) -> None:
    shutil.copytree(run, target)
    _rewrite(target / "config.yaml", options)
    _rewrite(target / "results.json", results)


@pytest.fixture
def folder(run, tmp_path) -> Path:
    return share(ShareConfig(run, tmp_path / "my-network"))


@pytest.fixture
def card(folder) -> str:
    return (folder / "README.md").read_text()


def test_the_folder_is_a_network_that_every_reader_reads(run, folder) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    model, notes = fakd.load_model(run)
    for found in (fakd.Segmentor.from_pretrained(folder), fakd.load_model(folder)[0]):
        assert all((found.state_dict()[name] == tensor).all() for name, tensor in model.state_dict().items())
        assert found.notes == notes
    assert json.loads(notes["classes"])[0] == "road"


def test_a_shared_folder_teaches(folder, distill_config) -> None:
    assert load_teacher(str(folder), distill_config(teacher=folder)).network.num_classes == 12


def test_the_hub_reads_the_head_of_the_card(folder) -> None:
    data = ModelCard.load(folder / "README.md").data
    assert data.library_name == "fakd"
    assert data.license == "other"
    assert {result.metric_type: result.metric_value for result in data.eval_results}["mean_iou"] == 30.0
    assert {result.dataset_name for result in data.eval_results} == {"toy-scenes"}


def test_the_card_says_scores_with_seeds(run, card) -> None:
    assert "**mIoU 30.00 %**" in card
    assert "| 0, this network | 30.00 |" in card
    assert "| 1 | 20.00 |" in card
    assert "| mean ± sd | 30.00 ± 10.00 |" in card  # of 20, 30, 40
    assert "| fakd | 3 | 30.00 ± 10.00 |" in card or "| fakd strength=0.5 | 3 | 30.00 ± 10.00 |" in card
    results = json.loads((run / "results.json").read_text())
    for name, value in results["IoU"].items():
        assert f"| {name} | {'-' if value is None else f'{value:.2f}'} |" in card


def test_the_card_says_the_protocol(run, card) -> None:
    results = json.loads((run / "results.json").read_text())
    for words in (
        f"{results['parameters']:,} parameters",
        "`fakd` with strength 0.5",
        f"teacher | `pspnet/test_resnet.r160_in1k`: mIoU {results['teacher']['mIoU']:.2f} %",
        "crops | 32x32, 2 in a step",
        "steps | 4 |",
        "learning rate 0.01",
        "fitted into 48x72",
        "torch ",
    ):
        assert words in card


@pytest.mark.parametrize("head", ["Data", "Protocol", "Results", "Made by", "Intended use", "Limits"])
def test_the_card_has_every_part(card, head) -> None:
    part = card.partition(f"## {head}\n")[2].partition("\n## ")[0]
    assert len(part.strip()) > 40


def test_limits_follow_from_the_run(run, card) -> None:
    results = json.loads((run / "results.json").read_text())
    poor = [name for name, value in results["IoU"].items() if value is not None and value < 10]
    assert f"below 10 %: {', '.join(poor)}." in card
    assert "trained for 4 steps" in card
    assert "One seed" not in card


def test_the_commands_are_real_and_keep_the_authors_folders_to_themselves(run, card) -> None:
    assert str(run.parent) not in card
    lines = card.partition("```bash\n")[2].partition("```")[0].splitlines()
    assert [line.split()[1] for line in lines] == ["train", "distill"]
    config = parse(shlex.split(lines[1])[1:])[1]
    assert config.options == {"strength": 0.5}
    assert str(config.teacher) == "teacher"


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("/home/me/runs/t", "t"),
        ("smp:unet/resnet34=/home/me/secret/t.pth", "smp:unet/resnet34=t.pth"),
        ("hf:/home/me/secret/segformer", "hf:segformer"),
        ("runs/t", "runs/t"),
        ("pspnet/resnet18_v1c", "pspnet/resnet18_v1c"),
        ("--crop_size=96,96", "--crop_size=96,96"),
    ],
)
def test_absolute_paths_are_cut_wherever_they_stand(word, expected) -> None:
    assert without_folders(word) == expected


def test_the_licence_of_the_data_is_the_authors_to_say(run, folder, card, tmp_path, capsys) -> None:
    assert "**TODO: the licence of the data.**" in card
    told = share(ShareConfig(run, tmp_path / "told", data_licence="drawn by me | CC0 <b>"))
    said = (told / "README.md").read_text()
    assert "TODO" not in said
    assert "to-be-filled-in" in card
    assert "to-be-filled-in" not in said
    assert "drawn by me | CC0 &lt;b&gt;" in said


def test_one_seed_is_said(run, tmp_path) -> None:
    _another(run, tmp_path / "alone/run", {}, {})
    card = (share(ShareConfig(tmp_path / "alone/run", tmp_path / "out")) / "README.md").read_text()
    assert "only run of its kind" in card
    assert "One seed" in card


def test_others_are_looked_for_where_it_is_said_and_damaged_ones_named(run, tmp_path, capsys) -> None:
    _another(run, tmp_path / "alone/run", {}, {})
    _another(run, tmp_path / "many/broken", {}, {})
    (tmp_path / "many/broken/results.json").write_text("{")
    _another(run, tmp_path / "many/seven", {"seed": 7}, {"mIoU": 50.0})
    _another(run, tmp_path / "many/other-data", {"dataset": "camvid", "seed": 8}, {})
    share(ShareConfig(tmp_path / "alone/run", tmp_path / "out", beside=tmp_path / "many"))
    card = (tmp_path / "out/README.md").read_text()
    assert "| 7 | 50.00 |" in card
    assert "| 8 |" not in card
    assert "left out" in capsys.readouterr().out


def test_a_network_trained_on_labels(teacher_run, tmp_path) -> None:
    card = (share(ShareConfig(teacher_run, tmp_path / "out")) / "README.md").read_text()
    assert "trained on labels alone" in card
    assert "| teacher |" not in card


def test_names_of_classes_are_no_markup(run, tmp_path) -> None:
    _another(run, tmp_path / "odd/run", {}, {})
    results = json.loads((tmp_path / "odd/run/results.json").read_text())
    odd = "<script>|`x`"
    for score in ("IoU", "acc"):
        results[score] = {odd: 1.0, **results[score]}
    (tmp_path / "odd/run/results.json").write_text(json.dumps(results))
    card = (share(ShareConfig(tmp_path / "odd/run", tmp_path / "out")) / "README.md").read_text()
    assert "<script>" not in card
    assert r"| &lt;script&gt;\|\`x\` | 1.00 |" in card


def test_mistakes_are_said(run, tmp_path, capsys) -> None:
    assert main(["share", str(tmp_path / "none"), str(tmp_path / "out")]) == 1
    assert "is no run" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    assert main(["share", str(run), str(tmp_path / "full")]) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    assert main(["share", str(run), str(tmp_path / "full"), "--overwrite"]) == 0
    assert (tmp_path / "full/mine.txt").read_text() == "mine"
    (tmp_path / "half").mkdir()
    (tmp_path / "half/config.yaml").write_text((run / "config.yaml").read_text())
    assert main(["share", str(tmp_path / "half"), str(tmp_path / "out")]) == 1
    assert "finished" in capsys.readouterr().err


@pytest.fixture
def hub() -> Iterator[HubServer]:
    server = HubServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


TOKEN = "hf_aSecretThatNobodySees"
PUSH_AND_LOAD = """
import sys
from fakd import Segmentor
from fakd.cli import main
from fakd.data import DATASETS
status = main(["share", sys.argv[1], sys.argv[2], "--push", "ann/streets", "--overwrite"])
if status == 0:
    Segmentor.from_pretrained("ann/streets").save_pretrained(sys.argv[2] + "-again")
sys.exit(status)
"""


def _push(hub: HubServer, run: Path, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HOME": str(tmp_path / "home")}
    environment |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", **variables}
    words = [sys.executable, "-c", PUSH_AND_LOAD, str(run), str(tmp_path / "out")]
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "out/private.txt").write_text("not for others")
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_push_and_load_by_name(hub, run, tmp_path) -> None:
    done = _push(hub, run, tmp_path)
    assert done.returncode == 0, done.stderr
    assert hub.created[0]["name"] == "streets"
    created = hub.created[0]
    assert created.get("visibility") == "private" or created.get("private") is True  # by huggingface_hub's version
    written = ("README.md", "config.json", "model.safetensors")
    assert hub.files["ann/streets"] == {name: (tmp_path / "out" / name).read_bytes() for name in written}
    assert 'Segmentor.from_pretrained("ann/streets")' in hub.files["ann/streets"]["README.md"].decode()
    assert f"Bearer {TOKEN}" in hub.tokens
    again = fakd.load_model(f"{tmp_path / 'out'}-again")[0].state_dict()
    assert all((again[name] == tensor).all() for name, tensor in fakd.load_model(run)[0].state_dict().items())
    assert "TODO" in done.stdout
    _no_token(done, tmp_path)


def test_a_push_that_is_refused(hub, run, tmp_path, monkeypatch, capsys) -> None:
    hub.refuse = True
    monkeypatch.setattr(command, "HfApi", partial(HfApi, hub.url, TOKEN))
    assert main(["share", str(run), str(tmp_path / "out"), "--push", "ann/streets", "--public"]) == 1
    said = capsys.readouterr()
    assert "ann/streets could not be uploaded" in said.err
    assert "hf auth login" in said.err
    assert TOKEN not in said.out + said.err
    assert fakd.Segmentor.from_pretrained(tmp_path / "out")


def test_without_push_nothing_is_uploaded(run, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(command, "HfApi", None)  # an upload would fail
    share(ShareConfig(run, tmp_path / "out"))
    assert (tmp_path / "out/model.safetensors").is_file()


def _no_token(done: subprocess.CompletedProcess[str], tmp_path: Path) -> None:
    assert TOKEN not in done.stdout + done.stderr
    assert not any(TOKEN.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
