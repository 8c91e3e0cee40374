"""Records: what a run leaves behind, as plain files."""

from expkit.records.folder import make_run_folder
from expkit.records.record import Record

__all__ = ["Record", "make_run_folder"]
