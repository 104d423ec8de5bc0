"""A trained network as one file that rebuilds itself, here and on the Hugging Face Hub."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download
from huggingface_hub.constants import CONFIG_NAME
from safetensors.torch import save_file
from torch import Tensor, nn

from fakd.console import did_you_mean
from fakd.files.atomic import write_text, written_at_once
from fakd.models.meta import on_meta
from fakd.models.shipped import SHIPPED
from fakd.models.weights_file import listed, mismatches, read_safetensors, read_torch_file
from fakd.types import SegmentationOutput

CONFIG_KEY = "fakd.model"
"""The metadata entry that holds a network's config as JSON."""

RUN_SUFFIX = ".ckpt"
"""What the names of a run's own checkpoints end in."""
NOTES_KEY = "network"
"""The entry of such a checkpoint that holds what `save_model` would write beside the weights."""

MEAN_WEIGHTS = "ema.module."
"""What the names of a student's mean weights begin with there, which stand for it."""

RUN_FILE = "student.safetensors"
"""The name under which a finished run keeps its trained network."""
HUB_FILE = "model.safetensors"
"""The name under which a shared folder, here or on the Hugging Face Hub, keeps its network."""

_CARD = """---
{{ card_data }}
---

# Segmentation network made with fakd

[fakd]({{ paper_url }}) builds it from `{{ config }}`.

Nothing is said here about its data and its scores: `fakd share RUN FOLDER` writes a card that says it.

```python
from fakd import Segmentor

model = Segmentor.from_pretrained("FOLDER OR USER/NAME")  # images (B, 3, H, W), RGB in [0, 1]
```
"""


class NetworkConfig(Protocol):
    """Everything needed to rebuild a network without its weights; a frozen dataclass of plain values."""

    num_classes: int

    @property
    def network(self) -> str:
        """What people call it."""

    def to_json(self) -> str:
        """Return the config as one line of JSON."""


class Scorer(nn.Module, ABC):
    """Whatever scores the classes of pixels: a `Network`, an exported file, a teacher as its student sees it."""

    mean: Tensor
    """(1, 3, 1, 1) what is subtracted from RGB images in [0, 1]; of images of other channels, as many numbers."""
    notes: Mapping[str, str] = {}
    """What its file says beside the weights, as the names of the classes."""
    gives_labels = False
    """Whether all it says is which class wins."""

    @property
    def in_channels(self) -> int:
        """Channels of the images that it takes; nearly always 3, RGB."""
        return int(self.mean.shape[1])

    @property
    @abstractmethod
    def num_classes(self) -> int:
        """C, the channels of the logits."""

    @abstractmethod
    def forward(self, images: Tensor) -> SegmentationOutput:
        """Score every class at every position of images (B, 3, H, W), RGB in [0, 1]."""

    def answer(self, images: Tensor) -> Tensor:
        """Return what the network says, as it says it: scores (B, C, h, w) float, or labels (B, h, w) uint8."""
        output: SegmentationOutput = self(images)
        return output.logits

    def check_images(self, images: Tensor) -> None:
        """Raise ValueError unless the images are float (B, 3, H, W)."""
        if images.ndim != 4 or images.shape[1] != self.in_channels or not images.is_floating_point():
            kind = "RGB values" if self.in_channels == 3 else "values"
            raise ValueError(
                f"images must be float (B, {self.in_channels}, H, W) with {kind} in [0, 1], "
                f"got {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}"
            )


