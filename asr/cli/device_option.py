"""The option that says which device a model runs on."""

from typing import Annotated, TypeAlias

import typer

# The default of the option is "auto" in every command; asr.devices has the rule.
DeviceName: TypeAlias = Annotated[
    str,
    typer.Option("--device", help="cpu, cuda, cuda:N, or auto: a GPU where torch has one."),
]
