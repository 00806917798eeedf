"""The text of a program of Lava processes: templates over a plan, a paragraph for each population and projection."""

from __future__ import annotations

import keyword
import math
import re
from collections.abc import Iterable, Mapping

import numpy as np

from snnc.network import GRADED, READ_OUT
from snnc.ops import Conv2d, Linear, Shape
from snnc.targets.lava.processes import Neurons, Plan, Synapses


def write(made: Plan) -> tuple[str, dict[str, np.ndarray]]:
    """The text of the program and the arrays that it reads."""
    names = identifiers([n.population.name for n in made.neurons] + [s.name for s in made.synapses])
    layers = {n.population.name: names[k] for k, n in enumerate(made.neurons)}
    joints = names[len(made.neurons) :]
    arrays: dict[str, np.ndarray] = {}
    # All neurons come first: synapses may lead back.
    paragraphs = [_neurons(layers[n.population.name], n, arrays) for n in made.neurons]
    paragraphs += [_synapses(name, s, made, layers, arrays) for name, s in zip(joints, made.synapses, strict=True)]
    text = HEAD.format(
        name=_shown(made.name),
        scipy="\nfrom scipy import sparse"
        * any(s.kind == "sparse" or (s.kind == "conv" and s.delay) for s in made.synapses),
        imports="\n".join(_imports(made)),
        input=_shown(made.feed.name),
        size=_count(made.feed.size, "neuron"),
        shape=made.feed.shape,
        body="\n\n".join(_indented(p) for p in paragraphs),
        lava=_lava(made.shape),
        blocks="\n".join(_block(layers[n.population.name], n) for n in made.neurons),
        outputs=_tuple(made.outputs),
        gated=_gated(made),
        largest=made.largest_input,
    )
    return text, arrays


def identifiers(names: Iterable[str]) -> list[str]:
    """A Python name for each name, no two alike and none that the program uses itself."""
    taken = {*_TAKEN, *keyword.kwlist}
    found = []
    for name in names:
        plain = re.sub(r"\W", "_", name, flags=re.ASCII).strip("_").lower() or "layer"
        plain = f"n{plain}" if plain[0].isdigit() else plain
        made, count = plain, 1
        while made in taken:
            count += 1
            made = f"{plain}_{count}"
        taken.add(made)
        # Names are built on these, for relays.
        taken |= {f"{made}_wait", f"{made}_relay"}
        found.append(made)
    return found


_TAKEN = ("build", "steps", "samples", "message_bits", "inputs", "weights", "blocks", "main", "np", "sparse", "path")


def _imports(made: Plan) -> list[str]:
    """Lines for what the program uses of others."""
    used: dict[str, set[str]] = {}

    def use(module: str, name: str) -> None:
        used.setdefault(module, set()).add(name)

    for n in made.neurons:
        use("snnc_lava.neurons", "Neurons") if n.needs else use("lava.proc.lif.process", "LIFReset")
    for s in made.synapses:
        use(f"lava.proc.{s.kind}.process", _process(s.kind, s.delay))
        if _relayed(s):
            use("lava.proc.lif.process", "LIF")
            use("lava.proc.sparse.process", _process("sparse", s.delay - 1))
        if s.kind != "conv" or s.delay:
            use("lava.utils.weightutils", "SignMode")
        if s.lag:
            use("snnc_lava.neurons", "gated")
    use("snnc_lava.blocks", "Block")
    use("snnc_lava.blocks", "Net")
    use("snnc_lava.main", "main")
    return [f"from {module} import {', '.join(sorted(names))}" for module, names in sorted(used.items())]


def _relayed(s: Synapses) -> bool:
    """Whether spikes pass relays on their way to it."""
    return s.kind == "conv" and s.delay > 0


def _process(kind: str, delay: int) -> str:
    """Lava's name of a connection; a Conv has no delay."""
    return kind.capitalize() if kind == "conv" or not delay else f"Delay{kind.capitalize()}"


HEAD = '''\
"""{name} as Lava processes, for Loihi 2 or for Lava's bit-accurate simulation of it on a CPU.

    python program.py spikes.npz --output found.npz
    python program.py --help

Every connection takes one step: what the network does in step t, a layer at depth d shows in step t + d of Lava.
State is reset in the first step of each sample. Lava's arrays are (columns, rows, channels); weights.npz has them so.
"""

from pathlib import Path

import numpy as np{scipy}
from snnc_lava import compat

compat.enable()  # before anything of Lava is imported: lets it load on Python 3.11 to 3.13

{imports}


def build(steps, samples, message_bits=0):
    """The processes, connected, for so many `samples` of `steps` steps, back to back.

    message_bits: of the values that the input sends; 0 where it sends spikes.
    """
    weights = np.load(Path(__file__).with_name("weights.npz"), allow_pickle=False)
    # Input '{input}': {size} {shape}.
    inputs = []

{body}

    return Net(
        inputs=inputs,
        shape={lava},
        blocks=[
{blocks}
        ],
        outputs={outputs},
        gated={gated},
        shaped={shape},
        largest={largest},
    )


if __name__ == "__main__":
    main(build)
'''


