"""The one-cycle schedule of the learning rate, and when it may be resumed."""

from __future__ import annotations

import math

from lightning import Trainer
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR


def planned_steps(trainer: Trainer) -> int:
    """Return the number of optimiser steps of a whole run.

    Args:
        trainer: The trainer of the run.

    Raises:
        ValueError: If the run has no end.
    """
    steps = trainer.estimated_stepping_batches
    if math.isinf(steps):
        raise ValueError(
            "the one-cycle schedule must know the number of steps: give "
            "--trainer.max_epochs or --trainer.max_steps a number above 0"
        )
    return int(steps)


def one_cycle(optimizer: Optimizer, *, warmup: float, steps: int) -> OneCycleLR:
    """Return a schedule that rises to the optimizer's rates, and falls to 0.

    Args:
        optimizer: Whose learning rates it sets; those of now are the highest ones.
        warmup: Share of the steps in which the learning rate rises.
        steps: Number of steps of the whole run.

    Returns:
        The schedule, to be moved after each step.
    """
    if warmup * steps == 1:  # a rise of a single step divides 0 by 0 in torch
        warmup *= 2
    highest = [group["lr"] for group in optimizer.param_groups]
    return OneCycleLR(optimizer, max_lr=highest, total_steps=steps, pct_start=warmup)


def refuse_other_plan(schedule: object, steps: int) -> None:
    """Stop a resumed run whose schedule was laid out for another number of steps.

    Args:
        schedule: The schedule as restored from the checkpoint.
        steps: Number of steps of the whole run, as it is now set up.

    Raises:
        ValueError: If the two do not fit; says what to do.
    """
    if isinstance(schedule, OneCycleLR) and schedule.total_steps != steps:
        raise ValueError(
            f"the checkpoint's schedule ends after {schedule.total_steps} steps, this "
            f"run after {steps}. Resume with the epochs, batch size, devices and data "
            f"that the run began with; to train on from its weights, start a new run "
            f"with TemporalClassifier.load_from_checkpoint"
        )
