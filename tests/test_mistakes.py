"""The table of mistakes: what people type, and the one line that they are told."""

import pytest

from fakd import cli
from fakd.console import did_you_mean
from fakd.mistakes import KNOWN, as_typed
from fakd.training import DistillConfig

TYPED = {
    # options
    "train --netwrk x": "fakd train has no option --netwrk. Did you mean --network? See fakd train --help.",
    "train --max_step 3": "fakd train has no option --max_step. Did you mean --max-steps?",
    "train --lr 0.1": "--lr. Did you mean --learning-rate?",
    "train --epoch 3": "--epoch. Did you mean --epochs?",
    "train --batch 4": "--batch. Did you mean --batch-size?",
    "train --gpus=2": "--gpus. Did you mean --devices?",
    "compare --gpus 2": "--gpus. Did you mean --devices?",
    "train --data d": "--data. Did you mean --data-root?",
    "data check --data d": "--data. Did you mean --root?",
    "distill --teacher t --backbone b": "--backbone. Did you mean --student?",
    "evaluate m --accelerator cpu": "--accelerator. Did you mean --device?",
    "distill --teacher t --strength 1": "--strength. Did you mean --options.strength?",
    "train -x 3": "fakd train has no option -x. See fakd train --help.",
    # values
    "train --batch_size many": "--batch-size: expected a whole number, got 'many'.",
    "train --epochs many": "--epochs: expected a number, got 'many'.",
    "train --resume=maybe": "--resume: expected true or false, got 'maybe'.",
    "train --precision 64": "--precision: expected 32-true, 16-mixed or bf16-mixed, got '64'.",
    "train --precision bf16": "got 'bf16'. Did you mean bf16-mixed?",
    "train --output-stride 7": "--output-stride: expected 8, 16 or 32, got '7'.",
    "train --crop-size 3,4,5": "--crop-size: expected a height and a width in pixels, as 360x480 or 360,480, or one "
    "number for a square; got '3,4,5'.",
    "train --scale 1": "--scale: expected two numbers, as 0.5,2.0; got '1'.",
    "distill --teacher t --options 0.5": "--options: expected a name and a value, as --options.NAME VALUE, got '0.5'.",
    "train --network": "--network needs a value after it, and none is given.",
    "train --compile maybe": "fakd train does not know what 'maybe' is for: options have names, see fakd train --help.",
    "train --config no-such.yaml": "--config no-such.yaml: no such file.",
    # commands
    "tran": "there is no command fakd tran. Did you mean train? See fakd --help.",
    "test": "there is no command fakd test. Did you mean evaluate?",
    "eval": "there is no command fakd eval. Did you mean evaluate?",
    "xyz": "There are demo, train, distill, evaluate,",
    "data chek": "there is no command fakd data chek. Did you mean check?",
    "data": "say which command: fakd data prepare, fakd data import, fakd data check, fakd data show.",
    "--teacher t": "the command comes before its options, as in: fakd distill --teacher toy-scenes",
    "distill": "fakd distill needs --teacher, and it is not given. As in: fakd distill --teacher toy-scenes",
    "predict model": "fakd predict needs IMAGES, and it is not given. As in: fakd predict runs/",
}
MEANT = {
    # what fits no data set, method or network
    "train --dataset ade": "no data set 'ade'; choose one of ade20k, camvid, cityscapes, folder, pascal-context, "
    "toy-scenes, voc2012, or hf:NAME. Did you mean ade20k?",
    "distill --teacher toy-scenes --method cdw": "fakd, fakd-pixel. Did you mean cwd?",
    "methods fkad": "Did you mean fakd?",
    "distill --teacher toy-scenes --options.strenght 1": "detach_classifier, confidence, bound. Did you mean strength?",
    "train --network pspnet-r10": "as HEAD/BACKBONE. Did you mean pspnet-r101?",
    "train --network psp/resnet18": "Did you mean pspnet?",
    "train --network pspnet/resnet18v1c": "did you mean resnet18_v1c",
    "train --network torchvision:fcn_resnet5": "Did you mean fcn_resnet50?",
    "distill --teacher toy-scene": "or the folder of a finished run. Did you mean toy-scenes?",
    "distill --teacher mmseg:fcn_hr48_ade20k": "no published teacher 'fcn_hr48_ade20k'; did you mean fcn_hr48_4xb4",
    "train --recipe pepar": "there is no recipe 'pepar'; choose one of paper, own, segformer, see `fakd recipes`. "
    "Did you mean paper?",
    "train --optimizer adamm": "--optimizer must be one of timm's, as sgd or adamw, got 'adamm'. Did you mean adam",
    "paper --dataset citiscapes": "Did you mean cityscapes?",
    # what is out of range, or contradicts
    "train --max_steps 0": "--max-steps must be 1 or more, got 0.",
    "train --epochs 3 --max-steps 4": "--epochs 3 and --max-steps 4 both say how long the run is: give one of them.",
    "train --dropout 1": "--dropout must be at least 0 and below 1, got 1.0.",
}


@pytest.fixture
def told(capsys, monkeypatch, tmp_path):
    """The exit status of a command line, and the one line on standard error."""
    monkeypatch.setattr(cli, "quiet_libraries", lambda: None)
    monkeypatch.chdir(tmp_path)

    def run(words: str) -> tuple[int, str]:
        try:
            status = cli.main(words.split())
        except SystemExit as stopped:
            status = int(str(stopped.code))
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert said.out == ""
        assert line.startswith("error: ")
        assert list(tmp_path.iterdir()) == []
        return status, line.removeprefix("error: ")

    return run


@pytest.mark.parametrize("words", TYPED)
def test_what_cannot_be_parsed(words, told) -> None:
    status, line = told(words)
    assert status == 2
    assert TYPED[words] in line


@pytest.mark.parametrize("words", MEANT)
def test_what_cannot_be(words, told) -> None:
    trains = words.startswith(("train", "distill")) and "--dataset" not in words
    status, line = told(f"{words} --dataset toy-scenes" if trains else words)
    assert status == 1
    assert MEANT[words] in line


def test_wrong_words_of_a_file_are_said_with_it(tmp_path, capsys) -> None:
    file = tmp_path / "c.yaml"
    for text, said in {"lr: 1": "no option --lr (in", "batch_size: x": "--batch-size (in"}.items():
        file.write_text(text)
        with pytest.raises(SystemExit):
            cli.main(["train", "--config", str(file)])
        assert f"{said} {file})" in capsys.readouterr().err


@pytest.mark.parametrize("name", KNOWN)
def test_known_words_are_no_options_but_stand_for_one(name) -> None:
    known = {*DistillConfig.__dataclass_fields__, "network", "config"}
    assert name.replace("-", "_") not in known
    assert KNOWN[name].partition(".")[0].replace("-", "_") in known


@pytest.mark.parametrize(
    ("message", "typed"),
    [
        ("scale must be two factors", "--scale must be two factors"),
        ("the batch_size and batch_size.", "the --batch-size and --batch-size."),
        ("runs/batch_size/x.batch_size is 'batch_size'", "runs/batch_size/x.batch_size is 'batch_size'"),
        ("no such --batch_size", "no such --batch-size"),
    ],
)
def test_python_names_become_options(message, typed) -> None:
    assert as_typed(message, ["scale", "batch_size"], first=True) == typed


def test_first_words_of_other_errors_stay() -> None:
    assert as_typed("scale must be", ["scale"], first=False) == "scale must be"
    assert did_you_mean("", ["a"]) == ""