def _neurons(name: str, n: Neurons, arrays: dict[str, np.ndarray]) -> list[str]:
    """Comment and process of one population."""
    population = n.population
    kind = "LIFReset" if not n.needs else "Neurons"
    what = "read out by its membrane" if population.neuron == READ_OUT else ""
    head = (
        f"# Layer '{_shown(population.name)}': {_count(population.size, 'neuron')} {population.shape}, depth {n.late}"
    )
    lines = [head + (f", {what}." if what else ".")]
    if n.needs:
        lines.append(f"# Lava's LIF will not do: {', '.join(n.needs)}.")

    def value(register: str) -> str:
        held = n.registers[register]
        if not isinstance(held, np.ndarray):
            return str(held)
        key = f"{name}_{register}"
        arrays[key] = _reversed(held.reshape(n.shape)).astype(np.int32)
        return f'weights["{key}"]'

    lines += [f"{name} = {kind}(", f"    shape={_lava(n.shape)},"]
    if not n.needs:
        # The constants of Lava: what a decay takes of u is du + 1.
        lines.append(f"    du={int(n.registers['u_decay']) - 1},")
        lines.append(f"    dv={n.registers['v_decay']},")
        lines.append(f"    vth={n.registers['threshold']},")
        if isinstance(n.registers["bias"], np.ndarray) or n.registers["bias"]:
            lines += [f"    bias_mant={value('bias')},", "    bias_exp=6,"]
    else:
        optional = ("bias", "w_decay", "w_jump", "refractory")
        for register in ("u_decay", "v_decay", "threshold", *optional):
            if register not in optional or np.any(n.registers.get(register, 0)):
                lines.append(f"    {register}={value(register)},")
        if population.neuron == GRADED:
            lines.append("    graded=True,")
        if population.semantics.reset == "subtract" and population.neuron != READ_OUT:
            lines.append(f"    subtract={population.semantics.when!r},")
        lines.append(f"    needs={'; '.join(n.needs)!r},")
    return [*lines, "    reset_interval=steps,", f"    reset_offset={n.late + 1},", ")"]


def _synapses(
    name: str, s: Synapses, made: Plan, layers: Mapping[str, str], arrays: dict[str, np.ndarray]
) -> list[str]:
    """Comment, process and connections of one projection."""
    op = s.op
    shape = " x ".join(map(str, op.weight.shape))
    waits = f", {_count(s.delay, 'step')} later" if s.delay else ""
    ends = f"{_shown(s.pre)} -> {_shown(s.post)}"
    head = f"# '{_shown(s.name)}': {ends}, {_count(op.taps, 'weight')} of {shape} ({s.density:.1%}){waits}."
    lines = [head]
    if not op.taps:
        lines.append("# They deliver nothing, but Lava runs what is connected, and nothing else.")
    bits = "24" if s.values else "message_bits" if s.pre == made.feed.name else ""
    message = [f"    num_message_bits={bits},"] if bits else []
    first = name  # the process that takes the spikes of the source
    if isinstance(op, Conv2d):
        if s.delay:
            first = f"{name}_wait"
            lines += _relay(name, s)
        # Lava's kernel is (out, columns, rows, in) and turned around: it convolves, where torch correlates.
        arrays[f"{name}_weight"] = np.ascontiguousarray(op.weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1))
        lines += [
            f"{name} = Conv(",
            f'    weight=weights["{name}_weight"],',
            f"    input_shape={_lava(s.reads)},",
            f"    stride={op.stride[::-1]},",
            f"    padding={op.padding[::-1]},",
            f"    dilation={op.dilation[::-1]},",
            f"    groups={op.groups},",
            *([] if s.delay else message),
            ")",
            *([f"{name}_relay.s_out.connect({name}.s_in)"] if s.delay else []),
        ]
    else:
        lines += _matrix(name, s, op, message, arrays)
    source_shape = made.shape if s.pre == made.feed.name else _shape_of(made, s.pre)
    port = f"{first}.s_in"
    if s.lag:
        late = 0 if s.pre == made.feed.name else next(n.late for n in made.neurons if n.population.name == s.pre)
        early = ", early=True" if s.pass_early else ""
        port = f"gated({port}, last={s.lag}, steps=steps, samples=samples, late={late}{early})"
    if s.pre == made.feed.name:
        lines.append(f"inputs.append({port})")
    else:
        reads = s.reads if first == name else (math.prod(s.reads),)  # relays are flat
        lines.append(f"{layers[s.pre]}.s_out{_route(source_shape, reads)}.connect({port})")
    lines.append(f"{name}.a_out{_route(s.writes, _shape_of(made, s.post))}.connect({layers[s.post]}.a_in)")
    return lines


