"""The results database: one append-only table whose rows are chained by hash. `sink/sqlite.py` is its one writer."""
