import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakd.data.teacher_logits import load_checked, save_checked

TENSORS = {"levels": torch.arange(24, dtype=torch.uint8).view(2, 3, 4), "low": torch.tensor([[0.5], [-2.0]])}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "deeper" / "map.safetensors"
    save_checked(path, TENSORS, "map 3")
    return path


def test_what_was_written_is_read(written) -> None:
    found = load_checked(written, "map 3")
    assert found is not None
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert [path.name for path in written.parent.iterdir()] == ["map.safetensors"]


def test_another_label_no_file_and_a_folder(written, tmp_path) -> None:
    assert load_checked(written, "map 4") is None
    assert load_checked(tmp_path / "none", "map 3") is None
    assert load_checked(tmp_path, "map 3") is None


def test_strided_tensors_are_kept_by_value(tmp_path) -> None:
    save_checked(tmp_path / "a", {"t": torch.arange(6).view(2, 3).T}, "")
    found = load_checked(tmp_path / "a", "")
    assert found is not None
    assert found["t"].tolist() == [[0, 3], [1, 4], [2, 5]]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_bit_that_changes_is_noticed(written, tmp_path, place: float, bit: int) -> None:
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    broken = tmp_path / "broken"
    broken.write_bytes(content)
    found = load_checked(broken, "map 3")
    # A bit of the header's padding means nothing.
    assert found is None or all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("bytes_left", [0, 1, 7, 8, 100, -1])
def test_any_length_but_the_whole_is_noticed(written, tmp_path, bytes_left: int) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(written.read_bytes()[:bytes_left])
    assert load_checked(broken, "map 3") is None
    broken.write_bytes(written.read_bytes() + b"\0")
    assert load_checked(broken, "map 3") is None


def test_every_bit_of_the_tensors_is_covered(written, tmp_path) -> None:
    content = written.read_bytes()
    payload = sum(tensor.nbytes for tensor in TENSORS.values())
    for place in range(len(content) - payload, len(content)):
        broken = tmp_path / "broken"
        broken.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert load_checked(broken, "map 3") is None
