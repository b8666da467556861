"""Lends simulators written in Python to `lorasa train --env remote`; the protocol is docs/remote.md.

    lorasa train --env remote --listen 127.0.0.1:9100 --set envs=4 --out runs/remote

    pip install pettingzoo mpe2 gymnasium-robotics
    python examples/remote_env.py http://127.0.0.1:9100 mpe2.simple_spread_v3 --environments 4
    python examples/remote_env.py http://127.0.0.1:9100 gymnasium_robotics.mamujoco_v1 --environments 2 \
        --make '{"scenario": "HalfCheetah", "agent_conf": "2x3", "agent_obsk": 1}'

`simulate` and `Trainer` need Python alone, and take any environment with `spaces`, `reset` and `step`; `ParallelTeam` makes
one of a PettingZoo parallel environment, which Gymnasium-Robotics' multi-agent MuJoCo is too. Start the command as often
as there are processors: each process is one simulator, and spare ones wait until another leaves.
"""

import argparse
import array
import http.client
import importlib
import json
import pathlib
import signal
import struct
import sys
import time
import urllib.parse

JSON = "application/json"
BINARY = "application/octet-stream"


class Gone(Exception):
    """The trainer has given this simulator up, or was started again: register anew."""


class Refused(Exception):
    """The trainer says what was wrong with a request; sending it again would not help."""


class Trainer:
    """One HTTP connection to a trainer: opened again when it is lost, requests repeated for `patience` seconds."""

    def __init__(self, url, token=None, binary=True, patience=60.0):
        parts = urllib.parse.urlsplit(url)
        self._address = (parts.hostname, parts.port or 80)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._binary = binary
        self._patience = patience
        self._connection = None

    def register(self, spaces):
        """Says the task's spaces; returns the name under which this simulator is known."""
        return json.loads(self._request("POST", "/v1/simulators", json.dumps(spaces).encode(), JSON))["simulator"]

    def next(self, name, sequence, arrays):
        """Answers command `sequence` with arrays (none: only asks), waits for the next one and returns it."""
        path = f"/v1/simulators/{name}/next"
        if self._binary:
            return _unpack(self._request("POST", path, _pack(sequence, arrays), BINARY))
        body = json.dumps({"sequence": sequence, **arrays}, allow_nan=False).encode()
        return json.loads(self._request("POST", path, body, JSON))

    def leave(self, name):
        """Says that this simulator is gone, once: without a word the trainer waits for it until its timeout."""
        # A request that was broken off leaves its connection unusable.
        self.close()
        try:
            self._request("DELETE", f"/v1/simulators/{name}", b"", JSON, patience=0)
        except (OSError, http.client.HTTPException, Refused):
            pass

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(self, method, path, body, kind, patience=None):
        # Every request may be repeated: the sequence number tells the trainer that it has had it.
        give_up = time.monotonic() + (self._patience if patience is None else patience)
        while True:
            try:
                if self._connection is None:
                    self._connection = http.client.HTTPConnection(*self._address, timeout=60)
                self._connection.request(method, path, body, {"Content-Type": kind, **self._headers})
                reply = self._connection.getresponse()
                data = reply.read()
                break
            except (OSError, http.client.HTTPException):
                self.close()
                if time.monotonic() >= give_up:
                    raise
                time.sleep(0.2)
        if reply.status < 300:
            return data
        error = json.loads(data)["error"]
        raise Gone(error) if reply.status == 409 and path.endswith("/next") else Refused(error)


