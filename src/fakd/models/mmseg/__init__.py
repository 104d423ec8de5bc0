"""MMSegmentation's checkpoints: read, written, and fetched."""
