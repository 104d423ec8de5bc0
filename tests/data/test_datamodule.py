from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from fakd.data import DataError, DatasetSpec, Sample, get_dataset
from fakd.data.datamodule import SegmentationData


class Recorder(LightningModule):
    """Learns nothing, but notes the names it is given; `optimizers` steps of the optimizer per batch."""

    def __init__(self, optimizer_steps: int = 1) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.automatic_optimization = False
        self.optimizer_steps = optimizer_steps
        self.trained: list[tuple[str, ...]] = []
        self.validated: list[str] = []

    def training_step(self, batch: Sample, index: int) -> None:
        self.trained.append(tuple(batch.name))
        for _ in range(self.optimizer_steps):
            self.weight.grad = torch.ones(())
            self.optimizers().step()

    def validation_step(self, batch: Sample, index: int) -> None:
        self.validated += batch.name

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def _trainer(root: Path, steps: int) -> Trainer:
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        use_distributed_sampler=False,
        default_root_dir=root,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("optimizer_steps", [1, 2])
def test_resumed_run_sees_what_the_uninterrupted_one_saw(
    colour_spec: DatasetSpec, tmp_path: Path, optimizer_steps: int
) -> None:
    def run(batches: int, resume: Path | None = None) -> tuple[Recorder, Trainer]:
        model, trainer = Recorder(optimizer_steps), _trainer(tmp_path, batches * optimizer_steps)
        trainer.fit(model, datamodule=SegmentationData(colour_spec, batch_size=3), ckpt_path=resume)
        return model, trainer

    whole, _ = run(6)
    first, trainer = run(4)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    saved = torch.load(tmp_path / "half.ckpt", weights_only=False)
    assert saved["SegmentationData"] == {"step": 4}
    second, _ = run(6, tmp_path / "half.ckpt")
    assert first.trained + second.trained == whole.trained
    assert whole.validated == [f"made/{index}" for index in range(5)] * 3


def test_loaders(colour_spec: DatasetSpec) -> None:
    data = SegmentationData(colour_spec, base_size=(24, 32), crop_size=(16, 16), batch_size=4, workers=1)
    data.setup("fit")
    train = data.train_dataloader()
    assert train.persistent_workers
    batch = next(iter(train))
    assert batch.image.shape == (4, 3, 16, 16)
    assert batch.image.dtype == batch.label.dtype == torch.uint8
    whole = next(iter(data.val_dataloader()))
    assert whole.image.shape == (1, 3, 24, 32)
    assert whole.label.shape == (1, 48, 64)


def test_loaders_leave_the_global_generator_alone(colour_spec: DatasetSpec) -> None:
    data = SegmentationData(colour_spec, batch_size=2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    next(iter(data.train_dataloader()))
    list(data.val_dataloader())
    assert torch.equal(before, torch.get_rng_state())


def test_ranks_share_the_work(colour_spec: DatasetSpec) -> None:
    validated: list[str] = []
    trained: list[Tensor] = []
    for rank in range(2):
        data = SegmentationData(colour_spec, batch_size=4)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        validated += [batch.name[0] for batch in data.val_dataloader()]
        trained.append(next(iter(data.train_dataloader())).image)
    assert sorted(validated) == [f"made/{index}" for index in range(5)]
    whole = next(iter(SegmentationData(colour_spec, batch_size=4).train_dataloader())).image
    assert torch.equal(torch.stack(trained, dim=1).flatten(0, 1), whole)


def test_a_rank_without_an_image_counts_none(colour_spec: DatasetSpec) -> None:
    """More ranks than the five images: each image counts once, and every rank has a batch to meet the others at."""
    counted: list[str] = []
    for rank in range(7):
        data = SegmentationData(colour_spec)
        data.trainer = SimpleNamespace(global_rank=rank, world_size=7)  # type: ignore[assignment]
        (batch,) = data.val_dataloader()
        if (batch.label != 255).any():
            counted += batch.name
    assert counted == [f"made/{index}" for index in range(5)]


def test_state_without_a_trainer(colour_spec: DatasetSpec) -> None:
    data = SegmentationData(colour_spec, batch_size=2)
    assert data.state_dict() == {"step": 0}
    steps = [list(batch.name) for batch in islice(data.train_dataloader(), 3)]
    data.load_state_dict({"step": 2})
    assert [list(batch.name) for batch in islice(data.train_dataloader(), 1)] == steps[2:]


def test_setup_and_check_name_the_fault(tmp_path: Path, write_pair) -> None:
    with pytest.raises(DataError, match="train/, trainannot/ missing"):
        SegmentationData(get_dataset("camvid"), tmp_path).setup("fit")
    image, _ = write_pair()
    image.write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.jpg: the file is empty"):
        SegmentationData(get_dataset("camvid"), tmp_path).check()
