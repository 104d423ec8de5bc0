"""Two processes for all the methods that exchange something: to start them takes longer than what they do."""

from pathlib import Path

import pytest
import torch.multiprocessing as mp
from two_processes import work_of_each

MODULES = ("test_adversarial", "test_covariance", "test_memory_bank")


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with a folder for each module, in which its `work` has left what it made of either rank."""
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(work_of_each, (str(folder), MODULES), nprocs=2)
    return folder
