"""Where the files of a network of transformers are: in a folder, or on the Hugging Face Hub."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from timm.data.constants import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

from fakd.console import say
from fakd.models.foreign.config import read_json

_REPOSITORY = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?::([\w.-]+(?:/[\w.-]+)*))?")
_CONFIG, _WEIGHTS, _INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"
_LONGEST = 4  # times the shorter side, as ADE20K's images are fitted into 512x2048
_PROCESSORS = ("preprocessor_config.json", "processor_config.json")


def on_hub(name: str) -> bool:
    """Whether a name is of the Hub: ORGANISATION/NETWORK or ORGANISATION/NETWORK:REVISION, and nothing of it here.

    Example:
        >>> on_hub("nvidia/segformer-b5-finetuned-ade-640-640"), on_hub("somebody/network:v1.0"), on_hub("segformer")
        (True, True, False)
    """
    return _REPOSITORY.fullmatch(name) is not None and not Path(name).exists()


def folder_of(name: str, *, weights: bool) -> Path:
    """The folder of a network: one of this machine, or the copy of a repository in the cache of huggingface_hub.

    Of a repository only config.json, the image processor's settings, and where asked for model.safetensors are
    downloaded; all of one commit.

    Args:
        name: a folder, or ORGANISATION/NETWORK of the Hub, then perhaps :REVISION, a branch, tag or commit.
        weights: whether the weights are needed.

    Raises:
        FileNotFoundError: there is no such folder and no such repository, or it lacks a file.
        PermissionError: the repository asks its users to accept terms first.
        ConnectionError: the Hub cannot be reached, and the files are not in the cache.
    """
    found = _REPOSITORY.fullmatch(name)
    if Path(name).exists() or found is None:
        if not Path(name).is_dir():
            raise FileNotFoundError(
                f"no folder {name}; expected one with config.json and model.safetensors, or a network of the Hugging "
                "Face Hub, as hf:nvidia/segformer-b5-finetuned-ade-640-640"
            )
        return Path(name)
    repository, revision = found[1], found[2] or "main"
    try:
        return _downloaded(repository, revision, weights)
    except GatedRepoError:
        raise PermissionError(
            f"{repository} of the Hugging Face Hub asks its users to accept terms: do so on its page, then log in here "
            "by `hf auth login`."
        ) from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"there is no folder {name}, and no network {repository} on the Hugging Face Hub that you may read; a "
            "private one needs `hf auth login`."
        ) from None
    except RevisionNotFoundError:
        raise FileNotFoundError(
            f"{repository} of the Hugging Face Hub has no branch, tag or commit {revision!r}."
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled):
        raise ConnectionError(
            f"there is no folder {name}, and {repository} is not in huggingface_hub's cache and cannot be downloaded: "
            "the Hugging Face Hub is not reached, or HF_HUB_OFFLINE is set."
        ) from None
    except EntryNotFoundError as error:
        raise FileNotFoundError(
            f"{repository} of the Hugging Face Hub has no {_missing(error)} at {revision}; other forms are not read. A "
            f"conversion may be proposed on its page, which is then named hf:{repository}:refs/pr/NUMBER."
        ) from None
    except (HfHubHTTPError, HFValidationError) as error:
        raise ConnectionError(
            f"{repository} could not be read from the Hugging Face Hub: {str(error).strip().splitlines()[0]}"
        ) from None


def _downloaded(repository: str, revision: str, weights: bool) -> Path:
    config = Path(hf_hub_download(repository, _CONFIG, revision=revision))
    commit = config.parent.name  # from here on of this commit, whatever is pushed meanwhile
    any(_optional(repository, name, commit) for name in _PROCESSORS)
    if weights:
        say(f"weights   {repository} at {commit[:12]} from the Hugging Face Hub, in the cache of huggingface_hub")
        if _optional(repository, _INDEX, commit):
            parts = set(read_json(config.parent / _INDEX).get("weight_map", {}).values())
        else:
            parts = {_WEIGHTS}
        for name in sorted(parts):
            hf_hub_download(repository, name, revision=commit)
    return config.parent


def _optional(repository: str, name: str, commit: str) -> bool:
    """Whether a repository has a file, which is downloaded then."""
    try:
        hf_hub_download(repository, name, revision=commit)
    except LocalEntryNotFoundError:  # offline: it may be known that there is none
        if isinstance(try_to_load_from_cache(repository, name, revision=commit), str | None):
            raise
        return False
    except EntryNotFoundError:
        return False
    return True


def _missing(error: Exception) -> str:
    """The file of which the Hub says that there is none."""
    return next((name for name in (_CONFIG, _WEIGHTS) if name in str(error)), "file of that name")


class Processor(NamedTuple):
    """What an image processor does to RGB images in [0, 1], and to the labels that the network was trained on."""

    mean: tuple[float, ...] = IMAGENET_DEFAULT_MEAN
    std: tuple[float, ...] = IMAGENET_DEFAULT_STD
    bgr: bool = False
    """Whether blue comes first."""
    reduce_labels: bool = False
    """Whether label 0 was left out of the training, and all others reduced by one."""
    base_size: tuple[int, int] | None = None
    """(height, width) that images are fitted into, where it says one."""


def processor_in(folder: Path) -> Processor:
    """Read the settings of a folder's image processor; ImageNet's normalisation where there are none, which is said."""
    told: Mapping[str, Any]
    if (folder / _PROCESSORS[0]).is_file():
        told = read_json(folder / _PROCESSORS[0])
    elif (folder / _PROCESSORS[1]).is_file():
        told = read_json(folder / _PROCESSORS[1]).get("image_processor", {})
    else:
        say(f"images    {folder} has no preprocessor_config.json: normalised by ImageNet's mean and deviation")
        return Processor()
    scale = 255 * told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 255.0
    mean: tuple[float, ...] = (0.0,) * 3
    std: tuple[float, ...] = (1.0,) * 3
    if told.get("do_normalize", "image_mean" in told):
        mean = told.get("image_mean", IMAGENET_DEFAULT_MEAN)
        std = told.get("image_std", IMAGENET_DEFAULT_STD)
    bgr = bool(told.get("do_flip_channel_order", False))
    if bgr:  # which comes before or after the normalisation, by channels of equal mean
        mean, std = mean[::-1], std[::-1]
    reduced = bool(told.get("do_reduce_labels", told.get("reduce_labels", False)))
    mean, std = ((*(value / scale for value in values),) for values in (mean, std))
    return Processor(mean, std, bgr, reduced, _base_size(told))


def _base_size(told: Mapping[str, Any]) -> tuple[int, int] | None:
    """The size of images in a processor's settings; fitted into it, they keep their shape, which a processor may not.

    Example:
        >>> _base_size({"size": {"height": 1024, "width": 2048}}), _base_size({"size": {"shortest_edge": 512}})
        ((1024, 2048), (512, 2048))
    """
    match told.get("size") if told.get("do_resize", True) else None:
        case {"height": int(height), "width": int(width)} if height != width:
            return height, width
        case {"shortest_edge": int(side), "longest_edge": int(longest)} if longest > side:
            return side, longest
        case {"shortest_edge": int(side)} | {"height": int(side)} | int(side):
            return side, _LONGEST * side  # of squares too: the published scores of such networks are measured so
        case {"longest_edge": int(longest)}:
            return longest, longest
    return None


def data_notes(config: Mapping[str, Any], count: int, processor: Processor) -> dict[str, str]:
    """What a folder says of the classes that its network scores, their names and whether label 0 was left out, and of
    the size of its images."""
    names = config.get("id2label")
    by_index = {int(key): str(name) for key, name in names.items()} if isinstance(names, Mapping) else {}
    notes = {"reduce_labels": "true"} if processor.reduce_labels else {}
    if processor.base_size:
        notes["base_size"] = json.dumps(processor.base_size)
    # Names of other ids than 0 to C - 1 are not those of the scores.
    if sorted(by_index) == list(range(count)) and any(name != f"LABEL_{i}" for i, name in by_index.items()):
        notes["classes"] = json.dumps([by_index[index] for index in range(count)])
    return notes
