"""Tests python/ulpscope.py with the standard library alone.

ULPSCOPE_EXPLORER=bazel-bin/explorer/app/explorer python3 tests/python/ulpscope_test.py
"""

import json
import math
import os
import pathlib
import tempfile
import unittest
from unittest import mock

import runs
import schemas
import ulpscope


def written(folder, **changes):
    """The path of a results.json of a sweep with odd values."""
    whole = {
        "schema": "ulpscope/sweep",
        "version": ulpscope.SCHEMA_VERSION,
        "context": {"model": "synthetic:tiny", "synthetic": True, "threads": 2},
        "plans": [
            {"plan": "f32", "rank": 1, "kl_nats": 0.1, "not_timed": None},
            {"plan": "a", "rank": None, "kl_nats": "NaN", "not_timed": "emulated"},
            {"plan": "b", "rank": 3, "kl_nats": None, "not_timed": None},
            {"plan": "c", "rank": 4, "kl_nats": "-Infinity", "not_timed": None},
        ],
        "tokens": [{"plan": "f32", "text": "NaN", "token": 18446744073709551615}],
        "effect": None,
        **changes,
    }
    path = pathlib.Path(folder) / "results.json"
    path.write_text(json.dumps(whole))
    return path


class WithFolder(unittest.TestCase):
    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name

    def assert_error(self, expected, function, *arguments, **named):
        with self.assertRaises(ulpscope.Error) as caught:
            function(*arguments, **named)
        for part in expected if isinstance(expected, tuple) else (expected,):
            self.assertIn(str(part), str(caught.exception))


class SchemaTest(unittest.TestCase):
    """What ulpscope.py knows of columns is what docs/schema says."""

    def test_units(self):
        for mode, table, column, unit, is_number in schemas.columns():
            with self.subTest(mode=mode, table=table, column=column):
                known = ulpscope._unit(table, column)
                self.assertEqual(known, unit if is_number or unit else None)

    def test_version(self):
        for path in (schemas.ROOT / "docs" / "schema").glob("*.json"):
            properties = json.loads(path.read_text())["properties"]
            self.assertEqual(properties["version"]["const"], ulpscope.SCHEMA_VERSION)


