"""Tests what python/ulpscope.py makes of results with pandas: frames_test.py.

Needs pandas, and the program in $ULPSCOPE_EXPLORER.
"""

import json
import math
import pathlib
import tempfile
import unittest

import pandas
import runs
import schemas
import ulpscope


class FramesTest(unittest.TestCase):
    def assert_frame_equals(self, frame, rows, mode, table):
        """Value by value, where NA is null, and NaN is NaN."""
        self.assertEqual(len(frame), len(rows), table)
        for column in frame:
            self.assertEqual(
                frame.attrs["units"].get(column, ""),
                schemas.UNITS.get((mode, table, column), ""),
                f"{table}.{column}",
            )
            for found, row in zip(frame[column], rows):
                where = f"{table}.{column}: {found!r}"
                value = schemas.meant(row[column], mode, table, column)
                if value is None:
                    self.assertIs(found, pandas.NA, where)
                elif isinstance(value, float):
                    self.assertTrue(schemas.same(float(found), value), where)
                    self.assertIsInstance(found, float, where)
                else:
                    self.assertIsNot(found, pandas.NA, where)
                    self.assertEqual(found, value, where)
            if (mode, table, column) in schemas.NUMBERS:
                some_list = any(isinstance(row[column], list) for row in rows)
                dtypes = ("object",) if some_list else ("float64", "Float64")
                self.assertIn(str(frame[column].dtype), dtypes, f"{table}.{column}")

    def test_frames_equal_results_json(self):
        made = runs.Runs()
        self.addCleanup(made.close)
        axes = "--axes=matmul=f32,bf16,tc_h100"
        made.make("sweep", "--sweep", axes, timing_seconds=0.1)
        made.make("attribute", "--attribute", "--plan=torch-bf16")
        for mode in ("sweep", "attribute"):
            run = ulpscope.load(made.folder / mode)
            values = 0
            for table, rows in schemas.rows_of(made.json(mode)):
                frame = ulpscope.table(run, table)
                self.assertIsInstance(frame, pandas.DataFrame)
                if rows:
                    self.assertEqual(list(frame), list(rows[0]))
                self.assert_frame_equals(frame, rows, mode, table)
                self.assertEqual(frame.attrs["label"], run.label)
                self.assertIs(frame.attrs["synthetic"], True)
                values += frame.size
            self.assertGreater(values, 2000)
        sweep = made.folder / "sweep"
        speeds = ulpscope.plans(sweep)["decode_tokens_per_second"]
        self.assertEqual(speeds.isna().sum(), 1)  # that of tc_h100
        self.assertEqual(len(ulpscope.layers(sweep)), 3 * 2 * 8)
        self.assertEqual(
            len(ulpscope.cells(made.folder / "attribute")),
            len(made.json("attribute")["cells"]),
        )
        self.assertGreater(len(ulpscope.tokens(sweep)), 0)

    def test_odd_values(self):
        columns = {
            "kl_nats": [0.1, "NaN", None, "Infinity"],
            "final_rel_l2": [None, None, None, None],
            "score": ["NaN", "NaN", "-Infinity", 1e-310],
            "rank": [1, None, 3, 4],
            "pareto": [True, False, None, True],
            "plan": ["f32", "NaN", "", "\u00b5"],
            "not_timed": [None, "emulated", None, None],
            "greedy_chosen": [2**64 - 1, 1, 2, 3],
        }
        rows = [dict(zip(columns, values)) for values in zip(*columns.values())]
        whole = {"schema": "ulpscope/sweep", "version": 2, "plans": rows}
        whole["context"] = {"model": "m", "synthetic": False}
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "results.json"
            path.write_text(json.dumps(whole))
            frame = ulpscope.plans(path)
        self.assert_frame_equals(frame, rows, "sweep", "plans")
        kl = frame["kl_nats"]
        self.assertEqual(list(kl.isna()), [False, False, True, False])
        self.assertTrue(math.isnan(kl[1]))
        self.assertEqual(str(frame["rank"].dtype), "Int64")
        self.assertEqual(str(frame["pareto"].dtype), "boolean")
        self.assertEqual(str(frame["score"].dtype), "float64")
        self.assertEqual(frame.attrs["label"], "m")


if __name__ == "__main__":
    unittest.main()
