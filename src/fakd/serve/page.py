"""The page: what is on it, and what happens when. The one file that imports gradio."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import gradio
from torch import Tensor

from fakd.data import DataError, read_image
from fakd.data.reading import upright_size
from fakd.evaluation.predictor import Predictor, too_large
from fakd.serve.drawing import Drawing, agreement_map, at_page_size, figures, legend, slider_pictures
from fakd.serve.pair import MOST_PASSES, compare, described, fast
from fakd.serve.samples import Sample

STYLE = Path(__file__).with_name("style.css").read_text()
THEME = gradio.themes.Default(
    primary_hue="blue",
    # What every machine has: none is fetched.
    font=["ui-sans-serif", "system-ui", "sans-serif"],
    font_mono=["ui-monospace", "Consolas", "monospace"],
)
_OPACITY = 0.6
_DELETE_AFTER = 3600  # seconds that uploads and pictures are kept
_LOOK_EVERY = 600  # seconds from one look for those to the next

Shown = tuple[str, Any, str, Any, str, Drawing | None]
"""Message, sides of the slider, numbers, map of the differences, legend; and what they were drawn from."""


@dataclass(frozen=True)
class Page:
    """What a page shows: two networks, and images to pick."""

    student: Predictor
    teacher: Predictor | None
    samples: Sequence[Sample]
    most_pixels: int
    """Of an image."""
    hide: Sequence[int] = ()
    """Classes that are shown without a colour."""

    @cached_property
    def asked(self) -> tuple[Predictor, Predictor | None]:
        """The two as `fakd benchmark` times them: ready for inference alone."""
        return fast(self.student), None if self.teacher is None else fast(self.teacher)

    def build(self) -> gradio.Blocks:
        """Lay it out, and say what happens on what."""
        self.asked  # noqa: B018 - ready before the first visitor waits for it
        sides = "student (left) and teacher (right)" if self.teacher else "image (left) and student (right)"
        with gradio.Blocks(title="fakd", analytics_enabled=False, delete_cache=(_LOOK_EVERY, _DELETE_AFTER)) as blocks:
            drawing = gradio.State(None, time_to_live=_DELETE_AFTER)
            gradio.HTML(self._headline())
            with gradio.Row():
                with gradio.Column(scale=2, min_width=280):
                    _caption(own := "your own image")
                    upload = gradio.File(
                        label=own, show_label=False, file_types=["image"], elem_id="upload", height=140
                    )
                    if self.samples:
                        _caption("or pick one")
                    gallery = self._gallery()
                with gradio.Column(scale=5, min_width=320):
                    message = gradio.HTML(elem_id="message")
                    _caption(sides)
                    slider = gradio.ImageSlider(
                        label=sides,
                        show_label=False,
                        elem_id="slider",
                        format="png",
                        interactive=False,
                        max_height=640,
                        buttons=["fullscreen"],
                    )
                    opacity = gradio.Slider(0, 1, _OPACITY, step=0.05, label="opacity of colours", elem_id="opacity")
                    numbers = gradio.HTML(elem_id="figures")
            with gradio.Row():
                with gradio.Column(scale=5, min_width=320, visible=self.teacher is not None):
                    _caption(differing := "where they differ, in pink")
                    differences = gradio.Image(
                        label=differing,
                        show_label=False,
                        elem_id="differences",
                        format="png",
                        interactive=False,
                        buttons=["fullscreen"],
                    )
                with gradio.Column(scale=4, min_width=280):
                    shares = gradio.HTML(elem_id="legend")
            gradio.HTML(self._footnote())

            shown = [message, slider, numbers, differences, shares, drawing]
            # One at a time, or they would slow each other down and be timed so.
            asking: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "networks", "api_visibility": "private"}
            upload.upload(self.show_upload, [upload, opacity], [*shown, upload], **asking)
            gallery.select(self.show_sample, opacity, shown, **asking)
            if self.samples:
                blocks.load(self.show_first, opacity, shown, **asking)
            opacity.change(
                self.redraw,
                [drawing, opacity],
                slider,
                trigger_mode="always_last",
                show_progress="hidden",
                api_visibility="private",
            )
        return blocks  # type: ignore[no-any-return]

    def show_upload(self, path: str, opacity: float) -> tuple[Any, ...]:
        """Compare on a file that somebody sent; the place to drop files is emptied for the next one."""
        return (*self._show(lambda: self.read(Path(path)), opacity, Path(path).name), None)

    def show_sample(self, opacity: float, chosen: gradio.SelectData) -> Shown:
        """Compare on an image that was picked."""
        return self._show(self.samples[chosen.index].read, opacity)

    def show_first(self, opacity: float) -> Shown:
        """Compare on the first image there is to pick."""
        return self._show(self.samples[0].read, opacity)

    def redraw(self, drawing: Drawing | None, opacity: float) -> Any:
        """Draw the slider again."""
        return None if drawing is None else slider_pictures(drawing, self.student.palette, opacity, self.hide)

    def read(self, path: Path) -> Tensor:
        """Read an image that somebody sent.

        Raises:
            DataError: it is too large, or no image; the message names the file as its sender does.
        """
        try:
            height, width = upright_size(path)
            if height * width > self.most_pixels:
                raise DataError(
                    f"{path}: {width} x {height} are {height * width:,} pixels, expected {self.most_pixels:,} at most. "
                    "Scale it down."
                )
            if fault := too_large(str(path), (height, width), self.student.num_classes):
                raise DataError(fault)
            return read_image(path)
        except DataError as error:
            raise DataError(str(error).replace(str(path), path.name)) from error

    def _show(self, read: Callable[[], Tensor], opacity: float, name: str = "") -> Shown:
        try:
            comparison = compare(read(), *self.asked)
        except (DataError, OSError) as error:
            return f'<p role="alert">{escape(str(error))}</p>', None, "", None, "", None
        drawing = at_page_size(comparison)
        return (
            "",
            self.redraw(drawing, opacity),
            figures(comparison, name),
            None if drawing.teacher is None else agreement_map(drawing.image, drawing.student, drawing.teacher),
            legend(comparison, self.student.classes, self.student.palette, self.hide),
            drawing,
        )

    def _gallery(self) -> gradio.Gallery:
        return gradio.Gallery(
            [sample.thumbnail for sample in self.samples],
            label="or pick one",
            show_label=False,
            elem_id="samples",
            columns=3,
            height="auto",
            object_fit="cover",
            format="jpeg",
            allow_preview=False,
            interactive=False,
            buttons=[],
            visible=bool(self.samples),
        )

    def _headline(self) -> str:
        lines = [f"<p><b>student</b> {escape(described(self.student))}</p>"]
        if self.teacher:
            lines.append(f"<p><b>teacher</b> {escape(described(self.teacher))}</p>")
        title = "What student and teacher see" if self.teacher else "What the network sees"
        return f'<header class="headline"><h1>{title}</h1>{"".join(lines)}</header>'

    def _footnote(self) -> str:
        return (
            f'<p class="note">Time: median of up to {MOST_PASSES} passes over this image alone on the '
            f"{self.student.device.type.upper()}, student and teacher in turns, after one of each that is not counted: "
            "from the image, read and fitted, to the class of every pixel. Images stay on the machine that serves this "
            "page, and are deleted about an hour later.</p>"
        )


def _caption(text: str) -> None:
    """Write above a picture what gradio's own label would write over it."""
    gradio.HTML(f'<p class="caption">{text}</p>')
