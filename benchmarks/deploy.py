"""Export the paper's networks, and time a teacher, its student and the student's files: docs/benchmarks/deploy.md.

    python benchmarks/deploy.py errors
    python benchmarks/deploy.py speed --size 256 --threads 2 --rounds 9
    python benchmarks/deploy.py int8 --student RUN --data-root FOLDER

- errors: the largest difference between onnxruntime and PyTorch at four sizes, relative to the largest score, for each
  of the eight networks with random weights that keep activations at their size
- speed: `fakd benchmark` of teacher and student, both as PyTorch networks and as files of `fakd export`, the student's
  in 8 bits too (calibrated on noise, which changes no time)
- int8: what 8 bits cost a trained student, for each choice of operators
"""

import argparse
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from networks import network

from fakd.commands.benchmark import BenchmarkConfig, benchmark
from fakd.commands.export import ExportConfig, export
from fakd.console import quiet_libraries
from fakd.export.int8 import QUANTIZED, Calibration, quantize, score_file
from fakd.export.onnx_check import SIZES, check_graph
from fakd.export.onnx_graph import Deployed, write_graph
from fakd.export.speed_and_memory import time_in_rounds
from fakd.models import PRESETS, open_model, save_model
from fakd.models.onnx import OnnxNetwork

CHOICES: dict[str, Sequence[str] | None] = {
    "Conv": ("Conv",),
    ", ".join(QUANTIZED): QUANTIZED,
    "all that onnxruntime can": None,
}


def errors() -> None:
    rows = [["network", "MB", *(f"{height}x{width}" for height, width in SIZES)], ["---", *["---:"] * (1 + len(SIZES))]]
    notes = {"fakd.version": "0", "num_classes": "19", "mean": "[0, 0, 0]", "std": "[1, 1, 1]"}
    for name in PRESETS:
        deployed = Deployed(network(name, "cpu"))
        with TemporaryDirectory() as folder:
            path = Path(folder) / "network.onnx"
            write_graph(deployed, path, notes)
            checks = check_graph(deployed, path)
            rows.append([name, f"{path.stat().st_size / 1e6:.1f}", *(f"{check.error:.1e}" for check in checks)])
    print_table(rows)


def speed(teacher: str, student: str, size: int, batch: int, rounds: int) -> None:
    home = Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)  # so that files have short names
        for name in (teacher, student):
            save_model(network(name, "cpu"), f"{name}.safetensors")
            export(ExportConfig(f"{name}.safetensors", Path(f"{name}.onnx")))
        noise = torch.rand(2, 1, 3, size, size)
        quantize(Path(f"{student}.onnx"), Path(f"{student}-int8.onnx"), noise)
        names = [
            *(f"{teacher}.safetensors", f"{teacher}.onnx"),
            *(f"{student}.safetensors", f"{student}.onnx", f"{student}-int8.onnx"),
        ]
        benchmark(BenchmarkConfig(names, size=(size, size), batch=batch, rounds=rounds, output=Path("found.md")))
        print(Path("found.md").read_text())
        os.chdir(home)


def int8(student: str, root: Path, images: int, rounds: int) -> None:
    rows = [["in 8 bits", "mIoU %", "change", "MB", "ms for one image"], ["---", *["---:"] * 4]]
    model, notes = open_model(student)
    with TemporaryDirectory() as folder:
        whole = Path(folder) / "whole.onnx"
        config = ExportConfig(student, whole, data_root=root, calibration_images=images, workers=0)
        export(config)
        calibration = Calibration.of(config, model.num_classes, notes)
        before = score_file(whole, calibration)
        files, scores = {"nothing": whole}, {"nothing": [f"{before:.2f}", ""]}
        for name, operators in CHOICES.items():
            files[name] = Path(folder) / f"{len(files)}.onnx"
            quantize(whole, files[name], calibration.images(), operators)
            after = score_file(files[name], calibration)
            scores[name] = [f"{after:.2f}", f"{after - before:+.2f}"]
        sizes = {name: f"{path.stat().st_size / 1e6:.1f}" for name, path in files.items()}
        networks = {name: OnnxNetwork(path) for name, path in files.items()}
    images = next(calibration.images())
    calls = {name: partial(network.answer, images) for name, network in networks.items()}
    times = time_in_rounds(calls, rounds, torch.device("cpu"))
    milliseconds = {name: f"{1e3 * median(own):.0f}" for name, own in times.items()}
    print_table([*rows, *([name, *scores[name], sizes[name], milliseconds[name]] for name in files)])


def print_table(rows: Sequence[Sequence[str]]) -> None:
    print("\n".join(f"| {' | '.join(row)} |" for row in rows), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=("errors", "speed", "int8"))
    parser.add_argument("--pair", nargs=2, default=["pspnet-r101", "pspnet-r18"], metavar=("TEACHER", "STUDENT"))
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--student", help="a run folder, for int8")
    parser.add_argument("--data-root", type=Path, help="of the data set that it was trained on")
    parser.add_argument("--images", type=int, default=64, help="for the calibration")
    args = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    if args.table == "errors":
        errors()
    elif args.table == "speed":
        speed(*args.pair, args.size, args.batch, args.rounds)
    else:
        int8(args.student, args.data_root, args.images, args.rounds)


if __name__ == "__main__":
    main()
