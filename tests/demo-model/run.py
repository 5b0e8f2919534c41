"""What all stages share: a run that can be killed and goes on, its log, its schedule."""

import argparse
import json
import math
import os
import time
from pathlib import Path

import torch
import torch.distributed as workers

from optimizer import optimizers


def arguments(about):
    """A parser of what all stages are told."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--out", required=True, help="folder of the run")
    parser.add_argument("--data", required=True, help="folder of pieces, made as needed")
    parser.add_argument("--maker", default="gamut-songs", help="the executable that makes them")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument(
        "--batch", type=int, required=True, help="windows (four times as many parts), or pieces, a step and process"
    )
    parser.add_argument("--rate", type=float, default=1e-3, help="the highest learning rate")
    parser.add_argument("--threads", type=int, default=1, help="of each process")
    return parser


def count_arguments(parser):
    """Adds how many pieces of each length there are to draw from."""
    parser.add_argument("--short", type=int, default=6000, help="pieces of up to 30 s")
    parser.add_argument("--medium", type=int, default=0, help="pieces of up to 60 s")
    parser.add_argument("--long", type=int, default=0, help="pieces of up to 120 s")


def start_workers(threads):
    """This process's number among those that `torchrun` started, and how many they are; 0 and 1 if there are no others."""
    torch.set_num_threads(threads)
    # In bfloat16 where a CPU has instructions for it.
    torch.set_float32_matmul_precision("medium")
    if "WORLD_SIZE" in os.environ:
        workers.init_process_group("gloo")
        return workers.get_rank(), workers.get_world_size()
    return 0, 1


def mean(value):
    """A number averaged over workers."""
    if not workers.is_initialized():
        return value
    total = torch.tensor(float(value))
    workers.all_reduce(total)
    return float(total) / workers.get_world_size()


class Run:
    """A stage: parameters under training, their optimisers, a log, a checkpoint every so often.

    Args:
        folder: of the stage; what is there is gone on with.
        modules: names and modules, saved and restored with the optimisers; what requires gradients learns.
        rate: the highest learning rate.
        steps: of the whole run; the rate rises for a twentieth of them and falls along a cosine.
        muon: whether matrices are learned by Muon.
    """

    def __init__(self, folder, modules, rate, steps, muon=False):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.modules, self.steps = modules, steps
        self.parameters = [p for m in modules.values() for p in m.parameters() if p.requires_grad]
        self.rate = rate
        self.optimizers = optimizers(modules.values(), rate, muon)
        self.step = 0
        self.seconds = 0.0
        self.saved = self.folder / "checkpoint.pt"
        if self.saved.exists():
            state = torch.load(self.saved, weights_only=True)
            for name, module in modules.items():
                module.load_state_dict(state[name])
            for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
                optimizer.load_state_dict(saved)
            self.step, self.seconds = state["step"], state["seconds"]
        self.began = time.time() - self.seconds
        self.first = not workers.is_initialized() or workers.get_rank() == 0
        self.log = self.trimmed_log() if self.first else None
        self.last_save = time.time()

    def trimmed_log(self):
        """The log, without what a killed run wrote after its last checkpoint."""
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        kept = []
        for line in lines:
            try:
                if json.loads(line)["step"] <= self.step:
                    kept.append(line)
            except ValueError:
                break
        path.write_text("".join(line + "\n" for line in kept))
        return open(path, "a")

    def update(self, values):
        """One step down the gradient, averaged over workers; `values` go to the log."""
        if workers.is_initialized():
            gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
            flat = torch.cat([g.flatten() for g in gradients])
            workers.all_reduce(flat)
            flat /= workers.get_world_size()
            for p, g in zip(self.parameters, flat.split([p.numel() for p in self.parameters]), strict=True):
                p.grad = g.view_as(p)
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        warm = self.steps / 20
        share = min(1.0, (self.step + 1) / warm, 0.02 + 0.49 * (1 + math.cos(math.pi * min(1, self.step / self.steps))))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate * share
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if not self.first:
            return
        self.write({"norm": float(norm), **values})
        if time.time() - self.last_save > 120 or self.step == self.steps:
            self.save()

    def write(self, values):
        line = {"step": self.step, "seconds": round(time.time() - self.began, 1)}
        line |= {name: round(float(torch.as_tensor(value).detach()), 5) for name, value in values.items()}
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()

    def save(self):
        state = {name: module.state_dict() for name, module in self.modules.items()}
        state |= {
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step,
            "seconds": time.time() - self.began,
        }
        part = self.saved.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.saved)
        self.last_save = time.time()
