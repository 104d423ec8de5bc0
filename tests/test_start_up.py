"""What is not imported before it is needed: a command line that only helps should answer at once."""

import json
import subprocess
import sys

HEAVY = {"lightning_fabric", "timm", "matplotlib", "plotly", "scipy", "gradio", "transformers", "pandas", "tensorboard"}
REPORT = "json.dump(seen, sys.stderr)"
LOOK = "seen.append(sorted(name for name in sys.modules if '.' not in name or name == 'torch._dynamo'))"


def imported(*parts: str) -> list[set[str]]:
    """The packages that a process has after each part of its code."""
    code = "\n".join(["import json, sys", "seen = []", *(f"{part}\n{LOOK}" for part in parts), REPORT])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return [set(names) for names in json.loads(done.stderr)]


def test_help_needs_no_pytorch_and_losses_pytorch_alone() -> None:
    *light, losses = imported(
        "import fakd",
        "import fakd.cli",
        *[
            f"try: fakd.cli.main({words})\nexcept SystemExit: pass"
            for words in (["--help"], ["data", "--help"], ["--version"])
        ],
        "from fakd import FAKD",
    )
    for found in light:
        assert found & (HEAVY | {"torch", "torchvision", "torchmetrics", "numpy", "PIL"}) == set()
    assert losses & (HEAVY | {"torchvision", "torchmetrics", "torch._dynamo"}) == set()


def test_commands_import_what_they_use() -> None:
    commands = ("predict", "evaluate", "inspect", "convert", "export", "benchmark", "data_check")
    *found, training = imported(*(f"import fakd.commands.{command}" for command in commands), "import fakd.training")
    for command, names in zip(commands, found, strict=True):
        assert names & ((HEAVY - {"timm"}) | {"torchmetrics"}) == set(), command
    assert training & {"torchmetrics", "transformers", "matplotlib", "plotly", "gradio"} == set()
