"""What the store keeps, and that nothing else is ever taken for it."""

import pickle
from pathlib import Path

import pytest
import torch

from fakd.data.spec import DataError
from fakd.data.teacher_logits import LogitFormat, LogitStore

VIEWS = [(view, index) for index in range(2) for view in (0, 3)]


def _store(folder: Path, form: LogitFormat = "float16") -> tuple[LogitStore, dict[tuple[int, int], torch.Tensor]]:
    """A store of two views of two images, and what is in it: (C, h, w) of each."""
    store = LogitStore(folder, ["image 0", "image 1"], 12, form)
    generator = torch.Generator().manual_seed(0)
    maps = {view: torch.randn(12, 4, 5, generator=generator) for view in VIEWS}
    for view, logits in maps.items():
        store.write(*view, logits)
    return store, maps


@pytest.mark.parametrize(("form", "bytes_each"), [("float16", 480), ("int8", 336), ("top8", 520)])
def test_each_view_is_kept_in_a_file_of_its_own(tmp_path: Path, form: LogitFormat, bytes_each: int) -> None:
    store, maps = _store(tmp_path, form)
    names = {"000000-v00", "000000-v03", "000001-v00", "000001-v03"}
    assert {path.stem for path in tmp_path.iterdir()} == names
    assert all(bytes_each < path.stat().st_size < bytes_each + 512 for path in tmp_path.iterdir())
    there = pickle.loads(pickle.dumps(store))  # as spawned workers have it
    for view, due in maps.items():
        found = there.read(*view)
        assert found.dtype == torch.float32
        if form == "float16":
            assert torch.equal(found, due.half().float())
        elif form == "int8":
            half_step = (due.amax((1, 2)) - due.amin((1, 2)))[:, None, None] / 510
            assert ((found - due).abs() <= half_step + 1e-6).all()
        else:
            best = due.topk(8, dim=0).indices
            assert torch.equal(found.gather(0, best), due.gather(0, best).half().float())


def test_a_file_that_is_not_right_is_never_used(tmp_path: Path) -> None:
    store, _ = _store(tmp_path)
    assert all(store.is_right(*view) for view in VIEWS)
    good = store.path(0, 0).read_bytes()
    store.path(3, 0).write_bytes(good)  # whole, but of another view
    store.path(0, 1).write_bytes(good)  # of another image
    store.path(3, 1).write_bytes(store.path(3, 1).read_bytes()[:-1])
    store.path(0, 0).unlink()
    for view in VIEWS:
        assert not store.is_right(*view)
        with pytest.raises(DataError, match=r"-v0\d\.safetensors: the cached logits were removed, damaged or replaced"):
            store.read(*view)
