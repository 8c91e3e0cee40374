"""Records: what a run leaves behind, as plain files; written, checked, read, compared and shared."""
