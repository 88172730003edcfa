"""Runs python/maps.ipynb and looks at its pictures: maps_test.py.

Needs nbclient, ipykernel, pandas and matplotlib, and the program in
$ULPSCOPE_EXPLORER.
"""

import base64
import io
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import matplotlib.image
import nbformat
import numpy
import schemas
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = schemas.ROOT / "python" / "maps.ipynb"
PICTURES = {
    "cause_map": "torch-bf16",
    "growth": "27 plans",
    "front": "Pareto",
    "tokens": "torch-bf16",
}


def is_drawn(pixels):
    """Whether an image [height, width, channels] shows more than text on white."""
    colours = numpy.unique(pixels.reshape(-1, pixels.shape[-1]), axis=0)
    ink = (pixels[..., :3] < 0.99).any(axis=-1)
    return len(colours) > 100 and 0.01 < ink.mean() < 0.95


class MapsTest(unittest.TestCase):
    def test_the_notebook_draws_its_maps(self):
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        for cell in notebook.cells:
            self.assertFalse(cell.get("outputs"), "it is kept without outputs")
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name) / "maps"
            resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
            client = NotebookClient(notebook, timeout=600, resources=resources)
            with mock.patch.dict(os.environ, {"ULPSCOPE_MAPS": str(folder)}):
                client.execute()
            for picture, title in PICTURES.items():
                with self.subTest(picture=picture):
                    path = folder / f"{picture}.png"
                    pixels = matplotlib.image.imread(path)
                    self.assertGreaterEqual(min(pixels.shape[:2]), 400)
                    self.assertTrue(is_drawn(pixels))
                    with Image.open(path) as image:
                        said = image.text["Title"]
                    self.assertIn(title, said)
                    self.assertIn("synthetic:tiny (SYNTHETIC weights)", said)
            self.assertEqual(
                {path.stem for path in folder.glob("*.png")}, set(PICTURES)
            )
        shown = [
            matplotlib.image.imread(
                io.BytesIO(base64.b64decode(output.data["image/png"]))
            )
            for cell in notebook.cells
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        self.assertEqual(len(shown), len(PICTURES))
        self.assertTrue(all(map(is_drawn, shown)))

    def test_an_empty_picture_is_none(self):
        blank = numpy.ones((400, 600, 4))
        self.assertFalse(is_drawn(blank))
        blank[100:200, 100:500, 0] = 0  # a box
        self.assertFalse(is_drawn(blank))


if __name__ == "__main__":
    unittest.main()
