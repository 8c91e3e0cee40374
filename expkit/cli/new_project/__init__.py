"""Begins a project of one's own: words, choices, a test."""
