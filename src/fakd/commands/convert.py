"""The command that translates checkpoints between this project and MMSegmentation."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

from fakd.console import say
from fakd.data import get_dataset, meant_dataset
from fakd.data.class_names import notes_of_dataset
from fakd.models.by_name import open_model
from fakd.models.mmseg.checkpoint import save_mmseg
from fakd.models.network import save_model
from fakd.models.segmentor import Segmentor

_SUFFIX = {"fakd": ".safetensors", "mmseg": ".pth"}


@dataclass
class ConvertConfig:
    """Translate a checkpoint of MMSegmentation into this project's form, or the other way."""

    source: str
    """Trained network: a .pth checkpoint of MMSegmentation, mmseg:NAME for a published one, a .safetensors file,
    toy-scenes, which comes with the package, or a run folder; or one of another library, as torchvision:NAME,
    smp:FOLDER or hf:NAME."""
    target: Path
    """File to write: .safetensors, or .pth with --to mmseg."""
    _: KW_ONLY
    to: Literal["fakd", "mmseg"] = "fakd"
    """Form to write: fakd, or mmseg for MMSegmentation's names of the entries."""
    dataset: str | None = None
    """Data set whose class names and colours to store; by default those that the source brings."""
    data_root: Path | None = None
    """Folder of your own images and masks, whose class names and colours to store."""
    overwrite: bool = False
    """Replace the target if it exists."""


def convert(config: ConvertConfig) -> Path:
    """Read a network in one form and write it in the other; weights are copied bit by bit.

    Returns:
        The file that was written.

    Raises:
        FileNotFoundError: there is no source.
        FileExistsError: the target exists.
        DataError: the data set's classes cannot be read.
        ValueError: the source is none of the networks that both sides have, or does not fit the data set.
    """
    target = Path(config.target)
    if target.suffix != _SUFFIX[config.to]:
        raise ValueError(
            f"with --to {config.to} the target must end in {_SUFFIX[config.to]}, got {target}. The other form is "
            f"--to {'fakd' if config.to == 'mmseg' else 'mmseg'}."
        )
    if target.exists() and not config.overwrite:
        raise FileExistsError(f"{target} exists. Choose another name, or give --overwrite.")
    dataset = meant_dataset(config.dataset, config.data_root)
    spec = get_dataset(dataset, config.data_root) if dataset else None
    model, notes = open_model(config.source)
    if spec is not None:
        # The size that training images were fitted into stays the network's own.
        own = {"base_size": notes["base_size"]} if "base_size" in notes else {}
        notes = notes | notes_of_dataset(config.source, model.num_classes, notes, spec, None) | own
    if config.to == "mmseg":
        if not isinstance(model, Segmentor):
            raise ValueError(f"MMSegmentation has no network {model.config.network}: leave out --to mmseg.")
        save_mmseg(model, target, notes)
    else:
        save_model(model, target, notes)
    size = f"{target.stat().st_size / 1e6:.1f} MB"
    say(f"written to {target}: {model.config.network}, {model.num_classes} classes, {size}")
    return target
