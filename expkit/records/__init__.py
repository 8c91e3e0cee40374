"""Records: what a run leaves behind, as plain files; written, checked, read, compared and shared."""

from expkit.portable import Scrubber, config_hash
from expkit.records.check import check_record
from expkit.records.compare import Verdict, compare
from expkit.records.folder import make_run_folder
from expkit.records.read import Shared, read_record
from expkit.records.record import EventLog, Record
from expkit.records.share import export, export_summary, left_out_sources

__all__ = [
    "EventLog", "Record", "Scrubber", "Shared", "Verdict", "check_record", "compare", "config_hash", "export",
    "export_summary", "left_out_sources", "make_run_folder", "read_record",
]  # fmt: skip
