"""One training step of lorasa's plain actor in PyTorch: the baseline of `device/train.ts`. Not used by the project itself.

    python3 test/bench/torch_train_step.py FOLDER cpu|cuda SECONDS

FOLDER holds `task.json` and `numbers.bin`, written by `device/torch.ts`. Prints one JSON object: the median step, waited
for, and the policy's loss before each of the first steps. Eager PyTorch in float32 as it is installed, TensorFloat-32 off.
"""
import json
import math
import statistics
import sys
import time
from pathlib import Path

import torch

WARM_UP_STEPS = 5
LEAST_STEPS = 10


def read(folder, device):
    task = json.loads((folder / "task.json").read_text())
    numbers = torch.frombuffer(bytearray((folder / "numbers.bin").read_bytes()), dtype=torch.float32)

    def tensors(entries):
        result = {}
        for entry in entries:
            count = math.prod(entry["shape"])
            values = numbers[entry["offset"] : entry["offset"] + count]
            result[entry["name"]] = values.reshape(entry["shape"]).to(device).clone()
        return result

    return task, tensors(task["parameters"]), tensors(task["tensors"])


def distribution(task, parameters, observations):
    """Mean [N, R, K] and standard deviation [K]."""
    x = observations
    layer = 0
    while f"mlp.{layer}.weight" in parameters:
        x = torch.tanh(x @ parameters[f"mlp.{layer}.weight"] + parameters[f"mlp.{layer}.bias"])
        norm = f"mlp.{layer}.norm"
        x = torch.nn.functional.layer_norm(
            x, x.shape[-1:], parameters[f"{norm}.weight"], parameters[f"{norm}.bias"], 1e-5
        )
        layer += 1
    mean = x @ parameters["head.weight"] + parameters["head.bias"]
    return mean, torch.sigmoid(parameters["head.log_std"] / task["stdX"]) * task["stdY"]


def metrics(task, parameters, batch):
    """The loss that is minimised, and [policy loss, entropy, ratio, approximate KL, clip fraction]."""
    mean, std = distribution(task, parameters, batch["observations"])
    half_log_2pi = 0.5 * math.log(2 * math.pi)
    log_prob = -0.5 * ((batch["drawn"] - mean) / std).square() - std.log() - half_log_2pi
    log_ratio = (log_prob - batch["old_log_prob"]).sum(2, keepdim=True)
    ratio = log_ratio.exp()
    low, high = 1 - task["clipRange"], 1 + task["clipRange"]
    terms = torch.minimum(ratio * batch["advantage"], ratio.clamp(low, high) * batch["advantage"])
    active = batch["active"]
    policy = -(terms * active).sum() / active.sum().clamp(min=1)
    entropy = (std.log() + 0.5 + half_log_2pi).sum()
    outside = ((ratio - 1).abs() > task["clipRange"]).float().mean()
    kl = (ratio - 1 - log_ratio).mean()
    loss = policy - task["entropyCoefficient"] * entropy
    return loss, torch.stack([policy, entropy, ratio.mean(), kl, outside]).detach()


def optimizer(task, parameters, device):
    adam = task["adam"]
    given = {"lr": task["learningRate"], "betas": (adam["beta1"], adam["beta2"]), "eps": adam["epsilon"]}
    try:
        return torch.optim.Adam(parameters, fused=device == "cuda", **given)
    except TypeError:
        # Before PyTorch 2.
        return torch.optim.Adam(parameters, **given)


def main():
    folder, device, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    task, parameters, batch = read(folder, device)
    for parameter in parameters.values():
        parameter.requires_grad_(True)
    adam = optimizer(task, list(parameters.values()), device)

    def step():
        adam.zero_grad(set_to_none=True)
        loss, figures = metrics(task, parameters, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(parameters.values()), task["maxGradientNorm"])
        adam.step()
        if device == "cuda":
            torch.cuda.synchronize()
        return figures.tolist()[0]

    losses = [step() for _ in range(task["comparedSteps"])]
    for _ in range(WARM_UP_STEPS):
        step()
    times = []
    began = time.perf_counter()
    while len(times) < LEAST_STEPS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - start))
    name = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    library = f"PyTorch {torch.__version__}, {name}"
    print(json.dumps({"ms": statistics.median(times), "steps": len(times), "losses": losses, "library": library}))


main()
