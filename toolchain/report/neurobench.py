"""A run in NeuroBench's terms, as it is reported."""

from __future__ import annotations

from snnc.report.schema import NeuroBench, SynapticOperations
from snnc.report.units import memory
from snnc.simulator import workload


def neurobench(found: workload.NeuroBench) -> NeuroBench:
    """The results as they stand in report.json."""
    return NeuroBench(
        footprint=found.footprint,
        connection_sparsity=found.connection_sparsity,
        activation_sparsity=found.activation_sparsity,
        synaptic_operations=SynapticOperations(found.effective_macs, found.effective_acs, found.dense),
        membrane_updates=found.membrane_updates,
        batch=found.batch,
    )


def neurobench_table(found: NeuroBench) -> str:
    """The results in a few lines."""
    operations = found.synaptic_operations
    sparsity = "-" if found.connection_sparsity is None else f"{found.connection_sparsity:.4f}"
    updates = "-" if found.membrane_updates is None else f"{found.membrane_updates:,.1f}"
    rows = [
        ("Footprint", f"{found.footprint:,} bytes ({memory(8 * found.footprint)})"),
        ("ConnectionSparsity", sparsity),
        ("ActivationSparsity", f"{found.activation_sparsity:.4f}"),
        ("Effective_ACs", f"{operations.effective_acs:,.1f} per sample"),
        ("Effective_MACs", f"{operations.effective_macs:,.1f} per sample, batches of {found.batch}"),
        ("Dense", f"{operations.dense:,.1f} per sample"),
        ("MembraneUpdates", f"{updates} per sample"),
    ]
    return "\n".join(["in NeuroBench's terms", *(f"  {name:20}{value}" for name, value in rows)])
