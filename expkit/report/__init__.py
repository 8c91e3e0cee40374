"""The report: one page that shows a run, made from the plain files of its folder."""

from expkit.report.keep import ExhibitKeeper
from expkit.report.write import write_report

__all__ = ["ExhibitKeeper", "write_report"]
