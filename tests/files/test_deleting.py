"""What a program wrote goes, and nothing else."""

from pathlib import Path

from fakd.files.deleting import delete_files


def test_files_and_the_folders_that_are_empty_then(tmp_path: Path) -> None:
    root = tmp_path / "demo"
    written = [root / name for name in ("table.md", "logs/csv/000/metrics.csv", "wandb/run/files/a.log", "wandb/b.log")]
    kept = [root / name for name in ("mine.md", "logs/mine.csv", "logs/csv/001/mine.csv")]
    for path in (*written, *kept):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/metrics.csv").touch()
    (root / "logs/csv/002").symlink_to(tmp_path / "shared")
    (root / "wandb/latest").symlink_to(tmp_path / "shared")
    delete_files(root, ["table.md", "logs/csv/*/metrics.csv", "wandb/**/*", "no-such.md"])
    assert {path for path in root.rglob("*") if path.is_file() and not path.is_symlink()} >= set(kept)
    assert not any(path.exists() for path in written)
    assert not (root / "wandb").exists()
    assert (tmp_path / "shared/metrics.csv").is_file()
    for path in (*kept, root / "logs/csv/002"):
        path.unlink()
    (root / "table.md").touch()
    (root / "logs/csv/001").rmdir()
    (root / "logs/csv").rmdir()
    (root / "logs").rmdir()
    delete_files(root, ["table.md"])
    assert not root.exists()
    delete_files(root, ["table.md"])
