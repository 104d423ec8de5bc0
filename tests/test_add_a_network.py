"""The page on adding a network shows a head that works."""

from pathlib import Path

import pytest
import torch
from brought import EXAMPLES
from tiny import NETWORK

import fakd
from fakd.models import HEADS
from fakd.training import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/add-a-network.md").read_text()


@pytest.fixture
def head(monkeypatch: pytest.MonkeyPatch) -> type:
    """The page's head, registered as the page says."""
    monkeypatch.syspath_prepend(EXAMPLES)
    from my_head import SumHead

    monkeypatch.setitem(HEADS, "sum", SumHead)
    return SumHead


def test_the_page_shows_the_file() -> None:
    code = (EXAMPLES / "my_head.py").read_text()
    assert f"```python\n{code}```" in PAGE
    assert len(code.splitlines()) < 40


def test_the_pages_links_lead_somewhere() -> None:
    for link in ("examples/my_head.py", "src/fakd/models/segmentor.py"):
        assert f"](../{link})" in PAGE
        assert (ROOT / link).exists()


@pytest.mark.parametrize("size", [(33, 47), (64, 96)])
def test_any_size(head, size) -> None:
    network = fakd.create_model("sum/test_resnet.r160_in1k", num_classes=5, channels=8).eval()
    output = network(torch.rand(1, 3, *size))
    assert output.logits.shape == (1, 5, *output.features.shape[2:])
    assert output.features.shape[2:] == output.stages[0].shape[2:]


def test_a_network_with_it_trains_and_is_read_again(head, train_config, tmp_path) -> None:
    train(train_config(network=NETWORK.replace("pspnet", "sum"), max_steps=2, eval_every=2))
    network, _ = fakd.load_model(tmp_path / "run")
    assert isinstance(network.head, head)
    assert network.aux_head is None
