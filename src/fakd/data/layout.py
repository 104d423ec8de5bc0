"""Where the files of a published data set lie: its root, its lists of names, and the pairs that a list names."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath

from fakd.data.pairing import IMAGE_SUFFIXES, Pairs, Problem, listed
from fakd.data.spec import DataError

_COLUMNS = 2


def require_split(dataset: str, split: str, splits: Collection[str]) -> None:
    """Raise `DataError` if there is no such split."""
    if split not in splits:
        raise DataError(f"{dataset} has no split {split!r}, expected one of {', '.join(splits)}.")


def require_folders(dataset: str, root: Path | None, folders: Sequence[str]) -> Path:
    """Return `root` if it holds all `folders`.

    Raises:
        DataError: No root was given, or it or one of the folders does not exist.
    """
    expected = f"expected a folder that contains {', '.join(f'{name}/' for name in folders)}"
    if root is None:
        raise DataError(f"{dataset} needs the path of its files, but no root was given; {expected}.")
    root = Path(root).expanduser()
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; for {dataset} {expected}. Check the path of the root.")
    missing = [f"{name}/" for name in folders if not (root / name).is_dir()]
    if missing:
        raise DataError(f"{root}: {', '.join(missing)} missing; for {dataset} {expected}.")
    return root


def locate_root(dataset: str, root: Path | None, folders: Sequence[str], within: Sequence[str], advice: str) -> Path:
    """Find the folder that holds all `folders`: the root itself, or one of the places in it.

    Args:
        dataset: Its name, for messages.
        root: What the user gave.
        folders: What must be there, as "images/training".
        within: Where archives put the data set when they are unpacked into the root, as "VOCdevkit/VOC2012".
        advice: What to do if nothing is found, as one sentence.

    Raises:
        DataError: No root was given, or it or one of the folders does not exist.
    """
    if root is not None:
        root = Path(root).expanduser()
        places = (root, *(root / name for name in within))
        # The place that holds some of them is the one to report if it lacks the others.
        root = next((place for place in places if any((place / name).is_dir() for name in folders)), root)
    try:
        return require_folders(dataset, root, folders)
    except DataError as error:
        raise DataError(f"{error} {advice}") from None


def read_names(path: Path) -> list[str]:
    """Read a list of names, one a line; "IMAGE MASK" with their paths, as some lists have it, is fine too.

    Returns:
        The names without folder and suffix, in the order of the file.

    Raises:
        DataError: The file is missing, no text or empty, or a line is no name or names the same as another.
    """
    if not path.is_file():
        raise DataError(f"{path}: no such file, expected a list of names. Unpack the archive again.")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not readable as a list of names ({error}). Unpack the archive again.") from error
    numbered = [(number, line.split()) for number, line in enumerate(lines, start=1) if line.strip()]
    odd = [f"line {number} {' '.join(words)!r}" for number, words in numbered if len(words) > _COLUMNS]
    if odd:
        raise DataError(f"{path}: {listed(odd)}: expected one name a line, or the paths of an image and its mask.")
    names = [_bare(words[0]) for _, words in numbered]
    if not names:
        raise DataError(f"{path}: the list is empty, expected one name a line. Unpack the archive again.")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError(f"{path}: {len(twice)} names come more than once ({listed(twice)}). Remove the repetitions.")
    return names


def files_by_name(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return the files of a folder, which may be missing, by name without suffix; hidden files do not count.

    Suffixes are given in lower case, as ".png", and may be in upper case on disk.
    """
    if not folder.is_dir():
        return {}
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    }


def pair_listed(names_path: Path, names: Sequence[str], images_dir: Path, masks: dict[str, Path], at: str) -> Pairs:
    """Pair the image and the mask of every name in a list.

    Args:
        names_path: The list, for messages.
        names: What `read_names` gives.
        images_dir: Where the images are.
        masks: Every mask by its name.
        at: Where the masks are, for messages.

    Returns:
        (image path, mask path) in the order of the list. Names without one of them are its `problems`.
    """
    images = files_by_name(images_dir, IMAGE_SUFFIXES)
    problems = list(_absent(names_path, names, images, "image", f"{images_dir.name}/"))
    problems += _absent(names_path, names, masks, "mask", at)
    return Pairs([(images[name], masks[name]) for name in names if name in images and name in masks], problems)


def _absent(names_path: Path, names: Sequence[str], files: dict[str, Path], kind: str, at: str) -> Iterable[Problem]:
    absent = [name for name in names if name not in files]
    if absent:
        advice = "Unpack the archive again, or remove the names from the list."
        yield Problem(
            f"{names_path}: no {kind} in {at} for {len(absent)} of {len(names)} names ({listed(absent)}). {advice}",
            tuple(f"{names_path}: {name} has no {kind} in {at}. {advice}" for name in absent),
        )


def _bare(word: str) -> str:
    path = PurePosixPath(word.replace("\\", "/"))
    return path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name
