"""Checks exported graphs with the reference tools: onnx.checker, shape inference, Python's ONNX Runtime and ONNX's own
evaluator in NumPy, which rounds every float16 value where ONNX Runtime's CPU kernels leave that out.

Usage: onnx_check.py FOLDER. FOLDER/cases.json lists runs: a graph, optionally an .onnx_adapter, inputs, and the
outputs that onnxruntime-node gave. Prints one JSON object. Not a test by itself: exporters.interop.test.ts runs it.

Three ways to use an adapter are tried: its tensors as ordinary feeds, as an active adapter of a run, and as an active
adapter below Python's check of the feeds, which is what C++ and C# run.
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx.reference import ReferenceEvaluator


def tensor(case):
    return np.array(case["data"], dtype=case["dtype"]).reshape(case["dims"])


def largest_difference(outputs, expected):
    """Shapes and types first, then the largest absolute difference of any output."""
    worst = 0.0
    for name, case in expected.items():
        wanted, got = tensor(case), outputs[name]
        assert got.dtype == wanted.dtype and got.shape == wanted.shape, (name, got.dtype, got.shape)
        worst = max(worst, float(np.max(np.abs(got.astype(np.float64) - wanted.astype(np.float64)))))
    return worst


def reference_difference(model, feeds, expected):
    """The largest difference from ONNX's evaluator, in units of an output's largest value where that is above 1.

    Choices and log-probabilities are left out: ties turn, and 1 - tanh^2 of a saturated draw is rounding.
    """
    names = [output.name for output in model.graph.output]
    outputs = dict(zip(names, ReferenceEvaluator(model).run(names, feeds)))
    worst = 0.0
    for name, case in expected.items():
        if name == "log_prob" or case["dtype"] != "float32":
            continue
        wanted, got = tensor(case).astype(np.float64), outputs[name]
        assert got.dtype == np.float32 and got.shape == wanted.shape, (name, got.dtype, got.shape)
        # Logits of choices that are not available are huge, exact and no measure.
        scale = max(1.0, float(np.max(np.abs(wanted[wanted > -1e9]), initial=0.0)))
        worst = max(worst, float(np.max(np.abs(got - wanted))) / scale)
    return worst


def adapter_parameters(path):
    # The values are views of the format object's memory: it must outlive the copies.
    adapter = ort.AdapterFormat.read_adapter(path)
    return {name: value.numpy().copy() for name, value in adapter.get_parameters().items()}


def run_case(folder, case):
    path = str(folder / case["graph"])
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    feeds = {name: tensor(value) for name, value in case["inputs"].items()}
    result = {
        "graph": case["graph"],
        "opset": model.opset_import[0].version,
        "metadata": dict(session.get_modelmeta().custom_metadata_map),
    }

    def difference(values):
        return largest_difference(dict(zip(names, values)), case["outputs"])

    if case["adapter"] is None:
        result["difference"] = difference(session.run(None, feeds))
        result["reference"] = reference_difference(model, feeds, case["outputs"])
        return result
    adapter_path = str((folder / case["adapter"]).resolve())
    whole = {**feeds, **adapter_parameters(adapter_path)}
    result["difference"] = difference(session.run(None, whole))
    result["reference"] = reference_difference(model, whole, case["outputs"])
    adapter = ort.LoraAdapter()
    adapter.Load(adapter_path)
    options = ort.RunOptions()
    options.add_active_adapter(adapter)
    try:
        result["active"] = difference(session.run(None, feeds, options))
    except ValueError as error:
        result["active"] = str(error).split("(")[0].strip()
    result["active_native"] = difference(session._sess.run(names, feeds, options))
    return result


def main():
    folder = pathlib.Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    versions = {"onnx": onnx.__version__, "onnxruntime": ort.__version__}
    print(json.dumps({"versions": versions, "results": [run_case(folder, case) for case in cases]}))


main()
