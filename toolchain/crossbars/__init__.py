"""Compile for chips of crossbars with a clock, and run what was compiled cycle by cycle.

The front of the compiler is the same as for any chip: dissolve, lower, trim. Then :mod:`.rules` say what such a chip
cannot do, :mod:`.integers` finds its integers, and :mod:`.core`, or :mod:`.tiles` and :mod:`.packets`, gives neurons
and inputs their places and makes what is loaded into the chip; :mod:`.compiler` is all of it in a row, :mod:`.image`
what comes out. :mod:`.steps` specifies what the network means step by step, without a chip; :mod:`.running` runs it on
the clocked simulator and says where the two differ. :mod:`.memories` writes the files that the Verilog of a chip loads.
"""
