"""The command line: what a verb does is in snnc.workflow and the packages it calls.

Imports of the work are inside the verbs, so that ``snnc --help`` answers at once.
"""

from __future__ import annotations

import sys
import traceback as tracebacks
from typing import Annotated

from cyclopts import CycloptsError, Parameter

from snnc.cli import lava, training
from snnc.cli.options import console
from snnc.cli.verbs import app
from snnc.errors import SnncError, UsageError

app.command(training.train)
app.command(training.ticket, help_format="plaintext")  # its table of methods keeps its lines
app.command(lava.app)
app.meta.default_parameter = Parameter(negative=())
app.meta.suppress_keyboard_interrupt = False


@app.meta.default
def _launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    json: Annotated[bool, Parameter(help="Write the result as one JSON document.")] = False,
    quiet: Annotated[bool, Parameter(name=["--quiet", "-q"], help="No notes, no progress.")] = False,
    verbose: Annotated[
        bool,
        Parameter(
            name=["--verbose", "-v"],
            help="Tell what each pass of a compilation took, or a simulation in NeuroBench's terms.",
        ),
    ] = False,
    traceback: Annotated[bool, Parameter(help="Show where in snnc an error arose.")] = False,
) -> None:
    console.json, console.quiet, console.verbose, console.traceback = json, quiet, verbose, traceback
    console.listen()
    app(tokens, exit_on_error=False, print_error=False)


def main() -> None:
    """Entry point of the ``snnc`` command; exits with the codes of snnc.errors."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        app.meta(arguments, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        console.error(UsageError(str(error), fix="snnc --help"))
        return UsageError.exit_code
    except SnncError as error:
        if console.traceback:
            tracebacks.print_exc()
        console.error(error)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output is gone; nobody is left to tell
        sys.stderr.close()
        return 1
    except Exception as error:
        if console.traceback:
            tracebacks.print_exc()
        hint = "" if console.traceback else " (--traceback shows where)"
        print(f"error[bug]: snnc failed: {type(error).__name__}: {error}{hint}", file=sys.stderr)
        return 1
    return 0
