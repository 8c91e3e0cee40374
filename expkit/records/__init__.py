"""Records of runs, as plain files: write, verify, read, compare and share them."""
