"""`fakd data prepare`: from the published archives to a folder that training can read."""

import os
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path, PurePath

from rich.filesize import decimal

from fakd.console import say
from fakd.data import get_dataset
from fakd.data.prepare.archives import extract, is_extracted
from fakd.data.prepare.plans import PLANS, Archive, Plan
from fakd.data.spec import DataError, DatasetSpec
from fakd.files.download import download
from fakd.options import check_least

_NOTHING_TO_DO = {
    "toy-scenes": "toy-scenes is drawn by the program itself: there is nothing to prepare. Train on it right away.",
    "folder": (
        "folder is your own data: there is nothing to fetch or convert. See whether it is as it should be with "
        "`fakd data check folder {root}`."
    ),
}


@dataclass
class PrepareConfig:
    """Fetch and convert a published data set; run it again to go on after an interruption."""

    dataset: str
    """Data set: ade20k, cityscapes, voc2012, pascal-context or camvid."""
    root: Path
    """Folder to put it in; archives that lie there already are used."""
    _: KW_ONLY
    workers: int | None = None
    """Processes that convert label maps; by default one for each core."""
    keep_archives: bool = True
    """Whether to keep the archives once all is done."""


def prepare(config: PrepareConfig) -> Path:
    """Fetch what can be fetched without an account, extract it, and convert labels to PNG where needed.

    Returns:
        The folder to train on, as `--data-root`.

    Raises:
        ValueError: There is no such data set, or nothing to prepare for it.
        DataError: Archives must be put in place by hand, or a file is damaged; the message says which, and what to do.
        DownloadError: The network or a server failed.
    """
    check_least(config, workers=0)
    if config.dataset in _NOTHING_TO_DO:
        raise ValueError(_NOTHING_TO_DO[config.dataset].format(root=config.root))
    spec, plan = get_dataset(config.dataset), PLANS.get(config.dataset)
    if plan is None:
        raise ValueError(f"{config.dataset} has nothing to prepare, expected one of {', '.join(PLANS)}.")
    if spec.notice:
        say(spec.notice)
    root = _above(Path(config.root).expanduser().absolute(), PurePath(plan.folder))
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: a file, expected a folder to put {spec.name} in. Choose another place.")
    _require_by_hand(spec.name, plan, root)
    root.mkdir(parents=True, exist_ok=True)
    for archive in plan.archives:
        _have(archive, root)
    data_root = root / plan.folder
    plan.convert(data_root, config.workers)
    _count(spec, data_root)
    _tidy(plan.archives, root, config.keep_archives)
    say(f"ready: --dataset {spec.name} --data-root {data_root}", style="bold")
    return data_root


def _above(root: Path, folder: PurePath) -> Path:
    """The folder that `folder` lies in, if the user gave one inside, as VOCdevkit."""
    for depth in range(len(folder.parts), 0, -1):
        if root.parts[-depth:] == folder.parts[:depth]:
            return root.parents[depth - 1]
    return root


def _is_extracted(archive: Archive, root: Path) -> bool:
    """Whether the parts of an archive are there, from an earlier call or because the user extracted them."""
    folder = root / archive.into
    done = is_extracted(archive.name, folder, archive.parts)
    if done is None and not (root / archive.name).exists():
        return all((folder / part).exists() for part in archive.parts)
    return bool(done)


def _require_by_hand(dataset: str, plan: Plan, root: Path) -> None:
    wanted = [
        archive
        for archive in plan.archives
        if archive.account and not _is_extracted(archive, root) and not (root / archive.name).is_file()
    ]
    if wanted:
        raise DataError(
            f"{dataset} can be had only with an account, which is free of charge for research. Register at "
            f"{wanted[0].url}, download {' and '.join(archive.name for archive in wanted)} there, put "
            f"{'them' if len(wanted) > 1 else 'it'} into {root}, and run the same command again."
        )


def _have(archive: Archive, root: Path) -> None:
    """Have the parts of an archive on the disk."""
    if _is_extracted(archive, root):
        say(f"{archive.name}: extracted already")
        return
    path = root / archive.name
    if not archive.account:
        download(archive.url, path, checksum=archive.checksum)
        if archive.checksum is None:
            say(f"{archive.name}: no checksum is published, so only the archive's own are verified", style="yellow")
    extract(path, root / archive.into, archive.parts)


def _count(spec: DatasetSpec, data_root: Path) -> None:
    """Open both splits, which fails where files have no partner, and compare with what is published."""
    for split in ("train", "val"):
        found = len(spec.open(data_root, split))
        published = spec.counts.get(split, found)
        wrong = "" if found == published else f", but {published:,} are published"
        say(f"{split}: {found:,} images{wrong}", style="yellow" if wrong else None)


def _tidy(archives: Sequence[Archive], root: Path, keep: bool) -> None:
    """Tell what is on the disk, and what may go."""
    there = [path for archive in archives if (path := root / archive.name).is_file()]
    taken = decimal(sum(path.stat().st_size for path in there))
    names = ", ".join(path.name for path in there)
    if there and not keep:
        for path in there:
            path.unlink()
        say(f"deleted {names}, {taken}")
    say(f"{root} takes {decimal(_size(root))}")
    if there and keep:
        say(f"{taken} of it are archives that are no longer needed: {names}")


def _size(folder: Path) -> int:
    return sum(os.lstat(os.path.join(at, name)).st_size for at, _, names in os.walk(folder) for name in names)
