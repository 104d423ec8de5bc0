"""The figures of an analysis, one file each: what is computed for it, and how it is drawn."""
