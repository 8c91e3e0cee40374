"""Records: what a run leaves behind, as plain files; written, checked, read, compared and shared."""

from expkit.config.redaction.redactor import Redactor, config_hash
from expkit.core.run_folder import make_run_folder
from expkit.records.export import export, export_summary, left_out_sources
from expkit.records.integrity import check_record
from expkit.records.replication import Verdict, compare
from expkit.records.shared_record import Shared, read_record
from expkit.records.writer import EventLog, Record

__all__ = [
    "EventLog", "Record", "Redactor", "Shared", "Verdict", "check_record", "compare", "config_hash", "export",
    "export_summary", "left_out_sources", "make_run_folder", "read_record",
]  # fmt: skip
