"""A dry run: what the networks are, and where the loss attaches, before any data is touched."""

from dataclasses import KW_ONLY, asdict, dataclass
from typing import Any

import torch
from rich.table import Column, Table

from fakd.console import console, say
from fakd.methods import create_method, method_options
from fakd.models import Network, create_model, open_model
from fakd.models.cost import Cost, measure_cost
from fakd.models.names import names_trained_model
from fakd.options import Size
from fakd.types import scores_alone

LARGEST_CROP = 128
"""Side in pixels beyond which the method's terms are not computed."""
CAPTION = "Memory is what float32 tensors hold; kernels' workspaces, a teacher and a method's terms come on top."
RESIZED = ", the teacher's resized to them"


@dataclass
class InspectConfig:
    """Show what networks are and where a method attaches to them, without data or training."""

    network: str
    """Network or student: a preset (pspnet-r18), HEAD/BACKBONE, or a trained one: a run folder, a .safetensors file, a
    .pth checkpoint of MMSegmentation, mmseg:NAME, or toy-scenes, which comes with the package."""
    teacher: str | None = None
    """Teacher to show beside it, named in the same ways."""
    _: KW_ONLY
    method: str = "fakd"
    """Method whose terms are computed once between the two."""
    num_classes: int | None = None
    """Classes of networks that are not read from files; by default those of the other network, or 150."""
    output_stride: int | None = None
    """Image pixels per cell of the encoder's last map, for networks that are not read from files; by default their
    own."""
    head_channels: int | None = None
    """Width of the decode head, in channels, for networks that are not read from files."""
    crop_size: Size = (512, 512)
    """Height and width in pixels of the image that is run through."""
    batch_size: int = 16
    """Crops per training step, for its memory."""


def inspect_networks(config: InspectConfig) -> dict[str, dict[str, Any]]:
    """Print a table of both networks, and the method's terms on random numbers.

    Returns:
        The figures of `fakd.models.cost.Cost` by network: "student" and "teacher", or "network" if it is alone.

    Raises:
        ValueError: a name is unknown, a size is out of range, or student and teacher do not fit together.
    """
    alone = {"network": config.network}
    names = {"student": config.network, "teacher": config.teacher} if config.teacher else alone
    method_options(config.method)  # fails at once where there is no such method
    networks = _build(names, config)
    costs = {role: measure_cost(network, config.crop_size, config.batch_size) for role, network in networks.items()}
    columns = {role: _describe(networks[role], cost, config) for role, cost in costs.items()}
    table = Table(Column(no_wrap=True), caption=CAPTION, caption_justify="left")
    for role, name in names.items():
        table.add_column(f"{role}\n{name}", overflow="fold")
    for row in next(iter(columns.values())):
        table.add_row(row, *(column[row] for column in columns.values()))
    console.print(table)
    if config.teacher:
        same = costs["student"].logits_shape == costs["teacher"].logits_shape
        _say_terms(networks["student"], networks["teacher"], config, resized="" if same else RESIZED)
    return {role: asdict(cost) for role, cost in costs.items()}


def _build(names: dict[str, str], config: InspectConfig) -> dict[str, Network]:
    read = {role: open_model(name)[0] for role, name in names.items() if names_trained_model(name)}
    given = [name for name in ("num_classes", "output_stride", "head_channels") if getattr(config, name) is not None]
    if given and len(read) == len(names):
        raise ValueError(f"{', '.join(given)} cannot change networks that are read from files; leave it out.")
    classes = config.num_classes
    if classes is None:
        classes = next((network.num_classes for network in read.values()), 150)
    return {
        role: read[role]
        if role in read
        else create_model(name, num_classes=classes, output_stride=config.output_stride, channels=config.head_channels)
        for role, name in names.items()
    }


def _describe(network: Network, cost: Cost, config: InspectConfig) -> dict[str, str]:
    height, width = config.crop_size
    return {
        "parameters": f"{cost.parameters:,}",
        "without auxiliary head": f"{cost.inference_parameters:,}",
        f"GMACs at {height}x{width}": f"{cost.macs / 1e9:,.2f}",
        "stride of the logits": f"{cost.stride:g}",
        "logits (C, h, w)": str(cost.logits_shape),
        "features (A, h, w)": "none" if scores_alone(network) else str(cost.features_shape),
        "auxiliary logits": str(cost.aux_shape or "none"),
        "classifier": "none" if scores_alone(network) else _classifier(network),
        "memory, inference of 1 image": _bytes(cost.inference_memory),
        f"memory, training step of {config.batch_size} images": "cannot be trained"
        if cost.training_memory is None
        else _bytes(cost.training_memory),
    }


def _classifier(network: Network) -> str:
    found = network.classifier
    return f"{'x'.join(map(str, found.kernel_size))}, {found.in_channels} -> {found.out_channels}"


def _bytes(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"


def _say_terms(student: Network, teacher: Network, config: InspectConfig, resized: str) -> None:
    # The values are of random numbers whatever the size, so a small crop of them says as much and takes no minutes.
    height, width = (min(side, LARGEST_CROP) for side in config.crop_size)
    method = create_method(config.method, student.train(), teacher.eval(), max_steps=2)
    images, labels = torch.rand(2, 3, height, width), torch.randint(student.num_classes, (2, height, width))
    with torch.no_grad():
        # the last step of the ramp, where every part of a method is at work
        terms = method(student(images), teacher(images), labels, step=1, images=images)
    if not terms:
        say(f"{config.method} has no term: the student learns from the labels alone")
        return
    say(f"{config.method} attaches to the student's logits before upsampling{resized}")
    for name, value in terms.items():
        say(f"term {name}: {value.item():.4f} on random images and labels of {height}x{width}")