class Network(
    Scorer,
    ModelHubMixin,
    library_name="fakd",
    pipeline_tag="image-segmentation",
    tags=["semantic-segmentation"],
    paper_url="https://arxiv.org/abs/2208.14143",
    model_card_template=_CARD,
):
    """A segmentation network that can be saved with its architecture, and shared.

    Shared, it is the file of `save_model` as model.safetensors, config.json for readers, and README.md. A folder on
    this machine is read without any network. Names of the Hub go through huggingface_hub, with its cache, its
    environment variables (HF_HUB_OFFLINE, HF_ENDPOINT) and the token of `hf auth login`.

    A subclass names the class of its config: `class Segmentor(Network, built_from=ModelConfig)`, and is built from one
    alone.
    """

    config: Any
    """A `NetworkConfig`."""
    std: Tensor
    classifier: Any
    """The last convolution, see `fakd.types.Classifier`; missing where `fakd.types.scores_alone` says so."""
    aux_head: Any
    """The auxiliary head, or None."""
    _kinds: ClassVar[dict[type, Callable[[Any], "Network"]]] = {}
    """Class of a config -> what builds its network, which is nearly always the network's class."""

    def __init_subclass__(cls, built_from: type | None = None, **about: Any) -> None:
        super().__init_subclass__(**about)
        # The weights' own file says how the network is built; config.json is for readers, and is not interpreted.
        cls._hub_mixin_init_parameters = {}
        if built_from is not None:
            Network.build_by(built_from, cls)

    @staticmethod
    def build_by(kind: type, build: Callable[[Any], "Network"]) -> None:
        """Let a class or a function build the networks of a class of configs."""
        Network._kinds[kind] = build

    @property
    def num_classes(self) -> int:
        """C, the channels of the logits."""
        return int(self.config.num_classes)

    def encoder_names(self) -> list[str]:
        """Names of the encoder's parameters, in order; none where it cannot be told from the heads."""
        return [name for name, _ in self.named_parameters() if name.startswith("encoder.")]

    @abstractmethod
    def drop_aux(self) -> None:
        """Take the auxiliary head away, as inference has no use for it."""

    def generate_model_card(self, *args: Any, **words: Any) -> ModelCard:
        return super().generate_model_card(*args, config=self.config.to_json(), **words)

    def _save_pretrained(self, save_directory: Path) -> None:
        save_model(self, save_directory / HUB_FILE, self.notes)
        write_text(save_directory / CONFIG_NAME, self.config.to_json() + "\n")

    @classmethod
    def _from_pretrained(cls, *, model_id: str, **download: Any) -> Any:
        if Path(model_id).is_dir():
            return load_model(model_id)[0]
        asked = ("revision", "cache_dir", "force_download", "local_files_only", "token")
        return load_model(hf_hub_download(model_id, HUB_FILE, **{name: download[name] for name in asked}))[0]


def save_model(
    model: Network, path: str | Path, metadata: Mapping[str, str] | None = None, *, half: bool = False
) -> None:
    """Write weights, architecture and the caller's notes; the file at `path` is never seen half-written.

    Args:
        model: the network.
        path: where to write, usually ending in .safetensors; its folder is made if it does not exist.
        metadata: strings to keep with the weights, such as the class names; read back by `load_model`.
        half: whether to write float16, half the size; `load_model` makes float32 of it.

    Raises:
        ValueError: a metadata value is not a string, or its key is "fakd.model".
    """
    path = Path(path)
    notes = dict(metadata or {})
    if CONFIG_KEY in notes:
        raise ValueError(f"metadata key {CONFIG_KEY!r} is reserved for the architecture")
    if wrong := [f"{key} ({type(value).__name__})" for key, value in notes.items() if not isinstance(value, str)]:
        raise ValueError(f"metadata values must be strings, got {', '.join(wrong)}: encode them, e.g. with json.dumps")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    if half:
        tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    with written_at_once(path) as temporary:
        save_file(tensors, temporary, metadata={CONFIG_KEY: model.config.to_json(), **notes})