def simulate(trainer, environments, log=lambda line: None):
    """Runs environments for a trainer until it says that training is over. Returns the steps that were made.

    An environment has `spaces` (a registration without its number of environments), `reset(seed)` that returns a view
    and `step(action)` that returns (view, reward, terminated, truncated, figures). `reset(None)` starts the next episode.
    A view is a dict: `observations`, a list of numbers for each agent; and where the task has them `state`, `action_mask`
    and `active`. An action is a list of numbers for each agent, or each agent's choice.
    """
    steps = 0
    while True:
        name = trainer.register({**environments[0].spaces, "environments": len(environments)})
        log(f"registered as simulator {name}")
        try:
            sequence, arrays = 0, {}
            while True:
                command = trainer.next(name, sequence, arrays)
                kind, sequence = command["command"], command["sequence"]
                if kind == "close":
                    return steps
                if kind == "wait":
                    arrays = {}
                    continue
                chosen = [environments[index] for index in command["environments"]]
                if kind == "reset":
                    arrays = _views([env.reset(seed) for env, seed in zip(chosen, command["seeds"])])
                else:
                    actions = _actions(command, environments[0].spaces)
                    arrays = _stepped(chosen, actions, environments[0].spaces.get("figures", []))
                    steps += len(chosen)
        except Gone as gone:
            log(str(gone))
        except BaseException:
            # Also when the environment fails or the process is told to end: others take over at once.
            trainer.leave(name)
            raise


def _views(views):
    names = [name for name in ("observations", "state", "action_mask", "active") if views[0].get(name) is not None]
    return {name: [view[name] for view in views] for name in names}


def _stepped(environments, actions, names):
    """The result of one step; an episode that ended gives its last view and figures `names`, and the next one's first."""
    views, lasts, results = [], [], []
    for env, action in zip(environments, actions):
        view, reward, terminated, truncated, figures = env.step(action)
        over = terminated or truncated
        # In the order of their names, as binary sends them.
        results.append((reward, terminated, truncated, {name: figures[name] for name in names} if over else None))
        lasts.append(view if over else None)
        views.append(env.reset(None) if over else view)
    rewards, terminated, truncated, figures = zip(*results)
    arrays = _views(views)
    arrays.update(rewards=list(rewards), terminated=list(terminated), truncated=list(truncated))
    if any(lasts):
        arrays["final_observations"] = [last and last["observations"] for last in lasts]
        if "state" in arrays:
            arrays["final_state"] = [last and last["state"] for last in lasts]
        if names:
            arrays["figures"] = list(figures)
    return arrays


def _actions(command, spaces):
    """For each environment, for each agent: its numbers or its choice."""
    if isinstance(command["actions"], list):
        return command["actions"]
    numbers = iter(command["actions"])
    take = [agent["action"].get("continuous") for agent in spaces["agents"]]
    return [
        [int(next(numbers)) if size is None else [next(numbers) for _ in range(size)] for size in take]
        for _ in command["environments"]
    ]


