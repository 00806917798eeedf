"""What Lava's interpreter runs: the worker of snnc, and what goes beside an exported program."""
