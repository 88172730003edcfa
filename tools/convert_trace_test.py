"""Tests tools/convert_trace.py.

    python3 tools/convert_trace_test.py
"""

import collections
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np
import torch
from convert_trace import Unusable, convert, load
from safetensors.torch import load_file


def counting(*shape, first=0.0, dtype=torch.float32):
    count = int(np.prod(shape))
    return (first + torch.arange(count)).reshape(shape).to(dtype)


class Output(collections.OrderedDict):
    """A class of some program, which a file may not bring along."""


class ConvertTraceTest(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)

    def tearDown(self):
        self.temporary.cleanup()

    def converted(self, data, name="trace.pt", **options):
        path = self.folder / name
        torch.save(data, path)
        return convert(load(path), **options)

    def assert_same(self, actual, expected):
        self.assertEqual(actual.dtype, expected.dtype)
        self.assertTrue(torch.equal(actual, expected))

    def test_states_of_a_model(self):
        states = [counting(1, 3, 4, first=10 * n) for n in range(3)]
        logits = counting(1, 3, 5, dtype=torch.bfloat16)
        for kind in (tuple, list):
            trace = self.converted({"hidden_states": kind(states), "logits": logits})
            self.assertEqual(
                sorted(trace), [*(f"hidden_states.{n}" for n in range(3)), "logits"]
            )
            self.assert_same(trace["hidden_states.2"], states[2])
            self.assert_same(trace["logits"], logits)
            trace = self.converted(kind(states))
            self.assert_same(trace["hidden_states.1"], states[1])

    def test_stacked_states(self):
        for shape in ((3, 2, 4), (3, 1, 2, 4), (3, 2, 2, 4)):
            stacked = counting(*shape)
            for data in (stacked, {"hidden_states": stacked}):
                trace = self.converted(data)
                self.assertEqual(len(trace), 3)
                self.assert_same(trace["hidden_states.2"], stacked[2])

    def test_states_of_generating(self):
        prompt = [counting(1, 3, 4, first=n) for n in range(2)]
        steps = [[counting(1, 1, 4, first=7 * n + s) for n in range(2)] for s in (1, 2)]
        trace = self.converted({"hidden_states": (tuple(prompt), *map(tuple, steps))})
        self.assertEqual(len(trace), 2)
        whole = torch.cat([prompt[1], steps[0][1], steps[1][1]], dim=1)
        self.assert_same(trace["hidden_states.1"], whole)

    def test_nested_containers(self):
        a, b = counting(2, 3), counting(2, 3, first=5)
        trace = self.converted({"x": {"y": a, "z": [b, None, a]}, "note": "text"})
        self.assertEqual(sorted(trace), ["x.y", "x.z.0", "x.z.2"])
        self.assert_same(trace["x.z.0"], b)

    # 256 + 1 is a tie in bf16, as in a program that adds in it.
    def test_pairs_of_layers_are_added(self):
        hidden = torch.full((2, 3), 256, dtype=torch.bfloat16)
        residual = torch.tensor([[1, 3, 0]] * 2, dtype=torch.bfloat16)
        data = {"model.layers.1": (hidden, residual), "other": (hidden, residual)}
        trace = self.converted(data)
        self.assert_same(
            trace["model.layers.1"],
            torch.tensor([[256, 260, 256]] * 2, dtype=torch.bfloat16),
        )
        self.assertEqual(len(trace), 3)
        self.assertIn("other.0", trace)
        trace = self.converted(data, pairs="sum")
        self.assertEqual(sorted(trace), ["model.layers.1", "other"])
        trace = self.converted(data, pairs="none")
        self.assert_same(trace["model.layers.1.1"], residual)

    def test_a_layer_that_returns_its_weights_too(self):
        stream, weights = counting(1, 3, 4), counting(1, 2, 3, 3)
        trace = self.converted({"model.layers.0": (stream, weights)})
        self.assertEqual(list(trace), ["model.layers.0"])
        self.assert_same(trace["model.layers.0"], stream)

    # Its keys are the paths of modules that have no modules of their own.
    def test_dump_of_sglang(self):
        p = "model.layers.1."
        data = {
            "model.embed_tokens": counting(2, 4),
            "model.layers.0.input_layernorm": counting(2, 4, first=1),
            p + "input_layernorm": [counting(2, 4, first=2), counting(2, 4, first=3)],
            p + "self_attn.qkv_proj": counting(2, 12),
            p + "self_attn.rotary_emb": [counting(2, 4), counting(2, 2)],
            p + "self_attn.attn": counting(2, 4, first=4),
            p + "self_attn.o_proj": counting(2, 4),
            p + "post_attention_layernorm": [
                counting(2, 4, first=5),
                counting(2, 4, first=6),
            ],
            p + "mlp.gate_up_proj": counting(2, 6),
            p + "mlp.act_fn": counting(2, 3, first=7),
            p + "mlp.down_proj": counting(2, 4),
            "model.norm": [counting(2, 4, first=8), counting(2, 4, first=9)],
            "model.forward_batch_info.input_ids": torch.tensor([5, 6]),
            "logits_processor": counting(1, 9),
        }
        trace = self.converted(data)
        first = {
            "model.layers.0": 3,  # the norm's residual is the stream before it
            "model.layers.1": 9,
            p + "input_layernorm": 2,
            p + "self_attn.o_proj.input": 4,
            p + "post_attention_layernorm": 5,
            p + "post_attention_layernorm.input": 6,
            p + "mlp.down_proj.input": 7,
            "model.norm": 8,
        }
        for name, value in first.items():
            self.assertEqual(trace[name].flatten()[0], value, name)
        self.assertEqual(trace["input_ids"].tolist(), [5, 6])
        self.assertNotIn("logits", trace)
        self.assertEqual(trace[p + "self_attn.k_rope"].shape, (2, 2))

    def test_logits_processor_of_other_programs(self):
        trace = self.converted({"logits_processor": counting(1, 9)})
        self.assertEqual(list(trace), ["logits"])

    # transformers' act_fn is of the gate alone.
    def test_an_activation_that_is_not_fused_keeps_its_name(self):
        trace = self.converted({"model.layers.0.mlp.act_fn": counting(2, 3)})
        self.assertEqual(list(trace), ["model.layers.0.mlp.act_fn"])

    def test_types(self):
        trace = self.converted(
            {
                "i": torch.tensor([1, 2], dtype=torch.int32),
                "b": torch.tensor([True]),
                "f8": torch.tensor([1.5]).to(torch.float8_e4m3fn),
                "h": counting(2, dtype=torch.float16),
            }
        )
        self.assert_same(trace["i"], torch.tensor([1, 2]))
        self.assert_same(trace["b"], torch.tensor([1]))
        self.assert_same(trace["f8"], torch.tensor([1.5]))
        self.assertEqual(trace["h"].dtype, torch.float16)
        with self.assertRaisesRegex(Unusable, "c: it is sparse"):
            self.converted({"c": torch.zeros(2, dtype=torch.complex64)})

    def test_arrays_of_numpy(self):
        states = np.arange(24, dtype=">f8").reshape(3, 2, 4)
        np.savez(self.folder / "a.npz", hidden_states=states, input_ids=[3, 1])
        trace = convert(load(self.folder / "a.npz"))
        self.assert_same(
            trace["hidden_states.1"], torch.tensor(states[1].astype("f8"))
        )
        self.assertEqual(trace["input_ids"].dtype, torch.int64)
        np.save(self.folder / "b.npy", states)
        self.assertEqual(len(convert(load(self.folder / "b.npy"))), 3)
        raw = np.array([0x3F80, 0xC000], np.uint16).view("V2")
        np.savez(self.folder / "c.npz", x=raw)
        with self.assertRaisesRegex(Unusable, "--void=bf16"):
            load(self.folder / "c.npz")
        self.assert_same(
            load(self.folder / "c.npz", "bf16")["x"],
            torch.tensor([1.0, -2.0], dtype=torch.bfloat16),
        )

    def test_what_is_no_trace(self):
        for data, message in (
            (Output(x=counting(2)), "save dict"),
            ({"x": "text"}, "found none"),
            ({"x": torch.device("cpu")}, "expected tensors, found device"),
        ):
            with self.assertRaisesRegex(Unusable, message):
                self.converted(data)
        for bytes_ in (b"", b"PK\x03\x04", b"text"):
            (self.folder / "bad.pt").write_bytes(bytes_)
            with self.assertRaises(Unusable):
                load(self.folder / "bad.pt")
        with self.assertRaisesRegex(Unusable, "two tensors are model.layers.0"):
            self.converted(
                {"model.layers.0": counting(2), "layers.0": counting(2)}
            )

    def run_script(self, *arguments):
        script = pathlib.Path(__file__).with_name("convert_trace.py")
        return subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True
        )

    def test_command(self):
        torch.save(
            {"acts": counting(2, 3), "junk": counting(1)}, self.folder / "in.pt"
        )
        out = self.folder / "out.safetensors"
        result = self.run_script(
            self.folder / "in.pt",
            out,
            "--tokens=3,1",
            "--name=acts=model.norm",
            "--name=junk=-",
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("model.norm: float32 [2, 3]", result.stdout)
        trace = load_file(out)
        self.assertEqual(sorted(trace), ["input_ids", "model.norm"])
        self.assertEqual(trace["input_ids"].tolist(), [3, 1])
        result = self.run_script(self.folder / "none.pt", out)
        self.assertEqual(result.returncode, 1)
        self.assertIn("none.pt", result.stderr)
        result = self.run_script(self.folder / "in.pt", self.folder / "x.npz")
        self.assertEqual(result.returncode, 2)


if __name__ == "__main__":
    unittest.main()
