"""The semantic segmentation networks of Hugging Face's transformers, from a folder that holds one."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakd.console import say
from fakd.models.foreign.config import Anatomy, ForeignConfig, Found, library, read_json
from fakd.models.weights_file import listed

_EXTRA = "hf"
# Where the classifier is, by the type of the network; that of others is looked for.
_CLASSIFIERS = {
    "beit": "decode_head.classifier",
    "data2vec-vision": "decode_head.classifier",
    "mobilenet_v2": "segmentation_head.classifier.convolution",
    "mobilevit": "segmentation_head.classifier.convolution",
    "segformer": "decode_head.classifier",
    "upernet": "decode_head.classifier",
}
# Between its dropout and its classifier, MobileNetV2 pads by zero positions, which copies the features.
_FEATURES = {"mobilenet_v2": "segmentation_head.dropout"}
_AUX = "auxiliary_head"
_HEADS = ("decode_head.", f"{_AUX}.", "segmentation_head.", "head.", "neck.")
_DIVISOR = 32  # by which the strides of all these networks divide
# What of a configuration does not belong to the architecture, or would have to be fetched or run.
_NOT_ARCHITECTURE = {
    *("_name_or_path", "architectures", "auto_map", "dtype", "id2label", "label2id", "num_labels", "problem_type"),
    *("quantization_config", "torch_dtype", "transformers_version", "use_auxiliary_head", "use_pretrained_backbone"),
}


def build(config: ForeignConfig) -> Anatomy:
    """Build a network with random weights.

    Raises:
        ValueError: transformers has no such network, or the settings do not make one.
        ModuleNotFoundError: it is not installed.
    """
    made_from = _library_config(config)
    try:
        module = _network_class(config.name)(made_from)
    except Exception as error:  # every network refuses what it cannot do in another way
        raise ValueError(f"transformers cannot build this {config.name} ({error})") from error
    aux = _AUX if getattr(module, _AUX, None) is not None else None
    classifier = (_CLASSIFIERS[config.name],) if config.name in _CLASSIFIERS else None
    return Anatomy(module, classifier, aux, _FEATURES.get(config.name), _DIVISOR)


def create(name: str, num_classes: int, aux: bool) -> Found:
    """A network to be trained: what the configuration in the folder `name` describes, for other classes."""
    return Found(replace(_described(Path(name)), num_classes=num_classes, aux=aux))


def open_trained(name: str, weights: Path | None) -> Found:
    """A folder with config.json and model.safetensors; nothing in it is run, and nothing is asked of the network.

    Raises:
        FileNotFoundError: the folder lacks a file.
        ValueError: it does not hold a trained network for semantic segmentation.
    """
    if weights is not None:
        raise ValueError(f"hf:{name} is a folder that holds its weights: leave out ={weights}")
    folder = Path(name)
    config = _described(folder)
    state, absent = _read(config, folder)
    if absent:
        raise ValueError(f"{folder} lacks weights of a {config.name}: is it trained for segmentation?{listed(absent)}")
    names = read_json(folder / "config.json").get("id2label")
    classes = [str(names[key]) for key in sorted(names, key=int)] if isinstance(names, Mapping) else []
    told = len(classes) == config.num_classes and any(word != f"LABEL_{i}" for i, word in enumerate(classes))
    return Found(config, state, {"classes": json.dumps(classes)} if told else {})


def encoder_weights(config: ForeignConfig, source: str) -> dict[str, Any]:
    """The weights of the encoder from a folder of transformers, whatever heads that has.

    Raises:
        ValueError: `source` is no such folder, or lacks weights of the encoder.
    """
    if source == "imagenet":
        raise ValueError("transformers' encoders have no weights of that name: give a folder, --backbone-weights DIR.")
    folder = Path(source)
    state, absent = _read(config, folder)
    if lost := [name for name in absent if not name.startswith(_HEADS)]:
        raise ValueError(f"{folder} lacks weights of the encoder of {config.name}:{listed(lost)}")
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEADS)}


def encoder_names(config: ForeignConfig, names: Iterable[str]) -> list[str]:
    """Those entries' names that belong to the encoder."""
    return [name for name in names if not name.startswith(_HEADS)]


