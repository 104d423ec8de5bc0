"""The command: from a run to a folder that can be given away, and to the Hugging Face Hub if that is asked for."""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path

from huggingface_hub import HfApi

from fakd.analysis.card import TODO, model_card
from fakd.analysis.runs import Run, find_runs, teacher_places
from fakd.console import say
from fakd.files.atomic import written_at_once
from fakd.models import load_model
from fakd.training.run_folder import RunFolder

_FILES = ("README.md", "config.json", "model.safetensors")


@dataclass
class ShareConfig:
    """Make a folder to share from a finished run: its network, and a model card; --push uploads it."""

    run: Path
    """Folder of a finished run."""
    folder: Path
    """Folder to write to: model.safetensors, config.json and README.md, the card."""
    _: KW_ONLY
    beside: Path | None = None
    """Folder that holds the runs of other seeds and methods, for the card; by default the one that holds the run."""
    data_licence: str | None = None
    """Licence or terms of the data set, a sentence for the card; without it the card has a TODO there."""
    push: str | None = None
    """Repository on the Hugging Face Hub to upload to, as USER/NAME, with the token of `hf auth login`; without it
    nothing leaves this machine."""
    public: bool = False
    """Whether everybody may see a repository that --push makes; otherwise only its owner."""
    overwrite: bool = False
    """Write into a folder that is not empty: these three files are replaced, all else stays."""


def share(config: ShareConfig) -> Path:
    """Write the folder, and upload it if that was asked for.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: there is no finished run.
        FileExistsError: the folder holds something.
        ValueError: a file of the run is damaged.
        ConnectionError: it could not be uploaded; the folder is there all the same.
    """
    source, folder = Path(config.run), Path(config.folder)
    if not RunFolder(source).config.is_file():
        raise FileNotFoundError(f"{source} is no run: expected a folder with config.yaml and results.json.")
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not config.overwrite):
        raise FileExistsError(f"{folder} is not empty. Choose another folder, or give --overwrite.")
    run = find_runs([source])[0][0]
    runs = [run, *_others(run, Path(config.beside or source.resolve().parent))]
    model, notes = load_model(source)
    card = model_card(run, runs, notes, name=(config.push or folder.resolve().name), licence=config.data_licence)
    folder.mkdir(parents=True, exist_ok=True)
    with written_at_once(folder / "README.md") as temporary:
        card.save(temporary)
    model.save_pretrained(folder)  # which keeps the card
    say(f"written to {folder}: {', '.join(_FILES)}")
    if TODO in card.text:
        say(f"{TODO}       README.md does not say the licence of the data: edit it, or give --data-licence", "yellow")
    if config.push is None:
        say(f"check      README.md, then upload: hf upload USER/NAME {folder}")
    else:
        say(f"uploading  to {config.push}")
        say(f"uploaded   {_push(folder, config.push, private=not config.public)}")
    return folder


def _others(run: Run, folder: Path) -> list[Run]:
    """The finished runs in the folder on the same data, and the run's teacher, without the run itself."""
    teachers = teacher_places(run) if "teacher" in run.config else []
    places = [*(sorted(folder.iterdir()) if folder.is_dir() else []), *teachers]
    found = []
    for path in {path.resolve(): path for path in places}.values():
        if path.resolve() == run.folder.resolve() or not RunFolder(path).results.is_file():
            continue
        try:
            found += find_runs([path])[0]
        except (ValueError, OSError) as error:
            say(f"left out   {path}: {error}", style="yellow")
    return [
        other for other in found if other.config["dataset"] == run.config["dataset"] and other.classes == run.classes
    ]


def _push(folder: Path, name: str, *, private: bool) -> str:
    """Upload what was written into the folder, and nothing else there, in one commit; the address it then has."""
    api = HfApi(library_name="fakd")
    try:
        repository = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=repository.repo_id,
            folder_path=folder,
            allow_patterns=[*_FILES],
            commit_message="Upload by fakd share",
        )
    except Exception as error:  # of whichever HTTP library this huggingface_hub has
        raise ConnectionError(
            f"{name} could not be uploaded: {error}\n{folder} is complete. Log in by `hf auth login` with a token that "
            f"may write, then: hf upload {name} {folder}"
        ) from error
    return str(repository)
