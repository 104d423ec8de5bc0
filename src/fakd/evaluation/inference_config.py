"""The options that say how a network is asked about an image, for every command that asks one."""

from dataclasses import dataclass
from typing import Literal

from fakd.data.spec import SlidingWindow
from fakd.evaluation.inference import Inference

Mode = Literal["auto", "whole", "slide"]


@dataclass(kw_only=True)
class InferenceConfig:
    """Whole images or sliding windows, flip, and scales; nothing here changes how a network is trained."""

    mode: Mode = "auto"
    """What a network sees when it is evaluated: the whole image, or windows that slide over it; auto is as the data
    set's benchmark does, or windows where --window is given."""
    window: tuple[int, int] | None = None
    """Height and width in pixels of a window, as 480,480; by default the data set's."""
    stride: tuple[int, int] | None = None
    """Pixels down and right from a window to the next, as 320,320; by default the data set's, or two thirds of
    --window."""
    flip: bool = False
    """Whether to average the predictions for an image and its mirror image."""
    scales: tuple[float, ...] = (1.0,)
    """Factors on the fitted size of an image, to average the predictions at each, as 0.75,1,1.25."""

    def inference(self, window: SlidingWindow | None) -> Inference:
        """What the options ask for.

        Args:
            window: that of the data set; None where its benchmark takes whole images.

        Raises:
            ValueError: the options contradict each other, or a number is out of range.
        """
        return Inference(self._window(window), self.flip, tuple(self.scales))

    def _window(self, default: SlidingWindow | None) -> SlidingWindow | None:
        if self.mode == "whole":
            if self.window or self.stride:
                raise ValueError("mode 'whole' has no windows: leave out --window and --stride, or give --mode slide.")
            return None
        if self.window:
            return SlidingWindow(self.window, self.stride or _two_thirds(self.window))
        if default:
            return SlidingWindow(default.size, self.stride or default.stride)
        if self.mode == "slide" or self.stride:
            raise ValueError("the data set names no window to slide: say its size with --window HEIGHT,WIDTH.")
        return None


def _two_thirds(size: tuple[int, int]) -> tuple[int, int]:
    """The overlap that MMSegmentation's configurations have: 320 for 480, 513 for 769."""
    height, width = (max(1, round(2 * side / 3)) for side in size)
    return height, width
