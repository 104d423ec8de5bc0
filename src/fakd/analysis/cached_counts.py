"""The data set behind a set of runs, and what is counted and kept of it and of their predictions."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fakd.analysis.figures.features import FeatureMap, feature_map
from fakd.analysis.pixel_counts import PixelCounts, class_pixels, measure
from fakd.analysis.run_options import run_inference
from fakd.analysis.runs import Run
from fakd.console import progress, say
from fakd.data import DataError, Sample, get_dataset
from fakd.data.bands import Bands
from fakd.data.batches import SegmentationData
from fakd.data.transforms import EvalTransform
from fakd.evaluation import scores_from_confusion
from fakd.files.atomic import written_at_once
from fakd.models import load_model
from fakd.training.run_folder import RunFolder

_TOLERANCE = 0.5
"""Percentage points of mIoU that another device or number format may make."""


class CachedCounts:
    """Counts over the splits; what is counted is kept in a folder, so that a second analysis is quick.

    A count is taken from there as long as the network's file, the place of the data set and all options are the same.

    Args:
        runs: of one data set.
        data_root: folder of the data set; None takes the one that the runs were trained on.
        device: where networks compute.
        workers: loader processes.
        band: width of the band around boundaries in pixels.
        bins: number of bins of confidence.
        cache: folder for the counts.

    Raises:
        ValueError: the runs were trained on different folders and none was given, or the data set's classes are not
            those of the runs.
        DataError: the data set is not there.
    """

    def __init__(
        self,
        runs: list[Run],
        data_root: Path | None,
        *,
        device: torch.device,
        workers: int,
        band: int,
        bins: int,
        cache: Path,
    ) -> None:
        self.device, self.workers, self.band, self.bins, self.cache = device, workers, band, bins, cache
        self.root = Path(data_root) if data_root else _common_root(runs)
        options = runs[0].config
        self.spec = get_dataset(options["dataset"], self.root, Bands.of_options(options), options.get("base_size"))
        if self.spec.classes != runs[0].classes:
            raise ValueError(
                f"the runs have {len(runs[0].classes)} classes and {self.spec.name} has {self.spec.num_classes}, "
                "or their names differ: give the data set that they were trained on with --data-root."
            )
        try:
            self.val = self.spec.open(self.root, "val")
        except DataError as error:
            raise DataError(f"{error} Say where the data set is with --data-root FOLDER.") from error

    def measured(self, run: Run) -> PixelCounts:
        """What `measure` counts over the validation split, the network asked as when the run was evaluated."""
        inference, base_size = run_inference(run.config).inference(self.spec.window), self._base_size(run)
        network = RunFolder(run.folder).student.stat()
        key = {
            "run": str(run.folder.resolve()),
            "network": [network.st_size, network.st_mtime_ns],
            "inference": asdict(inference),
            "base_size": base_size,
            "band": self.band,
            "bins": self.bins,
        }

        def count(on_image: Callable[[int], None]) -> dict[str, Tensor]:
            data = SegmentationData(self.spec, self.root, base_size=base_size, workers=self.workers)
            return asdict(
                measure(
                    load_model(run.folder)[0],
                    data.val_dataloader(),
                    self.spec.num_classes,
                    band=self.band,
                    bins=self.bins,
                    device=self.device,
                    inference=inference,
                    on_image=on_image,
                )
            )

        found = PixelCounts(**self._kept(key, len(self.val), f"evaluating {run.folder.name}", count))
        now, before = scores_from_confusion(found.confusion, self.spec.classes).mIoU, run.results["mIoU"]
        if abs(now - before) > _TOLERANCE:
            say(
                f"{run.folder}: mIoU is {now:.2f} here, but was {before:.2f} at the end of the run. Is the data set "
                f"{self.root or self.spec.name} the one that it was trained on?",
                style="yellow",
            )
        return found

    def train_pixels(self) -> Tensor:
        """(C,) labelled pixels of every class of the training split."""
        source = self.spec.open(self.root, "train")
        found = self._kept(
            {"split": "train", "classes": self.spec.classes},
            len(source),
            "reading training labels",
            lambda on_image: {"pixels": class_pixels(source, self.spec.num_classes, on_image)},
        )
        return found["pixels"]

    def samples(self, count: int) -> list[Sample]:
        """So many validation images, evenly spaced over the split."""
        places = torch.linspace(0, len(self.val) - 1, count + 2)[1:-1].round().int().tolist()
        return [self.val[place] for place in dict.fromkeys(places)]

    def feature_maps(self, run: Run, samples: list[Sample]) -> list[FeatureMap]:
        """The features of whole images, each fitted to the size that the network was trained on."""
        model = load_model(run.folder)[0].to(self.device)
        fit = EvalTransform(self._base_size(run)).fit
        return [feature_map(model, fit(sample.image).to(self.device), sample.label) for sample in samples]

    def _base_size(self, run: Run) -> tuple[int, int]:
        height, width = run.config.get("base_size") or self.spec.base_size
        return height, width

    def _kept(
        self, key: dict[str, Any], images: int, what: str, count: Callable[[Callable[[int], None]], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        """What was counted before under the same key, or is counted now."""
        key |= {"dataset": self.spec.name, "root": str(self.root and Path(self.root).resolve()), "images": images}
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        path = self.cache / f"{name}.safetensors"
        if path.is_file():
            return dict(load_file(path))
        with progress("images") as bar:
            task = bar.add_task(what, total=images, note="")
            found = count(lambda done: bar.advance(task, done))
        with written_at_once(path) as temporary:
            save_file(found, temporary)
        return found


def _common_root(runs: list[Run]) -> Path | None:
    roots = {run.config.get("data_root") for run in runs}
    resolved = {root and Path(root).resolve() for root in roots}
    if len(resolved) > 1:
        raise ValueError(
            f"the runs were trained on different folders: {', '.join(sorted(map(str, roots)))}. "
            "If it is the same data set, say which folder to read with --data-root."
        )
    root = roots.pop()
    return Path(root) if root else None