def _described(folder: Path) -> ForeignConfig:
    """The architecture that a folder's config.json tells."""
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; expected one with config.json and model.safetensors")
    settings = read_json(folder / "config.json")
    kind = settings.get("model_type")
    _network_class(kind)
    if isinstance(settings.get("backbone"), str):
        raise ValueError(
            f"{folder}/config.json names its backbone {settings['backbone']!r}, which would have to be fetched: save "
            "the network anew with transformers 5, which writes the backbone's own configuration"
        )
    names = settings.get("id2label")
    classes = settings.get("num_labels") or (len(names) if isinstance(names, Mapping) else 2)
    mean, std, bgr = _normalisation(folder)
    aux = bool(settings.get("use_auxiliary_head", False))
    own = {key: value for key, value in settings.items() if key not in _NOT_ARCHITECTURE}
    return ForeignConfig("hf", str(kind), int(classes), own, aux, mean=mean, std=std, bgr=bgr)


def _normalisation(folder: Path) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """What the folder's image processor does to RGB images in [0, 1]: mean, deviation, and whether blue comes first."""
    if (folder / "preprocessor_config.json").is_file():
        told = read_json(folder / "preprocessor_config.json")
    elif (folder / "processor_config.json").is_file():
        told = read_json(folder / "processor_config.json").get("image_processor", {})
    else:
        say(f"images    {folder} has no preprocessor_config.json: normalised by ImageNet's mean and deviation")
        return ForeignConfig.mean, ForeignConfig.std, False
    scale = 255 * told.get("rescale_factor", 1 / 255) if told.get("do_rescale", True) else 255.0
    mean, std = (0.0,) * 3, (1.0,) * 3
    if told.get("do_normalize", "image_mean" in told):
        mean, std = told.get("image_mean", ForeignConfig.mean), told.get("image_std", ForeignConfig.std)
    bgr = bool(told.get("do_flip_channel_order", False))
    if bgr:  # which comes before or after the normalisation, by channels of equal mean
        mean, std = mean[::-1], std[::-1]
    return tuple(value / scale for value in mean), tuple(value / scale for value in std), bgr


def _network_class(kind: Any) -> Any:
    transformers = library("transformers", _EXTRA)
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES as names

    if kind not in names:
        raise ValueError(
            f"transformers has no network of type {kind!r} for semantic segmentation; it has {', '.join(names)}"
        )
    return getattr(transformers, names[kind])


def _library_config(config: ForeignConfig) -> Any:
    kind = _network_class(config.name).config_class
    try:
        # A copy, as some releases take nested settings out of what they are given.
        made = kind.from_dict({**deepcopy(dict(config.settings)), "num_labels": config.num_classes})
    except Exception as error:  # of its own kinds
        raise ValueError(f"transformers cannot read the settings of this {config.name} ({error})") from error
    if hasattr(made, "use_auxiliary_head"):
        made.use_auxiliary_head = config.aux
    return made


def _read(config: ForeignConfig, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Weights under this version's names, and the names of those that the folder lacks or has in another shape."""
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"no model.safetensors in {folder}; other forms of weights are not read")
    try:
        with _no_bars():
            module, report = _network_class(config.name).from_pretrained(
                folder,
                config=_library_config(config),
                local_files_only=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except Exception as error:  # of its own kinds, for a damaged file
        raise ValueError(f"transformers cannot read the weights in {folder} ({error})") from error
    absent = [str(name) for name in report["missing_keys"]]
    absent += [str(entry[0]) for entry in report["mismatched_keys"]]
    return dict(module.float().state_dict()), sorted(absent)


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep transformers from drawing a bar for what takes no time."""
    logging = library("transformers.utils.logging", _EXTRA)
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
