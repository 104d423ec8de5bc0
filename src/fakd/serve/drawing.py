"""Comparisons as pictures and as HTML."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from fakd.data.palette import Palette, overlay
from fakd.functional.maps import resize_labels
from fakd.serve.pair import Comparison

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) RGB."""

LARGEST, SMALLEST = 1280, 640
"""Longest side in pixels of the pictures on the page; smaller ones are enlarged by a whole number."""
DIFFERENT = (214, 0, 120)
"""Where the two disagree: a colour that the grey around it cannot have."""


@dataclass(frozen=True)
class Drawing:
    """A comparison at the size of the page."""

    image: Tensor
    student: Tensor
    teacher: Tensor | None


def at_page_size(comparison: Comparison) -> Drawing:
    """Shrink large pictures, and enlarge small ones."""
    height, width = comparison.image.shape[-2:]
    longest = max(height, width)
    factor = LARGEST / longest if longest > LARGEST else max(1, SMALLEST // longest)
    size = [max(1, round(height * factor)), max(1, round(width * factor))]
    how = F.InterpolationMode.BILINEAR if factor < 1 else F.InterpolationMode.NEAREST
    image = F.resize_image(comparison.image, size, interpolation=how, antialias=True)

    def resized(labels: Tensor) -> Tensor:
        return resize_labels(labels.unsqueeze(0), size)[0]

    teacher = comparison.teacher
    return Drawing(image, resized(comparison.student.labels), None if teacher is None else resized(teacher.labels))


def slider_pictures(
    drawing: Drawing, palette: Palette, opacity: float, hide: Sequence[int] = ()
) -> tuple[Picture, Picture]:
    """The two sides of the slider: student and teacher, or without a teacher the image and the student."""
    student = overlay(drawing.image, drawing.student, palette, opacity, hide).numpy()
    if drawing.teacher is None:
        return drawing.image.permute(1, 2, 0).numpy(), student
    return student, overlay(drawing.image, drawing.teacher, palette, opacity, hide).numpy()


def agreement_map(image: Tensor, student_labels: Tensor, teacher_labels: Tensor) -> Picture:
    """Paint the pixels where two masks differ; the others show the image in pale grey.

    Args:
        image: (3, H, W) uint8 RGB.
        student_labels: (H, W) class indices.
        teacher_labels: (H, W) class indices.
    """
    grey = F.rgb_to_grayscale(image, num_output_channels=3).permute(1, 2, 0)
    pale = 128 + grey // 2
    different = (student_labels != teacher_labels).unsqueeze(-1)
    picture: Picture = torch.where(different, torch.tensor(DIFFERENT, dtype=torch.uint8), pale).numpy()
    return picture


def legend(comparison: Comparison, classes: Sequence[str], palette: Palette, hide: Sequence[int] = ()) -> str:
    """A table of the classes in either mask, largest first: colour, name and share of the pixels in both."""
    answers = {"student": comparison.student, "teacher": comparison.teacher}
    columns = {name: answer.shares.tolist() for name, answer in answers.items() if answer is not None}
    most = [max(shares) for shares in zip(*columns.values(), strict=True)]
    shown = sorted((index for index in range(len(classes)) if most[index] > 0), key=lambda index: -most[index])

    def swatch(index: int) -> str:
        return "transparent" if index in hide else _hex(palette[index])

    heads = "".join(f'<th scope="col" class="share">{name}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row"><span class="swatch" style="background:{swatch(index)}"></span>'
        f"{escape(classes[index])}</th>"
        + "".join(_share(shares[index], _hex(palette[index])) for shares in columns.values())
        + "</tr>"
        for index in shown
    )
    absent = len(classes) - len(shown)
    others = f'<p class="note">{absent} other class{"es are" if absent > 1 else " is"} not seen.</p>' if absent else ""
    return (
        '<table class="legend"><caption>Share of the pixels</caption>'
        f'<thead><tr><th scope="col">class</th>{heads}</tr></thead><tbody>{rows}</tbody></table>{others}'
    )


def figures(comparison: Comparison, name: str = "") -> str:
    """Agreement and the latency of both, in words and numbers; and which image that is about."""
    student, teacher = comparison.student, comparison.teacher
    passes = f"{student.passes} passes" if student.passes > 1 else "1 pass"
    cards = [("student", f"{student.milliseconds:.1f} ms", f"median of {passes}")]
    if teacher is not None and comparison.agreement is not None:
        ratio = teacher.milliseconds / student.milliseconds
        cards.append(("teacher", f"{teacher.milliseconds:.1f} ms", f"{ratio:.1f} times the student's"))
        cards.append(("agreement", f"{100 * comparison.agreement:.1f} %", "of the pixels have the same class"))
    height, width = comparison.image.shape[-2:]
    cards.append(("image", f"{width} &times; {height}", f"pixels {escape(name)}"))
    return '<div class="figures">' + "".join(_card(*card) for card in cards) + "</div>"


def _card(title: str, value: str, note: str) -> str:
    return (
        f'<div class="figure {title}"><span class="title">{title}</span><span class="value">{value}</span>'
        f'<span class="note">{note}</span></div>'
    )


def _share(share: float, colour: str) -> str:
    percent = "&lt; 0.1" if 0 < share < 0.0005 else f"{100 * share:.1f}"  # a few pixels are not none
    return (
        f'<td class="share"><span class="bar"><span style="width:{100 * share:.1f}%;background:{colour}"></span>'
        f'</span><span class="percent">{percent} %</span></td>'
    )


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
