"""From a float network to integers: the grid of a chip, and the search for the scale of each layer."""
