"""The lighter `__init__` is the dataclass's own in all that can be seen."""

from __future__ import annotations

import inspect
from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from smets1.light_init import light_init


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """As it is without."""

    first: int
    second: bytes = b"x"
    key: bytes = field(repr=False, default=b"secret")


@light_init
@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """And with."""

    first: int
    second: bytes = b"x"
    key: bytes = field(repr=False, default=b"secret")


@light_init
@dataclass(frozen=True, slots=True)
class Positional:
    first: int
    second: int = 2


def test_the_same_arguments_defaults_and_text() -> None:
    assert inspect.signature(Light).parameters == inspect.signature(Plain).parameters
    assert repr(Light(first=1)) == "Light(first=1, second=b'x')"
    assert Light(first=1, second=b"y").second == b"y"
    assert Light(first=1) == Light(first=1, second=b"x") != Light(first=2)
    assert len({Light(first=1), Light(first=1), Light(first=3)}) == 2
    assert replace(Light(first=1), first=5) == Light(first=5)
    assert Positional(1) == Positional(1, 2) == Positional(second=2, first=1)


@pytest.mark.parametrize("arguments", [{}, {"first": 1, "third": 3}])
def test_wrong_arguments_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Light(**arguments)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Light(1)  # type: ignore[call-arg, misc]


def test_it_is_as_frozen_as_before() -> None:
    light = Light(first=1)
    with pytest.raises(FrozenInstanceError):
        light.first = 2  # type: ignore[misc]
    with pytest.raises((AttributeError, TypeError)):
        light.other = 2  # type: ignore[attr-defined]


def test_what_it_cannot_do_it_refuses() -> None:
    @dataclass(frozen=True, slots=True)
    class WithFactory:
        rows: list[int] = field(default_factory=list)

    with pytest.raises(AssertionError):
        light_init(WithFactory)
