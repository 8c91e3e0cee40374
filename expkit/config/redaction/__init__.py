"""Secrets are taken out of texts, configs and source code before these leave the machine.

A name says that a value is secret (`names`), or the value does (`values`); `text`, `python` and `sources` find both in
prose and settings, in Python, and in whole files, notebooks and patches.
"""