class LoadTest(WithFolder):
    def test_nan_infinity_and_not_measured_are_three_things(self):
        written(self.folder)
        plans = ulpscope.plans(self.folder, frame=False)
        self.assertEqual(plans[0]["kl_nats"], 0.1)
        self.assertTrue(math.isnan(plans[1]["kl_nats"]))
        self.assertIsNone(plans[2]["kl_nats"])
        self.assertEqual(plans[3]["kl_nats"], -math.inf)
        self.assertEqual(plans[1]["not_timed"], "emulated")
        token = ulpscope.tokens(self.folder, frame=False)[0]
        self.assertEqual(token, {"plan": "f32", "text": "NaN", "token": 2**64 - 1})

    def test_units_are_beside_the_values(self):
        written(self.folder)
        self.assertEqual(ulpscope.units(self.folder, "plans"), {"kl_nats": "nats"})
        self.assertEqual(ulpscope.units(self.folder, "effect"), {})

    def test_synthetic_weights_are_said(self):
        label = ulpscope.load(written(self.folder)).label
        self.assertEqual(label, "synthetic:tiny (SYNTHETIC weights)")
        trained = {"model": "qwen3", "synthetic": False}
        self.assertEqual(
            ulpscope.load(written(self.folder, context=trained)).label, "qwen3"
        )

    def test_rows_are_the_callers(self):
        run = ulpscope.load(written(self.folder))
        ulpscope.plans(run, frame=False)[0]["plan"] = "changed"
        self.assertEqual(ulpscope.plans(run, frame=False)[0]["plan"], "f32")

    def test_without_pandas_rows_are_lists(self):
        run = ulpscope.load(written(self.folder))
        with mock.patch.dict("sys.modules", {"pandas": None}):
            self.assertIsInstance(ulpscope.plans(run), list)
            self.assert_error("pandas", ulpscope.plans, run, frame=True)

    def test_tables_that_are_not_there_are_named(self):
        path = written(self.folder)
        self.assert_error((path, "cells", "plans"), ulpscope.cells, path)

    def test_other_files_are_errors_that_name_them(self):
        for changes, expected in [
            ({"version": 1}, ('"version"', "expected 2", "found 1")),
            ({"version": None}, '"version"'),
            ({"version": 3}, "found 3"),
            ({"schema": "onnx"}, ('"schema"', "'onnx'")),
            ({"schema": 7}, '"schema"'),
            ({"context": None}, '"context"'),
            ({"plans": [3]}, ('"plans"[0]', "expected an object")),
            ({"plans": 3}, '"plans"'),
            ({"plans": [{"kl_nats": "many"}]}, ("kl_nats", "many")),
            ({"plans": [{"kl_nats": True}]}, "kl_nats"),
            ({"plans": [{"kl_nats": [None, {}]}]}, "kl_nats"),
            ({"part_of": {"plans": 9}}, "part_of"),
        ]:
            with self.subTest(changes=changes):
                path = written(self.folder, **changes)
                expected = expected if isinstance(expected, tuple) else (expected,)
                self.assert_error((path, *expected), ulpscope.load, path)

    def test_what_is_no_results_json_is_an_error(self):
        path = written(self.folder)
        whole = path.read_bytes()
        for text in (
            b"",
            b"[]",
            b"{",
            b"3",
            whole[:-1],
            whole.replace(b"0.1", b"NaN"),
            b"\xff\xfe{}",
            b"[" * 100000,
            b'{"metric": 3}',
            b'{"metric": "rmse"}',
            b'{"check": 3}\n{',
        ):
            with self.subTest(text=text[:20]):
                path.write_bytes(text)
                if b"check" in text:  # a shard, both of whose lines are damaged
                    self.assertEqual(len(ulpscope.load(path).skipped), 2)
                else:
                    self.assert_error(path, ulpscope.load, path)

    def test_paths_that_are_not_there(self):
        self.assert_error((self.folder, "meta.json"), ulpscope.load, self.folder)
        self.assert_error("nowhere", ulpscope.load, "nowhere")


