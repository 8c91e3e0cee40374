"""The report: one page on a run, made from the files of its folder."""

from expkit.records.report.report import write_report

__all__ = ["write_report"]
