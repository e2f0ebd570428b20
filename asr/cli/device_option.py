"""Where a recogniser runs."""

from typing import Annotated, TypeAlias

import typer

DeviceName: TypeAlias = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or cuda:N; by default a GPU where torch has one."),
]


def chosen_device(name: DeviceName) -> str:
    """The device of that name, or what there is where none was given."""
    import torch

    return name or ("cuda" if torch.cuda.is_available() else "cpu")
