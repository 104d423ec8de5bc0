"""The command that times networks on this machine: why people distil."""

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field
from functools import partial
from statistics import median, quantiles

import torch
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from torch import Tensor

from fakd.console import console, progress, say
from fakd.evaluation.predictor import Device, pick_device
from fakd.export.speed_and_memory import TimedNetwork, measure_footprint, open_timed, time_in_rounds
from fakd.files.atomic import check_free, write_text
from fakd.options import Output, Paths, Size, check_least

COLUMNS = (
    *("network", "runs in", "parameters", "GMACs", "file MB"),
    *("latency ms", "90 % within", "images/s", "memory MB", "speed"),
)
_NARROW = ("params\nM", "GMACs", "file\nMB", "latency\nms", "90 %\nwithin", "images\n/s", "memory\nMB", "speed\nx")


@dataclass
class BenchmarkConfig:
    """Time networks on this machine, in turns: latency, throughput, memory, arithmetic and parameters."""

    models: Paths = field(default_factory=list)
    """Networks: presets (pspnet-r18) or HEAD/BACKBONE with random weights, run folders, .safetensors and .onnx files,
    and all else that `fakd evaluate` takes. The first is what the others' speed is compared with."""
    _: KW_ONLY
    size: Size = (512, 512)
    """Height and width in pixels of the images."""
    batch: int = 4
    """Images at once for the throughput; the latency is always of one."""
    threads: int | None = None
    """Threads on the CPU; by default PyTorch's own choice."""
    rounds: int = 15
    """How often every network has its turn."""
    num_classes: int = 19
    """Classes of networks with random weights."""
    device: Device = "cpu"
    """Where PyTorch computes; ONNX files run on the CPU."""
    output: Output | None = None
    """File to write the figures to: .json, or .md for the table."""
    overwrite: bool = False
    """Replace that file if it exists."""


@dataclass(frozen=True)
class Figures:
    """What was measured of one network."""

    name: str
    runtime: str
    parameters: int | None
    """Learned numbers without the auxiliary head; None where the file does not say its architecture."""
    macs: int | None
    """Multiply-accumulates of one image."""
    file_bytes: int | None
    """None for a network without a file."""
    latency: float
    """Median seconds for one image."""
    latency_90: float
    """Seconds within which nine of ten images are done."""
    throughput: float
    """Images a second, `batch` at once, in the median round."""
    memory: int
    """Peak bytes, see `fakd.export.speed_and_memory.measure_footprint`."""
    speed: float
    """How many times as fast as the first network, for one image: the median over the rounds."""


def benchmark(config: BenchmarkConfig) -> list[Figures]:
    """Print the table, and write it if asked.

    Raises:
        ValueError: a name is unknown, or a number is out of range.
        FileNotFoundError: there is no such file.
        FileExistsError: the file for the figures exists.
    """
    _check(config)
    device = pick_device(config.device)
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    networks = [open_timed(name, config.num_classes, device) for name in config.models]
    calls: dict[str, Callable[[], Tensor]] = {}
    for count in (1, config.batch):
        images = torch.rand(count, 3, *config.size, generator=torch.Generator().manual_seed(0)).to(device)
        calls |= {f"{count} {c.name}": partial(c.predict, images) for c in networks}
    with progress("rounds") as bar:
        task = bar.add_task("timing", total=config.rounds, note="")
        times = time_in_rounds(calls, config.rounds, device, lambda: bar.advance(task))
    found = [_figures(network, times, config, networks[0].name, device) for network in networks]
    caption = _caption(config, device)
    _print(found, caption)
    if config.output is not None:
        write_text(config.output, _text(found, caption, config))
        say(f"written to {config.output}")
    return found


def _check(config: BenchmarkConfig) -> None:
    if not config.models:
        raise ValueError("name the networks to time: fakd benchmark pspnet-r101 pspnet-r18 student.onnx")
    if len(set(config.models)) < len(config.models):
        raise ValueError(f"a network is named twice in {', '.join(config.models)}.")
    check_least(config, batch=1, rounds=1, num_classes=1, threads=1)
    if min(config.size) < 1:
        raise ValueError(f"size must be at least 1 pixel along each side, got {config.size}.")
    if config.output is None:
        return
    if config.output.suffix not in (".json", ".md"):
        raise ValueError(f"the output must end in .json or .md, got {config.output}.")
    check_free(config.output, config.overwrite)


def _figures(
    network: TimedNetwork, times: dict[str, list[float]], config: BenchmarkConfig, first: str, device: torch.device
) -> Figures:
    name = network.name
    own, base = times[f"1 {name}"], times[f"1 {first}"]
    parameters, macs = network.cost(config.size) or (None, None)
    return Figures(
        name,
        network.runtime,
        parameters,
        macs,
        network.size,
        median(own),
        quantiles(own, n=10, method="inclusive")[-1] if len(own) > 1 else own[0],
        config.batch / median(times[f"{config.batch} {name}"]),
        measure_footprint(name, config.num_classes, config.size, torch.get_num_threads(), device),
        median(theirs / ours for theirs, ours in zip(base, own, strict=True)),
    )


def _cells(figures: Figures) -> tuple[str, ...]:
    return (
        figures.name,
        figures.runtime,
        "-" if figures.parameters is None else f"{figures.parameters / 1e6:.2f} M",
        "-" if figures.macs is None else f"{figures.macs / 1e9:.2f}",
        "-" if figures.file_bytes is None else f"{figures.file_bytes / 1e6:.1f}",
        f"{1e3 * figures.latency:.1f}",
        f"{1e3 * figures.latency_90:.1f}",
        f"{figures.throughput:.1f}",
        f"{figures.memory / 1e6:.0f}",
        f"x {figures.speed:.2f}",
    )


def _caption(config: BenchmarkConfig, device: torch.device) -> str:
    where = f"{torch.get_num_threads()} threads of {platform.processor() or platform.machine()}"
    if device.type == "cuda":
        where = torch.cuda.get_device_name(device)
    height, width = config.size
    return (
        f"Images of {height}x{width}, float32, {where}, PyTorch {torch.__version__}. Latency is of one image, the "
        f"median of {config.rounds} rounds in which the networks take turns; images/s is of {config.batch} at once. "
        "Speed is the median over the rounds of the first network's time over this one's: on a machine that does other "
        "things too, that ratio holds better than milliseconds. Networks of PyTorch have their batch normalisations "
        "folded and run channels-last. Memory is the most that a process of its own holds while it predicts one image, "
        "beyond the imported libraries."
    )


def _print(found: Sequence[Figures], caption: str) -> None:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True, caption=caption)
    table.caption_justify = "left"
    table.add_column("network", overflow="fold")
    for name in _NARROW:  # 80 columns have room for these beside a name
        table.add_column(name, justify="right", no_wrap=True)
    for figures in found:
        name, runtime, parameters, *numbers, speed = _cells(figures)
        numbers = [parameters.removesuffix(" M"), *numbers, speed.removeprefix("x ")]
        table.add_row(Text(f"{name}\n{runtime}"), *numbers, end_section=True)
    console.print(table, soft_wrap=False)


def _text(found: Sequence[Figures], caption: str, config: BenchmarkConfig) -> str:
    assert config.output is not None
    if config.output.suffix == ".json":
        return json.dumps({"caption": caption, "networks": [asdict(figures) for figures in found]}, indent=2) + "\n"
    rows = [COLUMNS, ("---", "---", *["---:"] * (len(COLUMNS) - 2)), *map(_cells, found)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + f"\n\n{caption}\n"
