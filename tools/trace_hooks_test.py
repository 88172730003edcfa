"""Tests tools/trace_hooks.py: is each tensor of a trace what its name says?

    python3 tools/trace_hooks_test.py

Of transformers, against tools/dump_reference.py; of modules that are fused as
vLLM's and SGLang's, against the same model unfused.
"""

import pathlib
import tempfile
import unittest

import torch
import trace_hooks
import transformers
from dump_reference import load, run
from dump_reference_test import ARCHS, TOKENS, make_checkpoint
from safetensors.torch import load_file

WIDTH, HEADS, INNER = 6, 2, 8


class Fused(torch.nn.Linear):
    """As vLLM's linear layers: (output, bias that is still to be added)."""

    def forward(self, x):
        return super().forward(x), None


class AddingNorm(torch.nn.Module):
    """As vLLM's RMSNorm: adds in place, and returns the sum too."""

    def forward(self, x, residual=None):
        if residual is None:
            return x / x.norm(dim=-1, keepdim=True)
        residual.add_(x)
        return residual / residual.norm(dim=-1, keepdim=True), residual


class Rotation(torch.nn.Module):
    def forward(self, positions, q, k):
        return q.mul_(positions[:, None] + 1), k.mul_(positions[:, None] + 2)


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv_proj = Fused(WIDTH, 3 * WIDTH)
        self.rotary_emb = Rotation()
        self.o_proj = Fused(WIDTH, WIDTH)

    def forward(self, positions, x):
        qkv, _ = self.qkv_proj(x)
        q, k, v = qkv.chunk(3, dim=-1)
        q, k = self.rotary_emb(positions, q, k)
        scores = (q @ k.T).softmax(-1)
        return self.o_proj(scores @ v)[0]


