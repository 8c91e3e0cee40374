"""Drawing: tiles and heat maps as pixels, charts as SVG; no display, no plotting library, nothing of a run."""
