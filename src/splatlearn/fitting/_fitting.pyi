"""The compiled loss and optimiser, bound in `native/fitting/module.cpp`: contiguous arrays, but for targets."""

import numpy as np

def photometric(
    images: np.ndarray,
    targets: np.ndarray,
    background: np.ndarray,
    weights: np.ndarray | None,
    border: int,
    absolute_share: float,
    similarity_share: float,
    sums: np.ndarray,
    gradient: np.ndarray | None,
    threads: int,
) -> None: ...
def adam(
    parameters: np.ndarray,
    gradients: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    rates: np.ndarray,
    seen: np.ndarray | None,
    betas: tuple[float, float],
    root_scale: float,
    epsilon: float,
    threads: int,
) -> None: ...
def mark_seen(gradients: np.ndarray, seen: np.ndarray, threads: int) -> None: ...
def instruction_sets() -> list[str]: ...
def instruction_set() -> str: ...
def use_instruction_set(name: str) -> None: ...