def load_model(path: str | Path) -> tuple[Network, dict[str, str]]:
    """Rebuild a network that `save_model` wrote.

    Args:
        path: a .safetensors file, the folder of a finished run, or one that `save_pretrained` or `fakd share` made; or
            a .ckpt of a run, whose student it is.

    Returns:
        The network on the CPU in eval mode, and the caller's metadata.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, was not written by fakd, or does not fit its own architecture.
    """
    path = Path(path)
    if path.is_dir():
        path = path / (HUB_FILE if (path / HUB_FILE).is_file() else RUN_FILE)
    if not path.is_file():
        raise FileNotFoundError(no_such_network(path))
    metadata, tensors = _student_of(path) if path.suffix == RUN_SUFFIX else read_safetensors(path)
    if CONFIG_KEY not in metadata:
        raise ValueError(f"{path} has no metadata entry {CONFIG_KEY!r}: it was not written by fakd.models.save_model")
    try:
        config = config_from_json(metadata.pop(CONFIG_KEY))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} describes a network that this version cannot build: {error}") from error
    expected = without_weights(config).state_dict()  # a small file may claim a network that no memory holds
    if problems := mismatches(expected, tensors):
        raise ValueError(f"{path} does not fit its own architecture {config}:{listed(problems)}")
    model = built(config)
    model.load_state_dict(tensors)
    model.notes = dict(metadata)
    return model.eval(), metadata


def no_such_network(path: Path) -> str:
    """What is said where no trained network lies, with the name beside it that may be meant."""
    meant = did_you_mean(str(path), [*SHIPPED, *map(str, path.parent.glob("*"))])
    return f"no model file at {path}; expected a .safetensors file of fakd, or the folder of a finished run.{meant}"


def _student_of(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """What `read_safetensors` would give of the network that learns, out of a run's own checkpoint."""
    content = read_torch_file(path)
    known = content if isinstance(content, dict) else {}
    notes, state = known.get(NOTES_KEY), known.get("state_dict")
    if not isinstance(notes, dict) or not isinstance(state, dict):
        raise ValueError(
            f"{path} does not say which network it holds: it is no checkpoint of a run, or one of an earlier release. "
            f"Name the run folder, {path.parent.parent}, once the run is finished."
        )
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    prefix = MEAN_WEIGHTS if any(key.startswith(MEAN_WEIGHTS) for key in tensors) else "student."
    return (
        {str(key): str(value) for key, value in notes.items()},
        {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)},
    )


def network_of(text: str) -> Network:
    """Build the network that a config's JSON describes on PyTorch's meta device: layers and shapes without content.

    Raises:
        ValueError: it describes none that this version can build.
    """
    try:
        return without_weights(config_from_json(text))
    except TypeError as error:
        raise ValueError(str(error)) from error


def without_weights(config: NetworkConfig) -> Network:
    """Build a network on PyTorch's meta device: layers and shapes without content."""
    with on_meta():
        return _build(config)


def config_from_json(text: str) -> NetworkConfig:
    """Read what a config's `to_json` wrote; its class is the one that has the most of these settings.

    Raises:
        ValueError: not a JSON object, or a setting is missing or unknown.
    """
    values: Any = json.loads(text)
    if not isinstance(values, Mapping):
        raise ValueError(f"a network's config must be a JSON object, got {text[:80]!r}")
    kind = max(Network._kinds, key=lambda kind: len(values.keys() & {setting.name for setting in fields(kind)}))
    known = {
        setting.name: setting.default is MISSING and setting.default_factory is MISSING for setting in fields(kind)
    }
    if unknown := sorted(values.keys() - known.keys()):
        raise ValueError(f"unknown model settings {unknown}; this version of fakd knows {list(known)}")
    if missing := [name for name, required in known.items() if required and name not in values]:
        raise ValueError(f"model settings {missing} are missing from {text[:200]!r}")
    config: NetworkConfig = kind(**values)
    return config


def built(config: NetworkConfig) -> Network:
    """Build a network whose weights are to be overwritten: the random ones shift nobody's random numbers."""
    with torch.random.fork_rng(devices=[]):
        return _build(config)


def _build(config: NetworkConfig) -> Network:
    return Network._kinds[type(config)](config)
