"""Runs of the program in $ULPSCOPE_EXPLORER, for tests of python/ulpscope.py."""

import json
import os
import pathlib
import subprocess
import tempfile

_TINY = ["--model=synthetic:tiny", "--wisdom=none", "--threads=2", "--tokens=4"]


def explorer(*arguments, check=True):
    """The finished process, with what it printed."""
    command = [os.environ["ULPSCOPE_EXPLORER"], *map(str, arguments)]
    return subprocess.run(command, check=check, capture_output=True, text=True)


class Runs:
    """A folder of reports, each with what -o=jsonl prints of the same run."""

    def __init__(self):
        self._temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._temporary.name)

    def close(self):
        self._temporary.cleanup()

    def make(self, name, *flags, timing_seconds=0):
        """Runs synthetic:tiny; returns the report's folder."""
        out = self.folder / name
        timing = f"--timing_seconds={timing_seconds}"
        done = explorer(*flags, *_TINY, timing, f"--out={out}", "-o=jsonl")
        (self.folder / f"{name}.jsonl").write_text(done.stdout)
        return out

    def json(self, name):
        """results.json of that report, as json.loads has it."""
        return json.loads((self.folder / name / "results.json").read_text())
