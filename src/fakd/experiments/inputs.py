"""What many runs read, checked once for all of them."""

from collections.abc import Sequence

from fakd.data.batches import SegmentationData
from fakd.experiments.grid import GridConfig
from fakd.training import DistillConfig, RunConfig
from fakd.training.resuming import check_same_inputs
from fakd.training.run_data import data_inputs
from fakd.training.student import check_network
from fakd.training.teacher import load_teacher
from fakd.training.verdicts import check_files


def check_inputs(config: GridConfig | DistillConfig, runs: Sequence[RunConfig]) -> None:
    """Name what is wrong once, rather than in every run; what is quick to find out first.

    Args:
        config: the options that the runs share.
        runs: at least one of each network, and those that are to be gone on with.

    Raises:
        DataError: the data are not as they should be.
        ValueError: they have changed since some run was begun, or a network does not fit them.
    """
    data = SegmentationData(config.spec, config.data_root)
    config.open_unlabelled(data)
    inputs = data_inputs(data)
    for run in [] if config.overwrite else runs:
        check_same_inputs(run, inputs)
    for run in {run.trained_network: run for run in runs}.values():
        check_network(run)
    if config.teacher is not None:
        load_teacher(config.teacher, config)
    if config.check_data:
        check_files(data)
