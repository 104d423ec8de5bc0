"""Where runs are carried out, as options: on this machine, or by Ray."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from fakd.experiments.local_engine import LocalEngine
from fakd.experiments.planned_run import PlannedRun
from fakd.experiments.ray_engine import RayEngine
from fakd.options import check_least
from fakd.training.stopping import Interrupted


@dataclass(kw_only=True)
class EngineConfig:
    """What carries out many runs."""

    engine: Literal["local", "ray"] = "local"
    """What carries out the runs: processes on this machine, or all machines of a Ray cluster (pip install
    'fakd[ray]')."""
    jobs: int | None = None
    """How many runs at once on this machine; by default one per GPU, or one on a CPU, whose cores they share."""
    ray_address: str | None = None
    """Ray cluster to use, as HOST:6379 or ray://HOST:10001; by default RAY_ADDRESS, or a new one on this machine."""
    cpus: int | None = None
    """Cores that Ray sets aside for a run; by default one for each device and one for each of its loader processes."""

    def check_engine(self) -> None:
        """Check what can be checked without starting anything.

        Raises:
            ValueError: an option is out of range, or is of the other engine.
        """
        check_least(self, jobs=1, cpus=1)
        if self.engine == "ray" and self.jobs is not None:
            raise ValueError("jobs is for --engine local: Ray runs as many at once as it has room for; see --cpus.")
        if self.engine == "local" and (self.ray_address or self.cpus) is not None:
            raise ValueError("ray_address and cpus are for --engine ray: add it, or leave them out.")

    @contextmanager
    def opened(self, planned: Sequence[PlannedRun]) -> Iterator[LocalEngine | RayEngine]:
        """The engine, with room for these runs; at the end all have ended, by force if `Interrupted` says so."""
        engine: LocalEngine | RayEngine = (
            LocalEngine(planned, self.jobs)
            if self.engine == "local"
            else RayEngine(planned, self.ray_address, self.cpus)
        )
        try:
            yield engine
        except Interrupted:
            engine.stop(at_once=True)
        except BaseException:
            engine.stop()
            raise
        finally:
            engine.close()
