"""A trained network by whatever a user calls it."""

from pathlib import Path

from fakd.models.foreign import ForeignName, is_foreign, open_foreign
from fakd.models.mmseg.checkpoint import load_mmseg
from fakd.models.mmseg.published import PREFIX, fetch_teacher, find_teacher
from fakd.models.network import HUB_FILE, RUN_FILE, RUN_SUFFIX, Network, load_model
from fakd.models.onnx import SUFFIX, OnnxNetwork, open_onnx
from fakd.models.weights_file import listed, mismatches

MMSEG_SUFFIXES = (".pth", ".pt")
"""Files that are taken for checkpoints of MMSegmentation."""


def names_trained_model(name: str | Path) -> bool:
    """Whether `name` is something for `open_model` rather than for `create_model`."""
    if is_foreign(name):
        return ForeignName.parse(str(name)).trained
    path = Path(name)
    return (
        str(name).startswith(PREFIX)
        or path.suffix in (".safetensors", RUN_SUFFIX, *MMSEG_SUFFIXES)
        or any((path / file).is_file() for file in (RUN_FILE, HUB_FILE))
    )


def open_model(name: str | Path) -> tuple[Network, dict[str, str]]:
    """Load a trained network.

    Args:
        name: a run folder, a shared folder or a .safetensors file of this project; a .ckpt of a run, as best.ckpt, for
            the network that learns in it; a .pth file of MMSegmentation;
            "mmseg:NAME", one of its published teachers, which is downloaded once; or another library's network:
            "torchvision:NAME" as torchvision publishes it, "hf:FOLDER" or "smp:FOLDER" as save_pretrained wrote it, or
            your own weights, as "smp:unet/resnet34=weights.safetensors"; "@PATH" behind these names the classifier.

    Returns:
        The network on the CPU in eval mode, and what is known about its classes.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another network.
        DownloadError: a published teacher could not be downloaded.
        ModuleNotFoundError: the other library is not installed.
    """
    if is_foreign(name):
        return open_foreign(str(name))
    if str(name).startswith(PREFIX):
        model, notes = load_mmseg(fetch_teacher(str(name)))
        return model, notes | {"dataset": find_teacher(str(name)).dataset}
    path = Path(name)
    if path.suffix == SUFFIX:
        raise ValueError(f"{path} is an exported network, which only predicts: name the checkpoint it was made from.")
    return load_mmseg(path) if path.suffix in MMSEG_SUFFIXES else load_model(path)


def open_any(name: str | Path) -> tuple[Network | OnnxNetwork, dict[str, str]]:
    """Load a network that only has to predict: what `open_model` takes, or an .onnx file that `fakd export` wrote.

    Raises:
        ModuleNotFoundError: the file is an .onnx, and onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another network.
        DownloadError: a published teacher could not be downloaded.
    """
    return open_onnx(name) if Path(name).suffix == SUFFIX else open_model(name)


def copy_weights(name: str | Path, model: Network) -> None:
    """Start a network from another's weights: its architecture must be the same but for strides and dropout.

    Args:
        name: as for `open_model`.
        model: the network that is changed.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its entries do not fit the network; the message lists them.
    """
    tensors = open_model(name)[0].state_dict()
    if problems := mismatches(model.state_dict(), tensors):
        raise ValueError(f"the weights of {name} do not fit {model.config}:{listed(problems)}")
    model.load_state_dict(tensors)
