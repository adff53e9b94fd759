"""A Hydra app as one finds them: a small network fitted to a sine. All that was added is the line of JSON it prints."""

import json

import hydra
import torch
from omegaconf import DictConfig


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(config: DictConfig) -> None:
    torch.manual_seed(config.seed)
    places = 2 * torch.rand(256, 1) - 1
    values = torch.sin(3 * places)
    model = torch.nn.Sequential(torch.nn.Linear(1, config.model.width), torch.nn.Tanh(), torch.nn.Linear(config.model.width, 1))
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
    optimizer = kinds[config.optimizer.name](model.parameters(), lr=config.optimizer.lr)
    for step in range(1, config.steps + 1):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(places[:192]), values[:192]).backward()
        optimizer.step()
        if step % 20 == 0:
            with torch.no_grad():
                loss = torch.nn.functional.mse_loss(model(places[192:]), values[192:])
            print(json.dumps({"step": step, "val_loss": loss.item()}), flush=True)


if __name__ == "__main__":
    main()
