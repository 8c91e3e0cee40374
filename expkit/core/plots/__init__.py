"""Drawing: image grids and heat maps as pixels, charts as SVG; no display and no plotting library."""
