"""Data-parallel linear regression over gloo, on CPU. Each process has its own half of the data; the first reports and keeps checkpoints."""

import argparse
import json
import os
from pathlib import Path

import torch
import torch.distributed as distributed
from torch.nn.parallel import DistributedDataParallel

TRUTH = torch.tensor([[1.0], [-2.0], [0.5]])


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, required=True)
    parser.add_argument("--steps", type=int, required=True)
    options = parser.parse_args()
    distributed.init_process_group("gloo")
    rank, count = distributed.get_rank(), distributed.get_world_size()
    generator = torch.Generator().manual_seed(int(os.environ["ABLATE_SEED"]))
    inputs = torch.randn(256, 3, generator=generator)
    targets = inputs @ TRUTH + 0.01 * torch.randn(256, 1, generator=generator)
    mine, unseen = slice(rank, 192, count), slice(192, 256)
    torch.manual_seed(0)
    model = DistributedDataParallel(torch.nn.Linear(3, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=options.lr)
    kept, step = Path(os.environ["ABLATE_CHECKPOINT_DIR"]) / "state.pt", 0
    if kept.exists():  # every process reads what the first one of the last attempt wrote
        state = torch.load(kept, weights_only=True)
        step = state["step"]
        model.module.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    while True:
        if rank == 0 and step and (step % 10 == 0 or step == options.steps):
            state = {"step": step, "model": model.module.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(state, f"{kept}.tmp")
            os.replace(f"{kept}.tmp", kept)  # whole or not at all
            with torch.no_grad():
                loss = torch.nn.functional.mse_loss(model.module(inputs[unseen]), targets[unseen])
            print(json.dumps({"step": step, "val_loss": loss.item(), "num_processes": count}), flush=True)
        if step == options.steps:
            break
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(inputs[mine]), targets[mine]).backward()
        optimizer.step()
        step += 1
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