def _matrix(name: str, s: Synapses, op: Linear, message: list[str], arrays: dict[str, np.ndarray]) -> list[str]:
    """The process of a matrix."""
    kind = _process(s.kind, s.delay)
    stored = op.weight.copy()
    stored.data = s.encoding.stored(stored.data)
    if s.kind == "dense":
        arrays[f"{name}_weight"] = stored.toarray()
        lines = [f"{name} = {kind}(", f'    weights=weights["{name}_weight"],']
        delays = str(s.delay)
    else:
        for part in ("data", "indices", "indptr"):
            arrays[f"{name}_{part}"] = getattr(stored, part)
        parts = ", ".join(f'weights["{name}_{part}"]' for part in ("data", "indices", "indptr"))
        lines = [
            f"{name}_weight = sparse.csr_matrix(",
            f"    ({parts}),",
            f"    shape={tuple(map(int, stored.shape))},",
            ")",
            f"{name} = {kind}(",
            f"    weights={name}_weight,",
        ]
        delays = f"{s.delay} * ({name}_weight != 0).astype(int)"
    if s.delay:
        lines.append(f"    delays={delays},")
    return [
        *lines,
        f"    weight_exp={s.encoding.exponent},",
        "    num_weight_bits=8,",
        f"    sign_mode=SignMode.{s.encoding.sign},",
        *message,
        ")",
    ]


def _relay(name: str, s: Synapses) -> list[str]:
    """Neurons without memory that pass spikes on, for a convolution that must wait."""
    size = math.prod(s.reads)
    identity = f'sparse.identity({size}, dtype=int, format="csr")'
    kind = _process("sparse", s.delay - 1)
    delays = [f"    delays={s.delay - 1} * {identity},"] if s.delay > 1 else []
    return [
        "# Lava's Conv has no delay: the spikes pass neurons without memory, which cost a step and more.",
        f"{name}_wait = {kind}(",
        f"    weights=2 * {identity},",
        *delays,
        "    weight_exp=0,",
        "    num_weight_bits=8,",
        "    sign_mode=SignMode.EXCITATORY,",
        ")",
        f"{name}_relay = LIF(shape={_lava(s.reads)}, du=4095, dv=4095, vth=1)",
        f"{name}_wait.a_out{_route((size,), s.reads)}.connect({name}_relay.a_in)",
    ]


def _route(source: Shape, target: Shape) -> str:
    """What turns a port of one shape into one of another; both are (channels, rows, columns) or (neurons,)."""
    if source == target:
        return ""
    flat = ".transpose([2, 1, 0])" if len(source) == 3 else ""
    if len(target) == 3:
        return f"{flat}.reshape({target}).transpose([2, 1, 0])"
    return f"{flat}.flatten()"


def _shape_of(made: Plan, name: str) -> Shape:
    return next(n.shape for n in made.neurons if n.population.name == name)


def _block(name: str, n: Neurons) -> str:
    membrane = ", membrane=True" * (n.population.neuron == READ_OUT)
    arguments = f"{n.population.name!r}, {name}, {name}.s_out, late={n.late}, shape={n.population.shape}{membrane}"
    return f"            Block({arguments}),"


def _gated(made: Plan) -> str:
    """The synapses that have a gate: some for several samples, some always."""
    late = _tuple(s.name for s in made.synapses if s.lag)
    early = _tuple(s.name for s in made.synapses if s.lag and s.pass_early)
    return late if late == early else f"{late} if samples > 1 else {early}"


def _tuple(names: Iterable[str]) -> str:
    return repr(tuple(names))


def _lava(shape: Shape) -> str:
    return repr(shape[::-1])


def _reversed(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values.T)


def _indented(lines: list[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _shown(name: str) -> str:
    """A name for a comment or a docstring: in one line, and no end of either, whoever made it up."""
    return repr(name)[1:-1].replace('"', '\\"')
