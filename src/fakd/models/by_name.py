"""Networks by the words that a user gives for them: what is built anew, and what is opened."""

from dataclasses import replace
from pathlib import Path

from fakd.console import did_you_mean
from fakd.data.class_names import Classes
from fakd.models.backbone_weights import load_backbone_weights
from fakd.models.class_rows import as_two_classes, bring_rows
from fakd.models.encoder import Encoder
from fakd.models.foreign import create_foreign, open_foreign
from fakd.models.foreign.scorer import ForeignScorer
from fakd.models.initial_weights import start_from
from fakd.models.mmseg.checkpoint import load_mmseg
from fakd.models.mmseg.published import fetch_teacher, find_teacher
from fakd.models.names import SCORING, NetworkName
from fakd.models.network import Network, Scorer, load_model, no_such_network
from fakd.models.onnx import open_onnx
from fakd.models.presets import PRESETS
from fakd.models.scoring import open_script
from fakd.models.segmentor import HEADS, ModelConfig, Segmentor, default_aux_channels


def create_model(
    name: str,
    *,
    backbone: str | None = None,
    num_classes: int,
    output_stride: int | None = None,
    channels: int | None = None,
    dropout: float | None = None,
    aux: bool = True,
    backbone_weights: str | None = None,
    in_channels: int = 3,
) -> Network:
    """Build a segmentation network.

    Args:
        name: a preset ("pspnet-r18"), a head ("pspnet", with `backbone`), or both at once as on the command line
            ("pspnet/efficientnet_lite0"); or a network that another library builds: "torchvision:fcn_resnet50",
            "smp:unet/mobilenet_v2", or "hf:FOLDER" with a config.json of transformers, or one of the Hub.
        backbone: a key of `BACKBONES` or any timm name of a network that gives maps.
        num_classes: C.
        output_stride: image pixels per cell of the encoder's last map: 8, 16 or 32. None is the head's own: 8, but
            32 for "fcn-concat", "linear-concat" and "upernet", which take their detail from earlier maps; and the
            encoder's own where it cannot be dilated, as most transformers cannot.
        channels: A, the width of the head; None is the preset's, or the head's own: the sum of the stages' channels
            for "fcn-concat" and "linear-concat", the last stage's for "linear", 256 for "upernet", else 512 after a
            last stage of at least 1024 channels and 128 after a narrower one.
        dropout: probability of dropping a whole channel before each classifier; None is the head's own: 0.1, but 0
            for "fcn-concat", "linear" and "linear-concat".
        aux: whether to add an auxiliary head on the second to last stage, which only runs in training; those three
            heads have none in any case.
        backbone_weights: None for random weights; "imagenet" for published ones; or the path or URL of a .pth or
            .safetensors file with timm's or OpenMMLab's names. For other libraries' networks, see `create_foreign`.
            Weights for RGB are spread over other channels as timm does.
        in_channels: of the images, 3 for RGB; not for other libraries' networks.

    Returns:
        The network in training mode, on the CPU.

    Raises:
        ValueError: a name is unknown, names contradict each other, the weights do not fit, or an option is not for
            this network.
        FileNotFoundError: there is no file of weights at that path.
        ConnectionError: ImageNet weights could not be downloaded.
        ModuleNotFoundError: the other library is not installed.
    """
    asked = NetworkName.parse(name)
    if asked.is_foreign:
        own = {"backbone": backbone, "output_stride": output_stride, "channels": channels, "dropout": dropout}
        if in_channels != 3:
            raise ValueError(f"{name} takes RGB images alone, and {in_channels} bands are read: name three by --bands.")
        if given := [option for option, value in own.items() if value is not None]:
            raise ValueError(f"{', '.join(given)} cannot change {name}, which another library builds: leave it out.")
        if asked.weights is not None:
            raise ValueError(
                f"{name} names trained weights, but a network to be trained starts from scratch: leave out "
                f"={asked.weights}, and to start from them give --init {name}"
            )
        return create_foreign(
            asked.kind, asked.network, num_classes, asked.classifier, aux=aux, backbone_weights=backbone_weights
        )
    preset = PRESETS.get(name)
    if preset is not None:
        if backbone is not None and backbone != preset["backbone"]:
            raise ValueError(
                f"{name!r} is a preset with backbone {preset['backbone']!r}, but backbone={backbone!r} was given; "
                f'for another backbone use "{preset["head"]}/{backbone}"'
            )
        head, backbone = preset["head"], preset["backbone"]
    else:
        head, backbone = _split(name, backbone)
    kind = HEADS[head]
    wanted = kind.default_output_stride if output_stride is None else output_stride
    dropout = kind.default_dropout if dropout is None else dropout
    # Checks the cheap settings before an encoder is built.
    config = ModelConfig(head, backbone, num_classes, wanted, channels, dropout, in_channels=in_channels)
    natural = output_stride is None
    encoder = Encoder(backbone, wanted, or_natural=natural, last_blocks=kind.last_blocks, in_channels=in_channels)
    if preset is not None:
        channels, aux_channels = channels or preset["channels"], preset["aux_channels"]
    else:
        channels = channels or kind.default_channels(encoder.channels)
        aux_channels = default_aux_channels(encoder.channels[-2]) if kind.default_aux else None
    stride = encoder.strides[-1]
    config = replace(config, output_stride=stride, channels=channels, aux_channels=aux_channels if aux else None)
    if backbone_weights is not None:
        load_backbone_weights(encoder, backbone, backbone_weights)
    return Segmentor(config, encoder)


