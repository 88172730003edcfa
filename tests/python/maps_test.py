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
import schemas
from nbclient import NotebookClient
from PIL import Image

NOTEBOOK = schemas.ROOT / "python" / "maps.ipynb"
# What a picture's title has in it, and how much of the picture is coloured at least:
# less than its data colour (0.36, 0.026, 0.005 and 0.12), more than a legend or a scale
# of colours without them.
PICTURES = {
    "cause_map": ("torch-bf16", 0.15),
    "growth": ("27 plans", 0.01),
    "front": ("Pareto", 0.002),
    "tokens": ("torch-bf16", 0.03),
}


def coloured(pixels):
    """The share of pixels [height, width, channels] that are no grey."""
    colours = pixels[..., :3]
    return float((colours.max(axis=-1) - colours.min(axis=-1) > 0.2).mean())


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
            for picture, (title, least) in PICTURES.items():
                with self.subTest(picture=picture):
                    path = folder / f"{picture}.png"
                    pixels = matplotlib.image.imread(path)
                    self.assertGreaterEqual(min(pixels.shape[:2]), 400)
                    self.assertGreater(coloured(pixels), least)
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
        self.assertGreater(min(map(coloured, shown)), 0.002)


if __name__ == "__main__":
    unittest.main()
