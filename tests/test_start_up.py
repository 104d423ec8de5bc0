"""What is not imported before it is needed: a command line that only helps should answer at once."""

import subprocess
import sys

import pytest

HEAVY = {"lightning_fabric", "timm", "matplotlib", "plotly", "scipy", "gradio", "transformers", "pandas", "tensorboard"}


def imported(code: str) -> set[str]:
    """The modules that a process has when it has run the code."""
    report = "import sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "code",
    [
        "import fakd",
        "import fakd.cli",
        "import fakd.cli\ntry: fakd.cli.main(['--help'])\nexcept SystemExit: pass",
        "import fakd.cli\ntry: fakd.cli.main(['data', '--help'])\nexcept SystemExit: pass",
        "import fakd.cli\ntry: fakd.cli.main(['--version'])\nexcept SystemExit: pass",
    ],
)
def test_help_needs_no_pytorch(code: str) -> None:
    assert imported(code) & (HEAVY | {"torch", "torchvision", "torchmetrics", "numpy", "PIL"}) == set()


def test_losses_need_pytorch_alone() -> None:
    assert imported("from fakd import FAKD") & (HEAVY | {"torchvision", "torchmetrics", "torch._dynamo"}) == set()


@pytest.mark.parametrize("command", ["predict", "evaluate", "inspect", "convert", "export", "benchmark", "data_check"])
def test_commands_import_what_they_use(command: str) -> None:
    assert imported(f"import fakd.commands.{command}") & ((HEAVY - {"timm"}) | {"torchmetrics"}) == set()
