"""Records: what a run leaves behind, as plain files; written, checked, read, compared and shared."""

from expkit.records.export import export, export_summary, left_out_sources
from expkit.records.integrity import check_record
from expkit.records.shared_record import read_record
from expkit.records.writer import EventLog, Record

__all__ = ["EventLog", "Record", "check_record", "export", "export_summary", "left_out_sources", "read_record"]
