"""Which neurons share a core: the search behind the partition pass.

A :class:`~snnc.mapping.problem.Problem` says what can be moved and what it costs, the kernels of
:mod:`snnc.mapping.state` keep the use of every core and the traffic exact while neurons move, and
:mod:`snnc.mapping.portfolio` starts several searches and keeps the best.
"""
