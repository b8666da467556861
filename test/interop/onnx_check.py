"""Checks exported graphs with the reference tools: onnx.checker, shape inference, Python's ONNX Runtime.

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
        return result
    adapter_path = str((folder / case["adapter"]).resolve())
    result["difference"] = difference(session.run(None, {**feeds, **adapter_parameters(adapter_path)}))
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