def _pack(sequence, arrays):
    """The header's length, the header, and the arrays as float32 in the order that it names."""
    header = json.dumps({"sequence": sequence, "arrays": list(arrays)}).encode()
    numbers = array.array("f")
    for items in arrays.values():
        rows = [None if item is None else list(_flat(item)) for item in items]
        width = max((len(row) for row in rows if row is not None), default=0)
        for row in rows:
            # What has not ended has no last view: its place is filled and not read.
            numbers.extend([0.0] * width if row is None else row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return struct.pack("<I", len(header)) + header + numbers.tobytes()


def _unpack(body):
    (length,) = struct.unpack_from("<I", body)
    command = json.loads(body[4 : 4 + length])
    numbers = array.array("f")
    numbers.frombytes(body[4 + length :])
    if sys.byteorder == "big":
        numbers.byteswap()
    return {**command, "actions": numbers}


def _flat(item):
    if isinstance(item, dict):
        item = item.values()
    if hasattr(item, "__iter__"):
        for inner in item:
            yield from _flat(inner)
    else:
        yield float(item)


class ParallelTeam:
    """A PettingZoo parallel environment as one team: rewards are averaged, box actions mapped from [-1, 1] to their bounds."""

    def __init__(self, env, task, episode_limit):
        self._env = env
        self._names = list(env.possible_agents)
        self._boxes = {name: env.action_space(name) for name in self._names}
        self._steps = 0
        self._limit = episode_limit
        env.reset(seed=0)
        self._has_state = _state(env) is not None
        self.spaces = {
            "protocol": 1,
            "task": task,
            "agents": [
                {
                    "name": name,
                    "observation": int(env.observation_space(name).shape[0]),
                    "action": _action_space(self._boxes[name]),
                }
                for name in self._names
            ],
            "state": len(_state(env)) if self._has_state else "observations",
            "episode_limit": episode_limit,
        }

    def reset(self, seed):
        self._steps = 0
        observations, infos = self._env.reset(seed=seed)
        return self._view(observations, infos)

    def step(self, actions):
        chosen = {name: self._action(name, action) for name, action in zip(self._names, actions)}
        alive = {name: action for name, action in chosen.items() if name in self._env.agents}
        observations, rewards, terminations, truncations, infos = self._env.step(alive)
        self._steps += 1
        reward = sum(map(float, rewards.values())) / max(1, len(rewards))
        over = not self._env.agents or all(terminations[name] or truncations[name] for name in terminations)
        truncated = (over and any(truncations.values())) or (not over and self._steps >= self._limit)
        return self._view(observations, infos), reward, over and not truncated, truncated, None

    def _view(self, observations, infos):
        rows, active, masks = [], [], []
        for name, agent in zip(self._names, self.spaces["agents"]):
            seen = observations.get(name)
            active.append(int(seen is not None))
            rows.append([0.0] * agent["observation"] if seen is None else [float(value) for value in seen])
            mask = infos.get(name, {}).get("action_mask")
            masks.append(mask if mask is None else [int(value) for value in mask])
        view = {"observations": rows, "active": active}
        if self._has_state:
            view["state"] = _state(self._env)
        if all(mask is not None for mask in masks):
            view["action_mask"] = masks
        return view

    def _action(self, name, action):
        space = self._boxes[name]
        if not hasattr(space, "low"):
            return int(action)
        middle, half = (space.high + space.low) / 2, (space.high - space.low) / 2
        return (middle + half * action).astype(space.dtype)


def _action_space(space):
    return {"continuous": int(space.shape[0])} if hasattr(space, "low") else {"discrete": int(space.n)}


def _state(env):
    try:
        return [float(value) for value in env.state().reshape(-1)]
    except (AttributeError, NotImplementedError):
        return None


def _load(name):
    """A module by its name, or one that a package offers under it."""
    package, _, last = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        if not package or not hasattr(importlib.import_module(package), last):
            sys.exit(f"{name}: no such module; pip install the package that has it")
        return getattr(importlib.import_module(package), last)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("url")
    parser.add_argument("module", help="a module with parallel_env, such as mpe2.simple_spread_v3")
    parser.add_argument("--make", type=json.loads, default={}, help="arguments of parallel_env, as JSON")
    parser.add_argument("--environments", type=int, default=1)
    parser.add_argument("--episode-limit", type=int, help="steps; the environment's own without it, else 1000")
    parser.add_argument("--token-file", type=pathlib.Path)
    parser.add_argument("--json", action="store_true", help="plain JSON instead of binary numbers")
    asked = parser.parse_args()
    make = _load(asked.module).parallel_env
    made = [make(**asked.make) for _ in range(asked.environments)]
    limit = asked.episode_limit or getattr(made[0].unwrapped, "max_cycles", None) or 1000
    task = "/".join([asked.module, *(str(value) for value in asked.make.values())])
    teams = [ParallelTeam(env, task, limit) for env in made]
    token = asked.token_file.read_text().strip() if asked.token_file else None
    trainer = Trainer(asked.url, token, binary=not asked.json)
    # Told to end, it leaves as it does after any other fault.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        steps = simulate(trainer, teams, log=lambda line: print(line, file=sys.stderr, flush=True))
        print(json.dumps({"steps": steps}))
    except Refused as refused:
        sys.exit(str(refused))
    except OSError as lost:
        sys.exit(f"the trainer at {asked.url} cannot be reached: {lost}")


if __name__ == "__main__":
    main()
