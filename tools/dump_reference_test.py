"""Tests tools/dump_reference.py: is each tensor of a trace what its name says?

    python3 tools/dump_reference_test.py

Every tensor is computed again, from its neighbours in the trace and the model's
own weights, and has to be the same to the last bit.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import unittest

import torch
import transformers
from dump_reference import load, run, save
from safetensors import safe_open
from safetensors.torch import load_file
from transformers_bugs import Patch, use_residuals

TOKENS = [5, 5, 17, 3, 11]
ARCHS = ("qwen3", "qwen2", "llama")


def make_checkpoint(arch, folder):
    config = transformers.AutoConfig.for_model(
        arch,
        hidden_size=24,
        intermediate_size=27,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=31,
        bos_token_id=1,
        eos_token_id=2,
        # Of Qwen3 alone; of the others it is hidden_size / heads.
        **({"head_dim": 10} if arch == "qwen3" else {}),
    )
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(config)
    for name, parameter in model.named_parameters():
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape) * 0.4)
            if "norm" in name:
                parameter.add_(1)
    model.save_pretrained(folder)


def heads_of(x, width):
    """[tokens, heads * width] -> [1, heads, tokens, width]."""
    return x.unflatten(-1, (-1, width)).transpose(0, 1)[None]


class DumpReferenceTest(unittest.TestCase):
    case = ""  # what model a failure is of

    @classmethod
    def setUpClass(cls):
        torch.set_num_threads(1)
        transformers.utils.logging.disable_progress_bar()
        cls.temporary = tempfile.TemporaryDirectory()
        cls.folder = pathlib.Path(cls.temporary.name)
        for arch in ARCHS:
            make_checkpoint(arch, cls.folder / arch)

    @classmethod
    def tearDownClass(cls):
        cls.temporary.cleanup()

    def for_each_model(self):
        for arch in ARCHS:
            for dtype in (torch.float32, torch.bfloat16):
                self.case = f"{arch} in {dtype}"
                model = load(self.folder / arch, dtype)
                yield model, run(model, TOKENS)

    def assert_same(self, actual, expected):
        self.assertEqual(actual.dtype, expected.dtype, self.case)
        self.assertTrue(torch.equal(actual, expected), self.case)

    @torch.no_grad()
    def test_states(self):
        for model, trace in self.for_each_model():
            self.assertEqual(trace["input_ids"].tolist(), TOKENS)
            embedding = model.model.embed_tokens(trace["input_ids"])
            self.assert_same(trace["model.embed_tokens"], embedding)
            self.assert_same(trace["hidden_states.0"], embedding)
            for n in (1, 2):
                self.assert_same(
                    trace[f"hidden_states.{n}"], trace[f"model.layers.{n - 1}"]
                )
            normed = model.model.norm(trace["model.layers.2"])
            self.assert_same(trace["model.norm"], normed)
            self.assert_same(trace["hidden_states.3"], normed)
            self.assertFalse(torch.equal(trace["model.layers.2"], normed))
            self.assertNotIn("hidden_states.4", trace)
            logits = model.lm_head(trace["model.norm"][None])[0]
            self.assert_same(trace["logits"], logits)

    @torch.no_grad()
    def test_modules(self):
        for model, trace in self.for_each_model():
            for i, layer in enumerate(model.model.layers):
                p, a = f"model.layers.{i}.", f"model.layers.{i}.self_attn."

                def check(name, source):
                    module = layer.get_submodule(name)
                    output = module(trace[source][None])[0]
                    self.assert_same(trace[p + name], output)

                check("input_layernorm", f"hidden_states.{i}")
                for name in "qkv":
                    check(f"self_attn.{name}_proj", p + "input_layernorm")
                check("self_attn.o_proj", a + "o_proj.input")
                post_norm = p + "post_attention_layernorm"
                check("post_attention_layernorm", post_norm + ".input")
                check("mlp.gate_proj", post_norm)
                check("mlp.up_proj", post_norm)
                check("mlp.down_proj", p + "mlp.down_proj.input")

                middle = trace[f"hidden_states.{i}"] + trace[a + "o_proj"]
                self.assert_same(trace[post_norm + ".input"], middle)
                after = middle + trace[p + "mlp.down_proj"]
                self.assert_same(trace[f"model.layers.{i}"], after)
                gate = torch.nn.functional.silu(trace[p + "mlp.gate_proj"])
                self.assert_same(
                    trace[p + "mlp.down_proj.input"],
                    gate * trace[p + "mlp.up_proj"],
                )

    @torch.no_grad()
    def test_attention(self):
        for model, trace in self.for_each_model():
            at = torch.arange(len(TOKENS))[None]
            cos, sin = model.model.rotary_emb(trace["hidden_states.0"], at)
            future = torch.ones(5, 5, dtype=torch.bool).triu(1)
            for i, layer in enumerate(model.model.layers):
                attention, a = layer.self_attn, f"model.layers.{i}.self_attn."
                width = attention.head_dim
                rotated = {}
                for name in "qk":
                    x = heads_of(trace[f"{a}{name}_proj"], width)
                    if hasattr(attention, f"{name}_norm"):
                        x = attention.get_submodule(f"{name}_norm")(x)
                        normed = x[0].transpose(0, 1).flatten(1)
                        self.assert_same(trace[f"{a}{name}_norm"], normed)
                    left, right = x.chunk(2, -1)
                    half = torch.cat([-right, left], -1)
                    x = x * cos[:, None] + half * sin[:, None]
                    rotated[name] = heads_of(trace[f"{a}{name}_rope"], width)
                    self.assert_same(rotated[name], x)
                k = rotated["k"].repeat_interleave(2, 1)
                scores = rotated["q"] @ k.transpose(2, 3) * width**-0.5
                self.assert_same(trace[a + "attention_scores"], scores[0])
                scores = scores.masked_fill(future, -torch.inf)
                weights = scores.float().softmax(-1).to(scores.dtype)
                self.assert_same(trace[a + "attention_weights"], weights[0])
                v = heads_of(trace[a + "v_proj"], width).repeat_interleave(2, 1)
                output = (weights @ v)[0].transpose(0, 1).flatten(1)
                self.assert_same(trace[a + "o_proj.input"], output)

    def test_tensors_are_copies(self):
        def add_in_place(layer, stream, update):
            return stream.add_(update)

        for model, trace in self.for_each_model():
            storages = {tensor.data_ptr() for tensor in trace.values()}
            self.assertEqual(len(storages), len(trace))
            # The stream is one tensor here, which changes under the trace.
            patch = Patch(model, cleanup=None)
            saved = type(patch.layers[0]).forward
            patch.replace = setattr
            use_residuals(patch, add_in_place, add_in_place)
            try:
                again = run(model, TOKENS)
            finally:
                type(patch.layers[0]).forward = saved
            for name in trace:
                # Which transformers itself does not copy.
                if not name.startswith("hidden_states."):
                    self.assert_same(again[name], trace[name])

    def test_leaves_nothing_behind(self):
        model = load(self.folder / "qwen3", torch.float32)
        modeling = sys.modules[type(model).__module__]
        rotate = modeling.apply_rotary_pos_emb
        attend = modeling.eager_attention_forward
        trace = run(model, TOKENS)
        self.assertIs(modeling.apply_rotary_pos_emb, rotate)
        self.assertIs(modeling.eager_attention_forward, attend)
        layer = model.model.layers[0].mlp.down_proj
        self.assertFalse(layer._forward_hooks)
        self.assertFalse(layer._forward_pre_hooks)
        before = {name: tensor.clone() for name, tensor in trace.items()}
        run(model, TOKENS[::-1])
        for name in trace:
            self.assert_same(trace[name], before[name])

    def test_float64_throughout(self):
        folder = self.folder / "qwen3"
        plain = run(load(folder, torch.float64), TOKENS)
        model = load(folder, torch.float64, throughout=True)
        frequencies = model.model.rotary_emb.inv_freq
        self.assertEqual(frequencies.dtype, torch.float64)
        exact = run(model, TOKENS, throughout=True)
        name = "model.layers.0.input_layernorm"
        # What transformers computes in float32, a float32 can hold; the factor
        # 1 + weight it does not.
        x, weight = exact["hidden_states.0"], model.model.layers[0]
        weight = weight.input_layernorm.weight.detach()
        ratio = exact[name] / weight
        expected = x / (x.pow(2).mean(-1, True) + 1e-6).sqrt()
        # Some eight roundings in float64 on either side.
        bound = 16 * torch.finfo(torch.float64).eps
        self.assertLess(float((ratio / expected - 1).abs().max()), bound)
        error = float((plain[name] / weight / expected - 1).abs().max())
        self.assertGreater(error, bound)
        self.assertLess(error, 16 * torch.finfo(torch.float32).eps)

    def test_file(self):
        model = load(self.folder / "qwen2", torch.bfloat16)
        trace = run(model, TOKENS)
        path = self.folder / "trace.safetensors"
        texts = set()
        for _ in range(5):
            save(trace, path, torch.bfloat16, model="qwen2", note="é")
            texts.add(path.read_bytes())
        self.assertEqual(len(texts), 1)
        read = load_file(path)
        self.assertEqual(read.keys(), trace.keys())
        for name in trace:
            self.assert_same(read[name], trace[name])
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        self.assertEqual(metadata["dtype"], "bfloat16")
        self.assertEqual(metadata["transformers"], transformers.__version__)
        self.assertEqual(metadata["note"], "é")

    def dump(self, *flags):
        script = pathlib.Path(__file__).with_name("dump_reference.py")
        model, out = self.folder / "qwen3", self.folder / "out.safetensors"
        return subprocess.run(
            [sys.executable, script, model, f"--out={out}", *flags],
            capture_output=True,
            text=True,
        ), out

    def test_command(self):
        result, out = self.dump("--tokens=5,7", "--dtype=float16", "--no-ops")
        self.assertEqual(result.returncode, 0, result.stderr)
        trace = load_file(out)
        names = [f"hidden_states.{n}" for n in range(4)]
        names += [f"model.layers.{i}" for i in range(3)]
        names += ["input_ids", "logits", "model.embed_tokens", "model.norm"]
        self.assertEqual(sorted(trace), sorted(names))
        self.assertEqual(trace["logits"].dtype, torch.float16)
        self.assertEqual(trace["input_ids"].tolist(), [5, 7])

        result, _ = self.dump("--tokens=5,31")
        self.assertEqual(result.returncode, 2)
        self.assertIn("31 is not in [0, 31)", result.stderr)
        result, _ = self.dump("--tokens=5", "--float64-throughout")
        self.assertIn("needs --dtype=float64", result.stderr)


if __name__ == "__main__":
    unittest.main()
