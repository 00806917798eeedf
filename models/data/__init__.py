"""Data by name, ``name[=FOLDER][:key=value,...]``: ``digits``, ``digits:steps=16,encoding=latency``, ``idx=mnist``.

The same text always gives the same data; :attr:`Dataset.spec` is its full form, with every option written out, and is
what a checkpoint stores.

==================  =====================================  ================  =============================
name                what it is                             shape             test split
==================  =====================================  ================  =============================
``digits``          1,797 digits of scikit-learn           (1, 8, 8)         a quarter
``idx=DIR``         files of MNIST's format                (1, rows, cols)   the t10k files
``cifar10=DIR``     colour images of 32x32, in classes     (3, 32, 32)       ``test``
``nmnist=DIR``      N-MNIST, event camera of 34x34         (2, 34, 34)       the official; of a folder 1/4
``dvsgesture=DIR``  DVS128 Gesture, event camera           (2, size, size)   the official
``cifar10dvs=DIR``  CIFAR10-DVS, event camera              (2, size, size)   a tenth, whatever the seed
``shd=DIR``         Spiking Heidelberg Digits, sound       (channels,)       the official
==================  =====================================  ================  =============================

Options, of those data sets that have them:

steps       time steps
encoding    of images: rate or latency, see :mod:`snnc.models.data.coding`; direct: the brightness itself in each step,
            float32, for networks in torch only, as chips take spikes
window      of events: milliseconds per step, what does not fit into `steps` is cut off; 0: a recording is divided
            evenly. An event sets its pixel's bit in a step, however often it occurs
size        of the frames, down from the 128 columns and rows of the sensor
channels    of the input, down from the 700 of the artificial ear
samples     use so many in all, of each split and of each class in proportion; 0: all. Of nmnist at most so many
            recordings, chosen by seed
validation  percent of the samples to learn from that are held out to watch the training
augment     what a training changes in its samples, see :mod:`snnc.models.data.augment`: none, shift, crop-flip
seed        of the splits and of the encoding

Data of events is read by tonic. DIR is where it keeps its data sets (DIR/NMNIST/Train); without it that is the user's
cache, and what is missing is downloaded. For nmnist DIR may also hold ``<digit>/*.bin``, any number of them. What is
slow to make is kept (:mod:`snnc.models.data.cache`).
"""

from __future__ import annotations

import importlib
from typing import Any

from snnc.models.data.coding import latency, rate
from snnc.models.data.dataset import Dataset
from snnc.models.data.events import camera
from snnc.models.specification import OPTIONS, complete, names, parse

__all__ = ["OPTIONS", "Dataset", "camera", "latency", "load", "names", "rate"]


def load(spec: str) -> Dataset:
    """The data that `spec` asks for.

    Raises UsageError where the text is wrong or tonic is missing, InputError where files are
    missing or unreadable.
    """
    name, folder, options = parse(spec)
    family: Any = importlib.import_module(f"snnc.models.data.{name}")  # each is a module of that name
    found: Dataset = family.load(folder, complete(name, folder, options), options)
    return found
