#!/usr/bin/env python3
"""Writes tests/testdata/trace: arrays as numpy saves them, with known values.

    pip install numpy
    python3 tools/make_trace_fixtures.py

stored.npz, deflated.npz: numpy.savez and savez_compressed of hidden_states.0,
.1 and .2 ([3, 6]: f4, f2 and big-endian f8) of tokens in input_ids.
Element i of hidden_states.N is N + i / 8.
"""

import pathlib

import numpy as np

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "testdata" / "trace"


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    arrays = {
        f"hidden_states.{n}": (n + np.arange(18) / 8).reshape(3, 6).astype(kind)
        for n, kind in enumerate(["<f4", "<f2", ">f8"])
    }
    arrays["input_ids"] = np.array([[3, 1, 4]], np.int64)
    np.savez(FOLDER / "stored.npz", **arrays)
    np.savez_compressed(FOLDER / "deflated.npz", **arrays)


if __name__ == "__main__":
    main()
