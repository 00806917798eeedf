"""brian2, C++ standalone: compiled for the net, timed by its own clock, which starts when the state is in memory.

That clock counts the time of the processor: on a busy machine it does not see what others take.
"""

import tempfile

import brian2 as b
import numpy as np
from child import Ready, load, serve


def prepare(folder):
    net = load(folder)
    build = tempfile.mkdtemp(prefix="brian2-")
    b.set_device("cpp_standalone", directory=build, build_on_run=False)
    b.prefs.core.default_float_dtype = np.float32
    dt = 1 * b.ms
    b.defaultclock.dt = dt
    stream = net.stream
    step, source = np.nonzero(stream)
    groups = [b.SpikeGeneratorGroup(net.sizes[0], source, step * dt, sorted=True)]
    objects = []
    keep_u, keep_v = net.keep
    for k, ((_, targets, weights), size) in enumerate(zip(net.layers, net.sizes[1:], strict=True)):
        group = b.NeuronGroup(size, "u : 1\nv : 1", threshold=f"v > {net.threshold}", reset="v = 0", method="exact")
        group.run_regularly(f"v = {keep_v!r} * v + u\nu = {keep_u!r} * u", when="groups")
        synapses = b.Synapses(groups[-1], group, "w : 1", on_pre="u_post += w", method="exact")
        synapses.connect(i=net.sources(k), j=np.asarray(targets))
        synapses.w = np.asarray(weights).astype(np.float32)
        groups.append(group)
        objects += [group, synapses]
    network = b.Network(groups[0], *objects)
    network.run(len(stream) * dt)
    b.device.build(run=False, directory=build, with_output=False)

    def timed(_):
        b.device.run(with_output=False)
        return b.device._last_run_time

    return Ready(timed, len(stream), lambda steps: net.synops(stream[:steps]), unit=len(stream))


if __name__ == "__main__":
    serve(prepare)
