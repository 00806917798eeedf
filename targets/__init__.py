"""The chips snnc knows: one TOML file each, and the bridges to the tools that run them."""
