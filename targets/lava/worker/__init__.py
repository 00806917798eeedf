"""The program that Lava's interpreter runs. snnc itself never imports it; see worker.py."""