class ProgramTest(WithFolder):
    """Against what the program itself writes."""

    @classmethod
    def setUpClass(cls):
        cls.runs = runs.Runs()
        cls.addClassCleanup(cls.runs.close)
        axes = "--axes=matmul=f32,bf16,tc_h100"
        store = f"--store={cls.runs.folder / 'store'}"
        cls.sweep = cls.runs.make("sweep", "--sweep", axes, store)
        attribute = ["--attribute", "--plan=torch-bf16"]
        cls.attribution = cls.runs.make("attribution", *attribute)
        cls.plan = cls.runs.make("plan", "--plan=bf16")

    def reports(self):
        """(mode, name) of each."""
        return ("sweep", "sweep"), ("attribute", "attribution"), ("sweep", "plan")

    def test_every_value_is_that_of_results_json(self):
        for mode, name in self.reports():
            run = ulpscope.load(self.runs.folder / name)
            self.assertEqual(run.mode, mode)
            for table, rows in schemas.rows_of(self.runs.json(name)):
                found = ulpscope.table(run, table, frame=False)
                self.assertEqual(len(found), len(rows), table)
                for row, of_file in zip(found, rows):
                    self.assertEqual(list(row), list(of_file), table)
                    for column, value in of_file.items():
                        expected = schemas.meant(value, mode, table, column)
                        same = schemas.same(row[column], expected)
                        self.assertTrue(same, f"{table}.{column}: {row[column]}")

    def test_accessors_are_the_tables(self):
        sweep, attribution = map(ulpscope.load, (self.sweep, self.attribution))
        plan = ulpscope.load(self.plan / "results.json")
        for function, run, least in [
            (ulpscope.plans, sweep, 3),
            (ulpscope.layers, sweep, 3 * 2 * 8),
            (ulpscope.layers, attribution, 8),
            (ulpscope.cells, attribution, 8 * 18 + 3),
            (ulpscope.tokens, plan, 3),
        ]:
            rows = function(run, frame=False)
            self.assertEqual(rows, ulpscope.table(run, function.__name__, frame=False))
            self.assertGreaterEqual(len(rows), least, function)
        timed = {row["plan"]: row["not_timed"] for row in ulpscope.plans(sweep, False)}
        self.assertEqual(timed["matmul=tc_h100"], "emulated")
        self.assertIsNone(timed["f32"])

    def test_jsonl_has_the_same_figures(self):
        for mode, name in self.reports():
            run = ulpscope.load(self.runs.folder / f"{name}.jsonl")
            whole = self.runs.json(name)
            self.assertEqual(run.label, "synthetic:tiny (SYNTHETIC weights)")
            compared = 0
            for table, rows in schemas.rows_of(whole):
                if table == "context":
                    for column, value in run.context.items():
                        self.assertIn(value, (whole[table][column], 1, 4))
                    continue
                found = ulpscope.table(run, table, frame=False) if rows else []
                self.assertEqual(len(found), len(rows), table)
                for row, of_file in zip(found, rows):
                    self.assertLessEqual(set(row), set(of_file))
                    for column, value in of_file.items():
                        if column not in row:  # a key, or a list that has nothing
                            self.assertIn(value, (None, []), f"{table}.{column}")
                            continue
                        expected = schemas.meant(value, mode, table, column)
                        if isinstance(value, bool):
                            expected = int(value)
                        elif isinstance(value, list) and isinstance(row[column], str):
                            expected = " ".join(value)
                        same = schemas.same(row[column], expected)
                        self.assertTrue(same, f"{table}.{column}: {row[column]}")
                        compared += 1
            self.assertGreater(compared, 500)

    def test_jsonl_of_several_runs_is_an_error(self):
        both = pathlib.Path(self.folder) / "both.jsonl"
        texts = [
            (self.runs.folder / f"{name}.jsonl").read_text()
            for _, name in self.reports()
        ]
        both.write_text(texts[0] + texts[1])
        self.assert_error((both, "one run"), ulpscope.load, both)
        both.write_text(texts[0] + texts[0])
        self.assert_error((both, "one run"), ulpscope.load, both)
        both.write_text(texts[0][:-5])
        self.assert_error(both, ulpscope.load, both)

    def test_store_has_every_measurement(self):
        store = ulpscope.load(self.runs.folder / "store")
        shard = next((self.runs.folder / "store" / "shards").iterdir())
        lines = shard.read_text().splitlines()
        self.assertEqual(len(store.records), len(lines))
        self.assertEqual(store.skipped, [])
        for record, line in zip(store.records, map(json.loads, lines)):
            self.assertEqual(record["key"], line["key"])
        errors = [r for r in store.records if r["kind"] == "error"]
        by_plan = {
            r["input"]["plan"]: r["result"]["final_norm"]["rmse"]
            for r in errors
            if "," in r["input"]["tokens"]
        }
        for row in ulpscope.table(self.sweep, "evaluations", frame=False):
            if row["tokens"] == "prompt":
                self.assertEqual(by_plan.pop(row["plan"]), row["final_norm_rmse"])
        self.assertEqual(by_plan, {})
        self.assert_error("store", ulpscope.plans, store)

    def test_damaged_lines_of_a_store_are_told(self):
        store = self.runs.folder / "store"
        shard = next((store / "shards").iterdir())
        copy = pathlib.Path(self.folder)
        (copy / "shards").mkdir()
        (copy / "meta.json").write_text((store / "meta.json").read_text())
        text = shard.read_text()
        (copy / "shards" / "a.jsonl").write_text(text[:-7])
        (copy / "shards" / "b.jsonl").write_text('{"v": 1}\n' + text)
        found = ulpscope.load(copy)
        self.assertEqual(len(found.records), 2 * len(text.splitlines()) - 1)
        self.assertEqual(len(found.skipped), 2)
        self.assertIn("b.jsonl:1", found.skipped[1])
        (copy / "meta.json").write_text('{"schema": "ulpscope/store", "version": 2}')
        self.assert_error(("meta.json", "version 2"), ulpscope.load, copy)

    def assert_same_answer(self, found, *arguments):
        """What the program says, its exit code included."""
        done = runs.explorer(*arguments, "-o=json", check=False)
        self.assertEqual(found.exit_code, done.returncode)
        for table, rows in schemas.rows_of(json.loads(done.stdout)):
            self.assertEqual(ulpscope.table(found, table, frame=False), rows, table)

    def test_compare_is_the_programs(self):
        again = self.runs.make("again", "--plan=bf16") / "results.json"
        same = ulpscope.compare(self.plan, again)
        self.assert_same_answer(same, f"--compare={self.plan}", f"--with={again}")
        self.assertTrue(same.comparable)
        self.assertEqual(same.tables["differences"], [])
        compared = {row["table"]: row["same"] for row in same.tables["compared"]}
        self.assertGreater(compared["layers"], 50)

        subset = ulpscope.compare(ulpscope.load(self.plan), self.sweep)
        self.assertGreater(len(subset.tables["differences"]), 0)
        path = self.plan / "results.json"
        self.assert_same_answer(subset, f"--compare={path}", f"--with={self.sweep}")

        other = ulpscope.compare(self.plan, self.attribution)
        self.assertFalse(other.comparable)
        self.assertIn("--attribute", other.context["not_comparable"])

    def test_compare_takes_stores(self):
        store = ulpscope.load(self.runs.folder / "store")
        found = ulpscope.compare(store, self.sweep)
        self.assertTrue(found.comparable)
        compared = {row["table"]: row for row in found.tables["compared"]}
        self.assertEqual(compared["layers"]["different"], 0)
        self.assertGreater(compared["layers"]["same"], 100)

    def test_gate_is_the_programs(self):
        lines = ["plan=f32 bits == base", "plan=* layer=* rel_l2 < 1e-30  # none"]
        file = pathlib.Path(self.folder) / "gate"
        for conditions, code in [
            (lines[:1], 0),
            (lines[1:], 3),
            (lines, 3),
            (["plan=nobody kl_nats < 1"], 4),
            (["plan=matmul=tc_h100 decode_tokens_per_second > 1"], 4),
        ]:
            with self.subTest(conditions=conditions):
                file.write_text("\n".join(conditions))
                found = ulpscope.gate(self.sweep, self.sweep, file)
                self.assertEqual(found.exit_code, code)
                self.assertEqual(found.passed, code == 0)
                self.assertEqual(found.comparable, code != 4)
                run = f"--with={self.sweep}"
                base = f"--compare={self.sweep}"
                self.assert_same_answer(found, f"--gate={file}", run, base)
                of_lines = ulpscope.gate(self.sweep, self.sweep, conditions)
                self.assertEqual(of_lines.tables["checks"], found.tables["checks"])
        alone = ulpscope.gate(None, self.sweep, ["plan=f32 kl_nats < 1"])
        self.assertTrue(alone.passed)

    def test_what_the_program_refuses_is_an_error(self):
        gate, compare = ulpscope.gate, ulpscope.compare
        self.assert_error("no metric", gate, None, self.sweep, ["plan=f32"])
        self.assert_error("nowhere", compare, "nowhere", self.sweep)
        jsonl = ulpscope.load(self.runs.folder / "sweep.jsonl")
        self.assert_error("JSONL", compare, jsonl, self.sweep)

    def test_the_program_is_found(self):
        path = os.environ["ULPSCOPE_EXPLORER"]
        self.assertEqual(ulpscope.explorer_path(), path)
        with mock.patch.dict(os.environ, {"ULPSCOPE_EXPLORER": "/nowhere"}):
            self.assertEqual(ulpscope.explorer_path(path), path)
            self.assert_error("/nowhere", ulpscope.explorer_path)
        linked = os.path.join(self.folder, "explorer")
        os.symlink(path, linked)
        found = {"PATH": self.folder, "ULPSCOPE_EXPLORER": ""}
        with mock.patch.dict(os.environ, found):
            self.assertEqual(ulpscope.explorer_path(), linked)
            self.assert_error("program", ulpscope.compare, "a", "b", explorer="./no")


if __name__ == "__main__":
    unittest.main()
