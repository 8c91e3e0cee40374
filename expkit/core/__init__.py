"""What every room needs: errors, seeds, files, processes, progress, plots. It knows no config."""
