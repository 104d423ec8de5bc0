"""Published data sets: fetched, unpacked, converted."""
