"""Chips with a clock, cycle by cycle: what happens is computed, and the cycles between are skipped.

A chip is a set of units (a controller, a router's merge, a host) that wake one another. :mod:`.agenda` keeps who wakes
when and hands out the earliest; :mod:`.fifo` holds the queues between units; :mod:`.log` what happened. The rules
of a chip are small functions in a module of its own that say what a unit does when it wakes:

- :mod:`.crossbar`: one core whose controller visits its neurons one after the other, an event queue, AER in and out;
- :mod:`.grid`: cores in ticks on a mesh of routers with finite queues and back-pressure.

A further chip is a further such module: give its units numbers, say what each does on a clock edge and whom it wakes,
and hold it against traces of its RTL (``tests/differential/rtl.py``).
"""
