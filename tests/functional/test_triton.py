"""The Triton kernels without a GPU: their numbers in Triton's interpreter, and their code for two kinds of GPU.

Speed, and what a GPU makes of the code, only a GPU can tell.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fakd.functional import channel_kd, fused

triton = pytest.importorskip("triton")
HERE = Path(__file__).parent
POINTERS = {"labels": "*i64", "peaks": "*i32"}
LOGITS = ("z", "q", "of_student")
SIZES = {"MAPS": 16, "BLOCK": 32, "SPAN": 1024, "COLUMNS": 256}
BOTH = {"OF_STUDENT": True, "OF_TABLE": True}
VARIANTS = {
    "plain": ("divergence_kernel", {"AUGMENTED": False, "BLOCK": 1024}, 4),
    "paper": ("divergence_kernel", {"AUGMENTED": True, "BLOCK": 1024}, 4),
    "tight": ("tight_divergence_kernel", {"BLOCK": 1024}, 4),
    "gradient, plain": (
        "gradient_kernel",
        {"AUGMENTED": False, "TIGHT": False, "OF_STUDENT": True, "OF_TABLE": False, **SIZES, "COLUMNS": 16},
        4,
    ),
    "gradient, paper": ("gradient_kernel", {"AUGMENTED": True, "TIGHT": False, **BOTH, **SIZES}, 8),
    "gradient, tight": ("gradient_kernel", {"AUGMENTED": True, "TIGHT": True, **BOTH, **SIZES}, 8),
}


@pytest.mark.slow
def test_numbers_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "kernels_interpreted.py"]
    done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\d\d+ passed", done.stdout)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("architecture", "logits"), [(90, "fp32"), pytest.param(80, "bf16", marks=pytest.mark.slow)], ids=str
)
def test_code_for_a_gpu(variant, logits, architecture, tmp_path, monkeypatch):
    """It compiles, to a binary that keeps all of its numbers in registers."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from fakd.functional import triton_channel_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    name, constants, warps = VARIANTS[variant]
    kernel = getattr(triton_channel_kernels, name)
    signature = {argument: kind(argument, constants, logits) for argument in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": warps})
    assert made.metadata.shared <= 99 * 1024  # what a program may have on the smaller GPUs of the last years
    binary = tmp_path / "kernel.cubin"
    binary.write_bytes(made.asm["cubin"])
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    usage = subprocess.run([tool, "--dump-resource-usage", binary], capture_output=True, text=True, check=True).stdout
    registers, stack, local = (int(re.search(rf"{what}:(\d+)", usage)[1]) for what in ("REG", "STACK", "LOCAL"))
    print(f"{registers} registers, {made.metadata.shared} bytes shared")
    assert (stack, local) == (0, 0), usage


def kind(argument, constants, logits):
    if argument in constants:
        return "constexpr"
    if argument in LOGITS:
        return f"*{logits}"
    if argument in ("table", "shrinkage", "rows", "statistics", "upstream", "of_table"):
        return "*fp32"
    return POINTERS.get(argument, "fp32" if argument == "scale" else "i32")


def test_tensors_on_the_cpu_are_pytorchs():
    assert not fused.takes(torch.zeros(2, 2))
    logits = torch.randn(1, 2, 3, 3)
    assert channel_kd(logits, logits).item() == pytest.approx(0, abs=1e-6)
