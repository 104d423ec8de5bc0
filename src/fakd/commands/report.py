"""The command: from run folders to one file."""

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path

from fakd.analysis.groups import group_runs
from fakd.analysis.report.page import render
from fakd.analysis.report.pictures import Gallery, make_gallery
from fakd.analysis.runs import find_runs, find_teacher_run
from fakd.console import say
from fakd.evaluation.predictor import Device, pick_device
from fakd.files.atomic import check_free, written_at_once
from fakd.options import Hidden, Output, Paths, check_least


@dataclass
class ReportConfig:
    """Write finished runs as one self-contained page: tables, plots, pictures, and the commands that repeat them."""

    runs: Paths = field(default_factory=list)
    """Run folders, or folders that hold run folders, as the output of a comparison does."""
    _: KW_ONLY
    output: Output = Path("report.html")
    """File to write."""
    data_root: Path | None = None
    """Folder of the data set, for the pictures; by default where it was when the runs were made."""
    images: int = 12
    """How many validation images to show; 0 shows none, and needs no data."""
    hide: Hidden = None
    """Classes that pictures show no colour of, as road,sky, or none; by default the background, by its name."""
    search: int = 100
    """How many images of the validation split, evenly spaced, to look through for those where the students do worst."""
    device: Device = "auto"
    """Where to compute the pictures."""
    title: str | None = None
    """Heading of the page; by default the name of the data set."""
    overwrite: bool = False
    """Replace the file if it exists."""

    def __post_init__(self) -> None:
        """Check what can be checked before anything is read.

        Raises:
            ValueError: a number is out of range, or nothing is named to report on.
        """
        if not self.runs:
            raise ValueError("no run is named: give one or more run folders, or the folder that holds them.")
        check_least(self, images=0)
        if self.search < self.images:
            raise ValueError(f"search must be at least as many as images ({self.images}), got {self.search}.")
        if Path(self.output).is_dir():
            raise ValueError(f"output {self.output} is a folder; give a file, as report.html.")


def report(config: ReportConfig) -> Path:
    """Write the page.

    Returns:
        The file.

    Raises:
        FileNotFoundError: a folder is not there, or no run in it is finished.
        ValueError: a run's files are damaged, or the runs are of different data sets.
        DataError: the data set is not where `data_root` says.
        FileExistsError: the file is there already.
    """
    check_free(Path(config.output), config.overwrite)
    runs, unfinished = find_runs([Path(folder) for folder in config.runs])
    for folder in unfinished:
        say(f"left out  {folder}: not finished", style="yellow")
    groups = group_runs(runs)
    teachers = {str(run.folder): find_teacher_run(run, runs) for run in runs}
    say(f"runs      {len(runs)} in {len(groups)} groups, of {runs[0].config['dataset']}")
    gallery = Gallery()
    if config.images:
        gallery = make_gallery(
            groups, teachers, config.data_root, config.images, config.search, pick_device(config.device), config.hide
        )
        for note in gallery.notes:
            say(f"pictures  {note}", style="yellow")
    html = render(groups, unfinished, teachers, gallery, config.title or f"Distillation on {runs[0].config['dataset']}")
    with written_at_once(Path(config.output)) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    say(f"written   {config.output} ({Path(config.output).stat().st_size / 1e6:.1f} MB)")
    return Path(config.output)
