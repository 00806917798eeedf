"""`snnc simulate` as a user meets it: the wall time of the command, from its start to its end."""

import subprocess
import sys
import time

import numpy as np
from child import Ready, serve
from engine import load_image


def prepare(folder):
    image, spikes = load_image(folder)
    path, data = folder / "command.snnc", folder / "command.npy"
    image.save(path)
    np.save(data, spikes)
    command = [sys.executable, "-m", "snnc", "simulate", str(path), "--data", str(data), "--quiet", "--threads", "1"]
    # The same, to see what it imports; the program's name is not read.
    looking = "import sys; from snnc.cli import run; code = run(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    heavy = subprocess.run([sys.executable, "-c", looking, *command[3:]], check=False, stdout=subprocess.DEVNULL)

    def timed(_):
        command = [
            sys.executable,
            "-m",
            "snnc",
            "simulate",
            str(path),
            "--data",
            str(data),
            "--quiet",
            "--threads",
            "1",
        ]
        begin = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begin

    steps = spikes.shape[0] * spikes.shape[1]
    return Ready(timed, steps, lambda _: 0, steps, {"imports_torch": bool(heavy.returncode)})


if __name__ == "__main__":
    serve(prepare)
