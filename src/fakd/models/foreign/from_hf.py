"""The segmentation networks of Hugging Face's transformers, from a folder or from the Hub."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from fakd.models.foreign.config import Anatomy, ForeignConfig, Found, library, read_json
from fakd.models.foreign.hf_files import data_notes, folder_of, processor_in
from fakd.models.foreign.hf_scores import SCORES, resize_positions
from fakd.models.weights_file import listed

_EXTRA = "hf"
# Where the classifier is, by the type of the network; that of others is looked for.
_CLASSIFIERS = {
    "beit": "decode_head.classifier",
    "data2vec-vision": "decode_head.classifier",
    "dpt": "head.head.4",
    "mobilenet_v2": "segmentation_head.classifier.convolution",
    "mobilevit": "segmentation_head.classifier.convolution",
    "mobilevitv2": "segmentation_head.classifier.convolution",
    "sapiens2": "decode_head.predictor",
    "segformer": "decode_head.classifier",
    "upernet": "decode_head.classifier",
}
# Between its dropout and its classifier, MobileNetV2 pads by zero positions, which copies the features.
_FEATURES = {"mobilenet_v2": "segmentation_head.dropout"}
_AUX = "auxiliary_head"
_HEADS = ("decode_head.", f"{_AUX}.", "segmentation_head.", "head.", "neck.")
_DIVISOR = 32  # by which the strides of all these networks divide, but for patches of 14 pixels
_REFUSED = {"videomt": "it looks at videos"}
_INTERPOLATED = ("beit", "data2vec-vision")  # whose positions are of one image size unless they are told
_SQUARE = ("dpt",)  # whose neck takes a square for granted
_ONE_SIZE = ("data2vec-vision",)  # whose head takes its own image size for granted
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
    if config.name in SCORES:
        resize_positions(module)
        return Anatomy(module, multiple=_multiple(made_from), scores=SCORES[config.name])
    if config.name in _INTERPOLATED:
        module.register_forward_pre_hook(_interpolate, with_kwargs=True)
    aux = _AUX if getattr(module, _AUX, None) is not None else None
    size = int(made_from.image_size) if config.name in _ONE_SIZE else None
    classifier = (_CLASSIFIERS[config.name],) if config.name in _CLASSIFIERS else None
    square = config.name in _SQUARE
    return Anatomy(module, classifier, aux, _FEATURES.get(config.name), _multiple(made_from), size, square)


def create(name: str, num_classes: int, aux: bool) -> Found:
    """A network to be trained: what the configuration in a folder, or of the Hub, describes, for other classes."""
    described = _described(folder_of(name, weights=False)).config
    return Found(replace(described, num_classes=num_classes, aux=aux))


def type_of(name: str) -> str:
    """The type of a network, as its config.json says it.

    Raises:
        OSError: there is none, or it cannot be downloaded.
        ValueError: its config.json cannot be read.
    """
    return str(read_json(folder_of(name, weights=False) / "config.json").get("model_type"))


def open_trained(name: str, weights: Path | None) -> Found:
    """A folder, or a repository of the Hub, with config.json and model.safetensors; nothing in it is run.

    Raises:
        OSError: there is none, it lacks a file, or it cannot be downloaded.
        ValueError: it does not hold a trained network for segmentation.
    """
    if weights is not None:
        raise ValueError(f"hf:{name} brings its weights: leave out ={weights}")
    folder = folder_of(name, weights=True)
    described = _described(folder)
    config = described.config
    state, absent = _read(config, folder)
    if absent:
        raise ValueError(f"{folder} lacks weights of a {config.name}: is it trained for segmentation?{listed(absent)}")
    return described._replace(state=state)


def encoder_weights(config: ForeignConfig, source: str) -> dict[str, Any]:
    """The weights of the encoder from a folder of transformers, or from the Hub, whatever heads that has.

    Raises:
        ValueError: `source` is no such folder, or lacks weights of the encoder.
        OSError: it could not be found or downloaded.
    """
    if source == "imagenet":
        raise ValueError("transformers' encoders have no weights of that name: give a folder, --backbone-weights DIR.")
    folder = folder_of(source, weights=True)
    state, absent = _read(config, folder)
    if lost := [name for name in absent if not name.startswith(_HEADS)]:
        raise ValueError(f"{folder} lacks weights of the encoder of {config.name}:{listed(lost)}")
    return {name: tensor for name, tensor in state.items() if not name.startswith(_HEADS)}


def encoder_names(names: Iterable[str]) -> list[str]:
    """Those entries' names that belong to the encoder."""
    return [name for name in names if not name.startswith(_HEADS)]


def _described(folder: Path) -> Found:
    """The architecture that a folder's config.json tells, and what is said of its classes."""
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
    images = processor_in(folder)
    aux = bool(settings.get("use_auxiliary_head", False))
    own = _without_fetching({key: value for key, value in settings.items() if key not in _NOT_ARCHITECTURE})
    config = ForeignConfig("hf", str(kind), int(classes), own, aux, mean=images.mean, std=images.std, bgr=images.bgr)
    return Found(config, notes=data_notes(settings, config.num_classes, images))


def _without_fetching(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings whose backbones, however deep inside, start from no published weights."""
    fetched = "use_pretrained_backbone"
    return {
        key: _without_fetching(value) if isinstance(value, dict) else False if key == fetched else value
        for key, value in settings.items()
    }


def _multiple(made_from: Any) -> int:
    """What the sides of images must divide by, which are cut into patches or halved again and again."""
    patch = getattr(made_from, "patch_size", None) or getattr(
        getattr(made_from, "backbone_config", None), "patch_size", None
    )
    return patch if isinstance(patch, int) and _DIVISOR % patch else _DIVISOR


def _interpolate(module: Any, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return given, {**named, "interpolate_pos_encoding": True}


def _network_class(kind: Any) -> Any:
    transformers = library("transformers", _EXTRA)
    names = network_names()
    if kind in _REFUSED:
        raise ValueError(f"transformers' {kind} cannot be used here: {_REFUSED[kind]}")
    if kind not in names:
        raise ValueError(f"transformers has no segmentation network of type {kind!r}; it has {', '.join(names)}")
    return getattr(transformers, names[kind])


def network_names() -> dict[str, str]:
    """Type of a network -> its class in transformers, of all that it has for semantic and universal segmentation."""
    auto = library("transformers.models.auto.modeling_auto", _EXTRA)
    return {
        **auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES,
        **auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
    }


def _library_config(config: ForeignConfig) -> Any:
    kind = _network_class(config.name).config_class
    try:
        # A copy, as some releases take nested settings out of what they are given.
        made = kind.from_dict({**deepcopy(dict(config.settings)), "num_labels": config.num_classes})
    except Exception as error:  # of its own kinds
        raise ValueError(f"transformers cannot read the settings of this {config.name} ({error})") from error
    if hasattr(made, "use_auxiliary_head"):
        made.use_auxiliary_head = config.aux
    if hasattr(made, "is_training"):  # OneFormer's, which asks for texts then
        made.is_training = False
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