class Mlp(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_up_proj = Fused(WIDTH, 2 * INNER)
        self.down_proj = Fused(INNER, WIDTH)

    def forward(self, x):
        gate, up = self.gate_up_proj(x)[0].chunk(2, dim=-1)
        return self.down_proj(torch.nn.functional.silu(gate) * up)[0]


class Layer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = AddingNorm()
        self.self_attn = Attention()
        self.post_attention_layernorm = AddingNorm()
        self.mlp = Mlp()

    def forward(self, positions, x, residual):
        if residual is None:
            residual = x.clone()
            x = self.input_layernorm(x)
        else:
            x, residual = self.input_layernorm(x, residual)
        x = self.self_attn(positions, x)
        x, residual = self.post_attention_layernorm(x, residual)
        return self.mlp(x), residual


class Body(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(11, WIDTH)
        self.layers = torch.nn.ModuleList(Layer() for _ in range(3))
        self.norm = AddingNorm()

    def forward(self, tokens):
        positions = torch.arange(len(tokens))
        x, residual = self.embed_tokens(tokens), None
        for layer in self.layers:
            x, residual = layer(positions, x, residual)
        return self.norm(x, residual)[0]


class Program(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.model = Body()

    def forward(self, tokens):
        return self.model(tokens)


class TraceHooksTest(unittest.TestCase):
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

    @torch.no_grad()
    def test_transformers(self):
        for arch in ARCHS:
            for dtype in (torch.float32, torch.bfloat16):
                model = load(self.folder / arch, dtype)
                expected = run(model, TOKENS)
                with trace_hooks.recorded(model) as trace:
                    model(torch.tensor([TOKENS]), use_cache=False)
                for name, tensor in trace.items():
                    self.assertEqual(tensor.dtype, dtype, name)
                    self.assertTrue(torch.equal(tensor, expected[name]), name)
                # No module computes these.
                lacking = {
                    name.rpartition(".")[2]
                    for name in set(expected) - set(trace)
                    if not name.startswith("hidden_states.")
                }
                rope = {"q_rope", "k_rope"}
                scores = {"attention_scores", "attention_weights"}
                self.assertEqual(lacking, {"input_ids"} | rope | scores)

    @torch.no_grad()
    def test_fused_modules_that_work_in_place(self):
        program = Program()
        tokens = torch.tensor([1, 4, 2, 9])
        with trace_hooks.recorded(program) as trace:
            normed = program(tokens)
        self.assertTrue(torch.equal(trace["model.norm"], normed))
        stream = trace["model.embed_tokens"]
        self.assertTrue(torch.equal(stream, program.model.embed_tokens(tokens)))
        norm = AddingNorm()
        for i, layer in enumerate(program.model.layers):
            p = f"model.layers.{i}."

            def check(name, value):
                torch.testing.assert_close(trace[p + name], value, msg=p + name)

            check("input_layernorm", norm(stream))
            qkv = layer.self_attn.qkv_proj(trace[p + "input_layernorm"])[0]
            check("self_attn.qkv_proj", qkv)
            q, k, _ = qkv.chunk(3, dim=-1)
            check("self_attn.q_rope", q * torch.arange(1.0, 5)[:, None])
            check("self_attn.k_rope", k * torch.arange(2.0, 6)[:, None])
            o_proj = layer.self_attn.o_proj(trace[p + "self_attn.o_proj.input"])
            check("self_attn.o_proj", o_proj[0])
            stream = stream + o_proj[0]
            check("post_attention_layernorm.input", stream)
            check("post_attention_layernorm", norm(stream))
            gate_up = trace[p + "mlp.gate_up_proj"]
            gate, up = gate_up.chunk(2, dim=-1)
            check("mlp.down_proj.input", torch.nn.functional.silu(gate) * up)
            stream = stream + trace[p + "mlp.down_proj"]
            torch.testing.assert_close(trace[f"model.layers.{i}"], stream)
        self.assertEqual(len(trace), 2 + 3 * 12)

    @torch.no_grad()
    def test_rows_of_later_calls_are_appended(self):
        model = load(self.folder / "qwen3", torch.float32)
        ids = torch.tensor([TOKENS])
        with trace_hooks.recorded(model) as whole:
            model(ids, use_cache=False)
        with trace_hooks.recorded(model) as parts:
            cache = model(ids[:, :3]).past_key_values
            model(ids[:, 3:], past_key_values=cache)
        self.assertEqual(parts.keys(), whole.keys())
        for name in whole:
            torch.testing.assert_close(parts[name], whole[name], msg=name)

    @torch.no_grad()
    def test_a_batch_stays_one(self):
        model = load(self.folder / "qwen3", torch.float32)
        with trace_hooks.recorded(model) as trace:
            model(torch.tensor([TOKENS, TOKENS[::-1]]), use_cache=False)
        self.assertEqual(trace["model.layers.1"].shape, (2, 5, 24))
        self.assertEqual(trace["logits"].shape, (2, 5, 31))
        self.assertEqual(trace["model.layers.1.self_attn.q_norm"].shape, (2, 5, 40))

    @torch.no_grad()
    def test_leaves_nothing_behind(self):
        model = load(self.folder / "qwen3", torch.float32)
        with trace_hooks.recorded(model) as trace:
            model(torch.tensor([TOKENS]), use_cache=False)
        before = {name: tensor.clone() for name, tensor in trace.items()}
        for module in model.modules():
            self.assertFalse(module._forward_hooks)
            self.assertFalse(module._forward_pre_hooks)
        model(torch.tensor([TOKENS[::-1]]), use_cache=False)
        for name, tensor in trace.items():
            self.assertTrue(torch.equal(tensor, before[name]))

    def test_file(self):
        path = self.folder / "trace.safetensors"
        transposed = torch.arange(6.0).reshape(2, 3).T
        trace_hooks.save({"model.norm": transposed}, path, [1, 2], model="x")
        read = load_file(path)
        self.assertEqual(read["input_ids"].tolist(), [1, 2])
        self.assertTrue(torch.equal(read["model.norm"], transposed))


if __name__ == "__main__":
    unittest.main()
