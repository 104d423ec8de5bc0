"""A dry run: what the networks are, and where the loss attaches, before any data is touched."""

from dataclasses import dataclass
from typing import Any

import torch
from rich.table import Table
from torch.utils.flop_counter import FlopCounterMode

from fakd.console import console, say
from fakd.methods import create_method, method_options
from fakd.models import Segmentor, create_model, load_model
from fakd.models.checkpoint import is_model_file


@dataclass
class InspectConfig:
    """Show what networks are and where a method attaches to them, without data or training."""

    network: str
    """Network or student: a preset (pspnet-r18), HEAD/BACKBONE, a run folder or a .safetensors file."""
    teacher: str | None = None
    """Teacher to show beside it, named in the same ways."""
    method: str = "fakd"
    """Method whose terms are computed once between the two."""
    num_classes: int | None = None
    """Classes of networks that are not read from files; by default those of the other network, or 150."""
    output_stride: int | None = None
    """Image pixels per cell of the encoder's last map, for networks that are not read from files; by default 8."""
    head_channels: int | None = None
    """Width of the decode head, in channels, for networks that are not read from files."""
    crop_size: tuple[int, int] = (512, 512)
    """Height and width in pixels of the image that is run through."""


def inspect_networks(config: InspectConfig) -> dict[str, Any]:
    """Print a table of both networks, and the method's terms on random numbers.

    Returns:
        The figures of the table by network.

    Raises:
        ValueError: a name is unknown, or student and teacher do not fit together.
    """
    names = {"student": config.network} if config.teacher else {"network": config.network}
    if config.teacher:
        names["teacher"] = config.teacher
    method_options(config.method)  # fails at once where there is no such method
    networks = _build(names, config)
    images = torch.rand(2, 3, *config.crop_size)
    figures = {role: _measure(network, images) for role, network in networks.items()}
    table = Table("", *(f"{role}\n{names[role]}" for role in networks))
    for row in next(iter(figures.values())):
        table.add_row(row, *(str(figures[role][row]) for role in networks))
    console.print(table)
    if config.teacher:
        student, teacher = networks["student"].train(), networks["teacher"].eval()
        method = create_method(config.method, student, teacher, max_steps=2)
        labels = torch.randint(student.num_classes, (2, *config.crop_size))
        with torch.no_grad():
            taught = teacher(images)
            # the last step of the ramp, where every part of a method is at work
            terms = method(student(images), taught, labels, step=1)
        if not terms:
            say(f"{config.method} has no term: the student learns from the labels alone")
            return figures
        resized = "" if taught.logits.shape == student(images).logits.shape else ", the teacher's resized to them"
        say(f"{config.method} attaches to the student's logits before upsampling{resized}")
        for name, value in terms.items():
            say(f"term {name}: {value.item():.4f} on random images and labels")
    return figures


def _build(names: dict[str, str], config: InspectConfig) -> dict[str, Segmentor]:
    read = {role: load_model(name)[0] for role, name in names.items() if is_model_file(name)}
    given = [name for name in ("num_classes", "output_stride", "head_channels") if getattr(config, name) is not None]
    if given and len(read) == len(names):
        raise ValueError(f"{', '.join(given)} cannot change networks that are read from files; leave it out.")
    classes = config.num_classes or next((network.num_classes for network in read.values()), 150)
    return {
        role: read[role]
        if role in read
        else create_model(
            name, num_classes=classes, output_stride=config.output_stride or 8, channels=config.head_channels
        )
        for role, name in names.items()
    }


def _measure(network: Segmentor, images: torch.Tensor) -> dict[str, Any]:
    height, width = images.shape[-2:]
    with torch.no_grad():
        auxiliary = network.train()(images).aux
        counter = FlopCounterMode(display=False)
        with counter:
            output = network.eval()(images[:1])
    classifier = network.classifier
    return {
        "parameters": f"{sum(parameter.numel() for parameter in network.parameters()):,}",
        "without auxiliary head": f"{_inference_parameters(network):,}",
        f"GMACs at {height}x{width}": f"{counter.get_total_flops() / 2e9:.2f}",
        "stride of the logits": f"{height / output.logits.shape[-2]:g}",
        "logits (C, h, w)": tuple(output.logits.shape[1:]),
        "features (A, h, w)": tuple(output.features.shape[1:]),
        "auxiliary logits": None if auxiliary is None else tuple(auxiliary.shape[1:]),
        "classifier": f"1x1, {classifier.in_channels} -> {classifier.out_channels}",
    }


def _inference_parameters(network: Segmentor) -> int:
    return sum(parameter.numel() for name, parameter in network.named_parameters() if not name.startswith("aux_head."))
