"""Everything a run can be told, as dataclasses; the command line is made from them."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

from fakd.data import DatasetSpec, get_dataset
from fakd.data.bands import BandsConfig
from fakd.data.held_out import with_held_out
from fakd.data.unlabelled import UNLABELLED_SET
from fakd.data.user.folder import FOLDER
from fakd.evaluation.ensembles import teacher_names
from fakd.evaluation.inference import InferenceConfig
from fakd.models.names import plain_name
from fakd.options import UNSAID, ByRecipe, Options, Output, Range, Size
from fakd.training.data_named import with_data
from fakd.training.label_loss import LabelLossConfig
from fakd.training.launch import launched
from fakd.training.optimizer_options import OptimizerConfig
from fakd.training.recipe import follow_recipe
from fakd.training.teacher_options import check_source
from fakd.training.tracker_options import TrackerConfig
from fakd.training.unlabelled import UnlabelledConfig, teacher_dataset

Precision = Literal["32-true", "16-mixed", "bf16-mixed"]


@dataclass(kw_only=True)
class RunConfig(TrackerConfig, LabelLossConfig, OptimizerConfig, InferenceConfig, BandsConfig):
    """What training a teacher and distilling a student have in common."""

    dataset: str | None = None
    """Data set: ade20k, cityscapes, pascal-context, voc2012, camvid, toy-scenes (drawn, nothing to download), folder
    for images and masks of your own, or hf:NAME of the Hugging Face Hub; by default folder where --data-root is given,
    or else the teacher's."""
    data_root: Path | None = None
    """Folder of the data set, or of your own images and masks."""
    output: Output | None = None
    """Run folder; by default runs/DATASET/NETWORK-METHOD-seedN."""

    backbone_weights: str | None = None
    """What the encoder starts from: imagenet, or a path or URL of a .pth or .safetensors file; random by default."""
    init: str | None = None
    """Trained network of the same architecture to start from; a classifier of other classes starts random."""
    output_stride: Literal[8, 16, 32] | None = None
    """Image pixels per cell of the encoder's last map, where it can be dilated; by default the network's own: 32 for
    HRNet and UPerNet, 8 for others, and the encoder's own where it cannot."""
    head_channels: int | None = None
    """Width of the decode head, in channels; by default the network's own."""
    dropout: float | None = None
    """Probability of dropping a channel before the classifier; by default the network's own: 0 for HRNet, 0.1 for
    others."""

    recipe: str | None = None
    """Defaults of all that follows: paper, own (for data of your own) or segformer, see `fakd recipes`."""
    max_steps: ByRecipe[int] = UNSAID
    """Length of the run in steps; by default the recipe's: 40,000, or about 60 passes over data of your own."""
    epochs: float | None = None
    """Length of the run in passes over the training images, in place of --max-steps."""
    patience: int = 0
    """Evaluations without a better mIoU after which the run stops early; 0 never does."""
    report: Literal["last", "best"] = "last"
    """Whether the weights of the last step are saved and scored, or those of the best evaluation; the best are chosen
    by the images that they are scored on."""
    batch_size: int = 16
    """Crops per step, over all devices."""
    aux_weight: float = 0.4
    """Weight of the auxiliary head's loss on labels; 0 builds no auxiliary head."""

    base_size: Size | None = None
    """Height and width in pixels that images are fitted into, aspect kept, as 360x480; by default the data set's."""
    crop_size: Size | None = None
    """Height and width of training crops in pixels, as 360x480, or 360 for a square; by default the data set's."""
    scale: Range = (0.5, 2.0)
    """Smallest and largest factor of the random scaling of training images, as 0.5,2.0."""
    photometric: bool = False
    """Whether to vary brightness, contrast, saturation and hue of training images."""
    workers: int = 2
    """Loader processes per device; 0 for none."""
    cache_images: bool = False
    """Whether to keep the decoded training images in memory, once for all loader processes; the size is said first."""
    check_data: bool = True
    """Whether every file of the data set is opened once before training."""

    accelerator: Literal["auto", "cpu", "gpu", "mps"] = "auto"
    """Hardware to train on."""
    devices: int = 1
    """How many of them on each machine, as GPUs; torchrun and srun say it by themselves."""
    num_nodes: int = 1
    """On how many machines; torchrun and srun say it themselves."""
    precision: Precision = "32-true"
    """Number format of the networks; losses are in float32."""
    channels_last: bool | None = None
    """Whether the student's weights and images are stored with the channels last; by default on GPUs, in a 16-bit
    format."""
    compile: bool = False
    """Whether to compile both networks with torch.compile: the first step takes minutes, the others less; needs a C++
    compiler."""

    seed: int = 0
    """Seed of all that is drawn by chance."""
    holdout: float = 0.0
    """Share of the training images that is validated on in place of the validation split, for choosing options; 0
    validates on the split."""
    at_least: Options | None = None
    """The mIoU to be reached by a step, or the run stops early, as --at-least.400 31.5; none by default."""
    eval_every: int | None = None
    """Steps between evaluations; by default a tenth of the run, or more where evaluating takes long."""
    checkpoint_every: int | None = None
    """Steps between checkpoints to resume from; by default a fiftieth of the run, at most 1000."""
    keep_checkpoints: int = 2
    """How many checkpoints to resume from are kept until the run is finished; older ones are for where newer ones turn
    out to be damaged."""
    log_every: int | None = None
    """Steps between rows of the logs; by default a hundredth of the run, at most 50."""

    resume: bool = False
    """Go on from the last checkpoint, with the same options."""
    allow_changed_data: bool = False
    """Go on by --resume although images or masks are others than those that the run was begun with."""
    overwrite: bool = False
    """Delete the run in the run folder first, nothing else."""

    def __post_init__(self) -> None:
        """Check what can be checked without touching data or networks.

        Raises:
            ValueError: a value is out of range; the message names the option.
        """
        self.data_root = None if self.data_root is None else Path(self.data_root)
        self.dataset = self.dataset or ("toy-scenes" if self.data_root is None else FOLDER)
        if not 0 <= self.holdout < 1:
            raise ValueError(f"holdout must be at least 0 and below 1, got {self.holdout}.")
        spec = self.spec
        if spec.needs_root and self.data_root is None:
            raise ValueError(f"dataset {self.dataset!r} is read from disk: say where it is with --data-root FOLDER.")
        if self.photometric and spec.bands.channels != 3:
            raise ValueError("photometric varies colours, and the images have other channels: leave it out.")
        self.at_least = self.at_least and _floors(self.at_least)
        self.inference(spec.window)  # options that contradict each other fail here
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be {least} or more, got {value}.")
        follow_recipe(self)
        self.check_optimizer(self.max_steps)
        self.check_label_loss(spec.classes)
        self.check_tracker()
        if self.dropout is not None and not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}.")
        if not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError(f"scale must be two factors above 0, the smaller first, got {self.scale}.")
        for name in ("base_size", "crop_size"):
            if (size := getattr(self, name)) is not None and min(size) < 1:
                raise ValueError(f"{name} must be a height and a width in pixels, got {size}.")
        if launch := launched():
            launch.check(self.devices, self.num_nodes)
            self.devices, self.num_nodes = launch.devices, launch.num_nodes
        if self.batch_size % (self.processes * self.accumulate):
            raise ValueError(
                f"batch_size {self.batch_size} does not divide by {self.processes} devices times {self.accumulate} "
                "parts of a step (--accumulate)."
            )
        if self.resume and self.overwrite:
            raise ValueError("resume and overwrite contradict each other: give one of them.")
        self.checkpoint_every = self.checkpoint_every or min(1000, max(1, self.max_steps // 50))
        self.log_every = self.log_every or min(50, max(1, self.max_steps // 100))
        self.output = Path(self.output or Path("runs") / self.dataset / self.run_name)
        if self.init is not None:
            self.init = str(self.init)
            check_source(self.init, "init", self.output, self.spec, mapped=False)
        if self.init is not None and self.backbone_weights is not None:
            raise ValueError("init and backbone_weights contradict each other: both say where weights come from.")
        if self.freeze_backbone and self.init is None and self.backbone_weights is None:
            raise ValueError(
                "freeze_backbone keeps the encoder as it starts, which is random here: give --backbone-weights "
                "imagenet, or a file, or --init."
            )

    @classmethod
    def typed(cls, **options: Any) -> Self:
        """The config of a command line, which has no data set by default: nobody shall wait for scenes unasked.

        Raises:
            NoDataError: nothing says what to train on.
        """
        networks = (options.get(name, getattr(cls, name, None)) for name in ("network", "student", "students"))
        return cls(**with_data(options, str(next(filter(None, networks)))))

    @cached_property
    def spec(self) -> DatasetSpec:
        """The description of the data set."""
        if self.chosen_bands().chosen and isinstance(self, UnlabelledConfig) and self.unlabelled:
            raise ValueError("--bands and --value-range are for labelled TIFF files: leave out --unlabelled.")
        if isinstance(self, UnlabelledConfig) and self.unlabelled and self.dataset == UNLABELLED_SET:
            if self.holdout:
                raise ValueError("holdout is a share of labelled images, and none is given: see --val-share.")
            teachers = teacher_names(getattr(self, "teacher", None) or "")
            return teacher_dataset(teachers[0], tuple(self.unlabelled), self.val_share)
        assert self.dataset is not None  # resolved above
        spec = get_dataset(self.dataset, self.data_root, self.chosen_bands(), self.base_size)
        return with_held_out(spec, self.holdout) if self.holdout else spec

    @property
    def score(self) -> str:
        """How the mean IoU on the validation split is called, where it is not the truth that it is taken against."""
        return "agreement with the teacher" if self.dataset == UNLABELLED_SET else "mIoU"

    def gives_up(self, step: int, best: float, stale: int) -> bool:
        """Whether the run ends here: after too many evaluations that were no better, or below what was to be reached.

        Args:
            step: how many steps are done.
            best: the best mIoU so far.
            stale: evaluations since that one.
        """
        return 0 < self.patience <= stale or best < self.floor(step)

    def floor(self, step: int) -> float:
        """The mIoU that must be reached by then; below every mIoU where none must."""
        return float((self.at_least or {}).get(str(step), -1))

    @property
    def crops(self) -> tuple[int, int]:
        """Crops per step over all devices together: of labelled images, which come first in a batch, and of others."""
        others = self.unlabelled_batch if isinstance(self, UnlabelledConfig) else None
        return 0 if self.dataset == UNLABELLED_SET else self.batch_size, others or 0

    @property
    def processes(self) -> int:
        """How many processes train, one for each device."""
        return self.devices * self.num_nodes

    @property
    def trained_network(self) -> str:
        """Name of the network that learns."""
        raise TypeError("a RunConfig is a TrainConfig or a DistillConfig")

    @property
    def run_name(self) -> str:
        """Name of the run folder below runs/DATASET."""
        return f"{plain_name(self.trained_network)}-seed{self.seed}"

    def to_dict(self) -> dict[str, Any]:
        """As plain values, ready for YAML; sizes as lists, paths as strings."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """The options that have one value by default, in the same form."""
        return {item.name: _plain(item.default) for item in fields(cls) if item.default is not MISSING}


def _floors(given: Mapping[Any, Any]) -> dict[str, float]:
    """Scores by the step, which is a word in files and on the command line.

    Raises:
        ValueError: they are no numbers.
    """
    try:
        return {str(int(step)): float(score) for step, score in given.items()}
    except (TypeError, ValueError):
        raise ValueError(f"at_least must be mIoU by step, as --at-least.400 31.5; got {dict(given)}.") from None


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


@dataclass(kw_only=True)
class TrainConfig(RunConfig):
    """Train a network on labels alone, as a teacher or as a baseline."""

    network: str = "pspnet-r18"
    """Network to train: a preset (pspnet-, deeplabv3plus- or isanet-r101, hrnet-w48, pspnet- or isanet-r18, hrnet-w18s,
    deeplabv3plus-mv2); HEAD/BACKBONE with any timm backbone, as pspnet/efficientnet_lite2; or another library's, as
    torchvision:fcn_resnet50, smp:unet/mobilenet_v2 or hf:NAME, with @PATH of its classifier where it is unsure."""

    @property
    def trained_network(self) -> str:
        """Name of the network that learns."""
        return self.network


_LEAST: dict[str, float] = {
    "max_steps": 1,
    "epochs": 0,
    "patience": 0,
    "batch_size": 1,
    "learning_rate": 0,
    "momentum": 0,
    "weight_decay": 0,
    "warmup_steps": 0,
    "clip_grad": 0,
    "accumulate": 1,
    "aux_weight": 0,
    "workers": 0,
    "devices": 1,
    "num_nodes": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "keep_checkpoints": 1,
    "log_every": 1,
    "head_channels": 1,
    "seed": 0,
}
