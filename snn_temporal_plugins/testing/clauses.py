"""What the checks of both domains share."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

DTYPES = (torch.float32, torch.float64)
DOMAINS = ("spike time", "spike train")


def require(clause: str, holds: bool, got: object) -> None:
    """Raise AssertionError with the clause and what was found, unless it holds."""
    if not holds:
        raise AssertionError(f"{clause}; got {got}")


def require_exact_gradient(
    function: Callable[..., Tensor], arguments: tuple[Tensor, ...]
) -> None:
    """Run gradcheck and report a failure as a broken clause."""
    try:
        torch.autograd.gradcheck(function, arguments)
    except GradcheckError as error:
        raise AssertionError(f"the gradient is exact; got {error}") from error


def require_domain(domain: str) -> None:
    """Raise ValueError unless it is one of the two domains of the house."""
    if domain not in DOMAINS:
        raise ValueError(
            f"domain is {domain!r}; allowed are {', '.join(map(repr, DOMAINS))}."
        )
