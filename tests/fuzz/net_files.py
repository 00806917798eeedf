"""Files of lava-dl to be damaged, and hostile ones made by hand."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import h5py
import numpy as np
from formats import Format
from hdf5_files import HDF5_LANDMARKS, HDF5_ONCE, hdf5, restructured


def net_file(layers: list[dict[str, Any]], **options: Any) -> bytes:
    def build(file: h5py.File) -> None:
        for k, layer in enumerate(layers):
            group = file.create_group(f"layer/{k}")
            for key, value in layer.items():
                if isinstance(value, str):
                    group.create_dataset(key, (1,), "S10", [value.encode()])
                elif isinstance(value, dict):
                    for name, inner in value.items():
                        group[f"{key}/{name}"] = inner
                elif isinstance(value, np.ndarray) and value.size > 64:
                    group.create_dataset(key, data=value, compression="gzip", chunks=value.shape)
                else:
                    group[key] = value

    return hdf5(build, **options)


LAVA = {"type": "CUBA", "iDecay": 4096, "vDecay": 400, "vThMant": 64, "refDelay": 1, "gradedSpike": False}
FLAT = {"type": "flatten", "shape": [1]}


def kernel(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).integers(-9, 10, shape).astype(np.float32)


def dense(outputs: int, inputs: int, **more: Any) -> dict[str, Any]:
    return {"type": "dense", "shape": [outputs], "weight": kernel(outputs, inputs), "neuron": LAVA, **more}


def convolution(shape: list[int], weight: np.ndarray, **more: Any) -> dict[str, Any]:
    options = {"stride": [1, 1], "padding": [1, 1], "dilation": [1, 1], "groups": 1, "neuron": LAVA, **more}
    return {"type": "conv", "shape": shape, "weight": weight, **options}


@cache
def net_seeds() -> dict[str, bytes]:
    image = [
        {"type": "input", "shape": [2, 6, 6], "neuron": LAVA, "weight": 64, "bias": 0},
        convolution([3, 6, 6], kernel(3, 2, 3, 3), bias=np.arange(3)),
        {"type": "flatten", "shape": [108]},
        dense(5, 108, bias=np.arange(5)),
        {"type": "dense", "shape": [4], "weight": kernel(4, 5)},
    ]
    row = [dense(20, 12), dense(8, 20, delay=np.arange(20)), dense(4, 8)]
    loop = [dense(7, 5), {**dense(6, 7), "type": "dense_rec", "weight_rec": kernel(6, 6)}, dense(3, 6)]
    return {
        "image": net_file(image),
        "row": net_file(row),
        "loop": net_file(loop),
        "image, modern": net_file(image, libver="latest", track_order=True),
    }


NET_ONCE: dict[str, Callable[[], bytes]] = {
    **HDF5_ONCE,
    "a row of thousands": lambda: net_file(
        [{"type": "input", "shape": [1]}, *[FLAT] * 2000, {**dense(1, 1), "weight": np.ones((1, 1))}]
    ),
    "more layers than are read": lambda: net_file([{"type": "input", "shape": [1]}, *[FLAT] * 2100, dense(1, 1)]),
    "a row of dense layers": lambda: net_file([dense(2, 2)] * 700),
    "an input of 2^24": lambda: net_file([{"type": "input", "shape": [1 << 24], "neuron": LAVA}]),
    "an input of 2^40": lambda: net_file([{"type": "input", "shape": [1 << 20, 1 << 20], "neuron": LAVA}]),
    "delays of all lengths": lambda: net_file([dense(1 << 10, 1 << 10, delay=np.arange(1 << 20).reshape(1 << 10, -1))]),
    "a matrix of ones": lambda: net_file(
        [{**dense(1, 1), "shape": [1 << 12], "weight": np.ones((1 << 12, 1 << 12), "i1")}]
    ),
    "a matrix of zeros": lambda: net_file(
        [{**dense(1, 1), "shape": [1 << 12], "weight": np.zeros((1 << 12, 1 << 12), "i1")}]
    ),
    "a row of weights": lambda: net_file([{**dense(1, 1), "weight": np.ones(1 << 26, "i1")}]),
    "a stride of 2^20": lambda: net_file(
        [{"type": "input", "shape": [1, 4, 4]}, convolution([1, 1, 1], kernel(1, 1, 3, 3), stride=[1 << 20] * 2)]
    ),
    "a padding of 2^20": lambda: net_file(
        [
            {"type": "input", "shape": [1, 4, 4]},
            convolution([1, 1, 1], kernel(1, 1, 3, 3), padding=[1 << 20] * 2, stride=[1 << 20] * 2),
        ]
    ),
    "a layer missing": lambda: hdf5(lambda f: f.copy(f["layer/1"], "layer/9"), net_seeds()["row"]),
}


NET = Format(".net", net_seeds, restructured, lambda: NET_ONCE, HDF5_LANDMARKS)
