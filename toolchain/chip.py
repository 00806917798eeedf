"""A chip as a search for tickets asks of it: the cores of a balanced ticket, and the energy of a sample.

Tickets are made before there is a compiler, so it is handed in (:class:`snnc.tickets.session.Chip`). Everything is
compiled as ``snnc compile`` compiles the ticket when it is done: at the recipe's width, calibrated on the validation
samples, by the options that nobody chose. So the counts on which a ticket is balanced are those of its image.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from snnc import grouping, pipeline
from snnc.compilation import Options
from snnc.errors import DoesNotFit
from snnc.frontends.torch import from_module
from snnc.models.spiking import SpikingNetwork
from snnc.network import Network
from snnc.samples import require_integers
from snnc.simulator import energy, simulate
from snnc.target import Target
from snnc.tickets.cores import Compiler, layers_of
from snnc.tickets.session import Session

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chip:
    """See :class:`snnc.tickets.session.Chip`."""

    target: Target

    @property
    def name(self) -> str:
        return self.target.name

    def check(self, session: Session) -> None:
        """Refuse the session's network or data, before anything is trained: DoesNotFit for what the chip cannot do,
        InputError for what cannot be compiled, or calibrated with, at all.
        """
        require_integers(session.data.validation)
        pipeline.check_only(_network(session, session.fresh()), self.target)

    def compiler(self, session: Session, cores: int) -> Compiler:
        """What compiles the session's networks on so many cores, at least; UsageError where layers are convolutions."""
        layers_of(session.fresh())
        recipe = session.recipe
        return grouping.compiler(
            self.target,
            dt=recipe.dt,
            bits=recipe.bits,
            samples=session.data.validation,
            options=Options(bits=recipe.bits, cores=cores),
        )

    def energy(self, session: Session, model: SpikingNetwork) -> float:
        """Joules per validation sample: the dynamic energy by the target's default set of constants.

        Infinite where the network is too large for the chip: of all rounds' tickets the first ones may be.
        """
        samples = session.data.validation
        options = Options(bits=session.recipe.bits)
        try:
            image = pipeline.compile(_network(session, model), self.target, samples=samples, options=options).image
        except DoesNotFit as error:
            _logger.warning("a ticket does not fit %s: %s: %s", self.target.name, error.where, error.message)
            return math.inf
        return 1e-12 * energy.estimate(image, simulate(image, samples)).dynamic_pj


def _network(session: Session, model: SpikingNetwork) -> Network:
    recipe = session.recipe
    return from_module(model.eval(), dt=recipe.dt, bits=recipe.bits, name=recipe.model)
