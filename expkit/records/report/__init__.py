"""The report: one page that shows a run, made from the plain files of its folder."""

from expkit.records.report.report import write_report

__all__ = ["write_report"]