def _split(name: str, backbone: str | None) -> tuple[str, str]:
    head, slash, named = name.partition("/")
    valid = f"valid presets: {', '.join(PRESETS)}; valid heads: {', '.join(HEADS)}, as HEAD/BACKBONE"
    if head not in HEADS:
        meant = did_you_mean(head, HEADS) if slash else did_you_mean(name, PRESETS)
        raise ValueError(f"unknown network {name!r}; {valid}.{meant}")
    if slash and backbone is not None and named != backbone:
        raise ValueError(f"{name!r} already names a backbone, but backbone={backbone!r} was given")
    backbone = named if slash else backbone
    if not backbone:
        raise ValueError(f'{name!r} needs a backbone, e.g. "{head}/resnet18_v1c" or backbone=...; {valid}')
    return head, backbone


def check_trained(name: str) -> None:
    """Refuse the name of a trained network that is nowhere, in a moment and without opening it.

    Args:
        name: as for `open_any`.

    Raises:
        FileNotFoundError: there is no such file or folder.
    """
    asked = NetworkName.parse(name)
    if asked.kind in ("new", "file", "pth", *SCORING) and not Path(asked.network).exists():
        raise FileNotFoundError(no_such_network(Path(asked.network)))


def open_model(name: str | Path) -> tuple[Network, dict[str, str]]:
    """Load a trained network.

    Args:
        name: "toy-scenes" for the teacher that comes with the package; a run folder, a shared folder or a .safetensors
            file of this project; a .ckpt of a run, as best.ckpt, for the network that learns in it; a .pth file of
            MMSegmentation; "mmseg:NAME", one of its published teachers, which is downloaded once; or another library's
            network: "torchvision:NAME" as torchvision publishes it, "hf:FOLDER" or "smp:FOLDER" as save_pretrained
            wrote it, or your own weights, as "smp:unet/resnet34=weights.safetensors"; "@PATH" behind these names the
            classifier.

    Returns:
        The network on the CPU in eval mode, and what is known about its classes. One of a single score, as a sigmoid
        trains it, is given as one of two classes, background and the class.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another network.
        DownloadError: a published teacher could not be downloaded.
        ModuleNotFoundError: the other library is not installed.
    """
    model, notes = _opened(name)
    if model.num_classes == 1 and not isinstance(model, ForeignScorer):
        return as_two_classes(str(name), model, notes)
    return model, notes


def _opened(name: str | Path) -> tuple[Network, dict[str, str]]:
    asked = NetworkName.parse(name)
    if asked.is_foreign:
        return open_foreign(asked.kind, asked.network, asked.weights, asked.classifier)
    match asked.kind:
        case "mmseg":
            model, notes = load_mmseg(fetch_teacher(asked.network))
            return model, notes | {"dataset": find_teacher(asked.network).dataset}
        case "pth":
            return load_mmseg(name)
        case "onnx" | "torchscript":
            raise ValueError(f"{name} only scores pixels: name the checkpoint it was made from.")
        case _:
            return load_model(asked.network)


def open_any(name: str | Path) -> tuple[Scorer, dict[str, str]]:
    """Load a network that only has to score pixels: what `open_model` takes, or an ONNX or a TorchScript file.

    Args:
        name: as for `open_model`; or the path of an .onnx file, that `fakd export` or another program wrote; or
            "torchscript:FILE". "@imagenet" behind another program's file normalises images for it.

    Raises:
        ModuleNotFoundError: the file is an .onnx, and onnxruntime is not installed.
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or holds another network.
        DownloadError: a published teacher could not be downloaded.
    """
    asked = NetworkName.parse(name)
    if asked.kind not in SCORING:
        return open_model(name)
    opened = open_onnx if asked.kind == "onnx" else open_script
    network = opened(asked.network, asked.normalisation)
    return network, dict(network.notes)


def copy_weights(name: str | Path, model: Network, classes: Classes | None = None) -> None:
    """Start a network from another's weights: its architecture must be the same but for strides, classes and dropout.

    A classifier of other classes stays random, which is said.

    Args:
        name: as for `open_model`.
        model: the network that is changed.
        classes: what it is to score, where that is known; the classifier of others is not taken over.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or its entries do not fit the network; the message lists them.
    """
    network, notes = open_model(name)
    as_many = classes is not None and classes.count == network.num_classes
    left = bring_rows(str(name), network, notes, classes) if classes is not None and as_many else set()
    start_from(str(name), network, model, left)
