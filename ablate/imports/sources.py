"""Which module reads which kind of source; heavy libraries are imported by the one that is asked for."""

from ablate.errors import InputError, did_you_mean
from ablate.imports.runs import KINDS, Asked, Found


def read_runs(asked: Asked) -> Found:
    """The runs of a source. Raises InputError with every problem of it, or EnvironmentMissing where it cannot be asked."""
    match asked.kind:
        case "csv":
            from ablate.imports.table import read_csv_runs

            return read_csv_runs(asked)
        case "wandb":
            from ablate.imports.wandb import read_wandb

            return read_wandb(asked)
        case "mlflow":
            from ablate.imports.mlflow_runs import read_mlflow

            return read_mlflow(asked)
        case "optuna":
            from ablate.imports.optuna_trials import read_optuna

            return read_optuna(asked)
    raise InputError(f"unknown kind '{asked.kind}' ({', '.join(KINDS)}){did_you_mean(asked.kind, KINDS)}")
