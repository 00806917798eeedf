"""``python -m snnc`` is the ``snnc`` command."""

from snnc.cli import main

main()
