"""Checkpoints of MMSegmentation, read and written without it."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fakd.files.atomic import written_at_once
from fakd.models.mmseg.weight_names import OWN_ENTRIES, mmseg_names
from fakd.models.presets import PRESETS, preset_config
from fakd.models.segmentor import ModelConfig, Segmentor
from fakd.models.weights_file import listed, mismatches, prefix_advice, read_torch_file, state_dict_of

CLASSIFIER = "decode_head.conv_seg.weight"
"""MMSegmentation's entry of shape (C, A, 1, 1) that says how many classes a network scores."""


def load_mmseg(path: str | Path) -> tuple[Segmentor, dict[str, str]]:
    """Read a checkpoint of MMSegmentation: one of the eight networks of `fakd.models.PRESETS`, any classes.

    Which one it is, and the number of classes, are read off the names and shapes of its entries; entries of the
    auxiliary head may be missing altogether. Nothing in the file is run.

    Args:
        path: a .pth file, published or written by MMSegmentation's own training.

    Returns:
        The network on the CPU in eval mode, and what the file says of its classes: "classes" and "palette" as JSON,
        where it says it.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no checkpoint of one of these networks; the message lists the entries that are missing,
            unexpected or of another shape than in the most similar one.
    """
    path = Path(path)
    content = read_torch_file(path)
    found = state_dict_of(content, path)
    config = _recognise(found, path)
    with torch.random.fork_rng(devices=[]):  # the random weights are overwritten; they must not shift the caller's
        model = Segmentor(config)
    tensors = {ours: found[theirs] for ours, theirs in mmseg_names(model).items()}
    model.load_state_dict(tensors | {name: getattr(model, name) for name in OWN_ENTRIES})
    return model.eval(), _notes(content.get("meta"), config.num_classes)


def save_mmseg(model: Segmentor, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write a network as a checkpoint that MMSegmentation loads; the file at `path` is never seen half-written.

    Args:
        model: a network whose encoder and head MMSegmentation has too.
        path: where to write, usually ending in .pth.
        notes: "classes" and "palette" as JSON, as `load_model` and `load_mmseg` return them.

    Raises:
        ValueError: MMSegmentation has no such backbone.
    """
    path = Path(path)
    state = model.state_dict()
    renamed = {theirs: state[ours].detach().cpu().contiguous() for ours, theirs in mmseg_names(model).items()}
    classes, palette = (json.loads(notes[key]) if notes and key in notes else None for key in ("classes", "palette"))
    described = {key: value for key, value in {"classes": classes, "palette": palette}.items() if value}
    # MMSegmentation 1 reads dataset_meta, earlier versions the names in capitals.
    meta = {"dataset_meta": described, **{key.upper(): value for key, value in described.items()}}
    with written_at_once(path) as temporary:
        torch.save({"meta": meta, "state_dict": renamed}, temporary)


def _recognise(found: Mapping[str, Tensor], path: Path) -> ModelConfig:
    if CLASSIFIER not in found or found[CLASSIFIER].ndim != 4:
        first = ", ".join(list(found)[:5])
        raise ValueError(
            f"{path} is no checkpoint of MMSegmentation: it has no entry {CLASSIFIER!r} of four dimensions. Its "
            f"{len(found)} entries begin with {first}.{prefix_advice(_expected_anywhere(), found)}"
        )
    num_classes = len(found[CLASSIFIER])
    aux = any(name.startswith("auxiliary_head.") for name in found)
    faults = {
        name: mismatches(_expected(name, num_classes, aux), found)
        for name, preset in PRESETS.items()
        if aux <= (preset["aux_channels"] is not None)
    }
    name = min(faults, key=lambda name: len(faults[name]))
    if faults[name]:
        raise ValueError(
            f"{path} is none of {', '.join(PRESETS)}. Most like it is {name} with {num_classes} classes, "
            f"but for {len(faults[name])} entries:{listed(faults[name])}"
        )
    return preset_config(name, num_classes, aux=aux)


def _expected_anywhere() -> set[str]:
    """The names of all entries of all presets' checkpoints."""
    return {name for preset in PRESETS for name in _expected(preset, 1, False)}


@cache
def _expected(name: str, num_classes: int, aux: bool) -> dict[str, Tensor]:
    """The entries of a preset's checkpoint, without memory behind them."""
    with torch.device("meta"):
        model = Segmentor(preset_config(name, num_classes, aux=aux))
    state = model.state_dict()
    return {theirs: state[ours] for ours, theirs in mmseg_names(model).items()}


def _notes(meta: Any, num_classes: int) -> dict[str, str]:
    if not isinstance(meta, Mapping):
        return {}
    described = meta.get("dataset_meta")
    described = described if isinstance(described, Mapping) else {}
    notes = {}
    for key in ("classes", "palette"):
        values = described.get(key) or meta.get(key.upper())
        if isinstance(values, list | tuple) and len(values) == num_classes:
            notes[key] = json.dumps(values)
    return notes
