"""What two transcripts do not have in common."""

from __future__ import annotations

from smets1.tools.script.comparison import Difference, Kind, compare, differences_text
from smets1.tools.script.transcript import Command


def spoken(text: str, *, start_us: int = 0) -> list[Command]:
    """`"a>b read, b>a answer"`: one second after another."""
    commands = []
    for at, part in enumerate(text.split(", ")):
        who, _, name = part.partition(" ")
        sender, _, receiver = who.partition(">")
        commands.append(
            Command(
                time_us=start_us + at * 1_000_000, sender=sender, receiver=receiver, layer="ZCL", name=name
            )
        )
    return commands


def test_equal_but_for_times_and_for_who_speaks_first() -> None:
    first = spoken("esme>ihd report, ihd>esme read, gsme>chf report")
    second = spoken("gsme>chf report, esme>ihd report, ihd>esme read", start_us=99)
    assert compare(first, second) == []
    assert compare([], []) == []


def test_what_only_one_has() -> None:
    first = spoken("esme>ihd report, esme>ihd price, esme>ihd report")
    second = spoken("esme>ihd report, esme>ihd report, ihd>esme read, ihd>esme read")
    steps = (0, 1_500_000)
    found = compare(first, second, first_steps=steps, second_steps=steps)
    assert found == [
        Difference(
            kind=Kind.FIRST_ONLY,
            sender="esme",
            receiver="ihd",
            layer="ZCL",
            name="price",
            count=1,
            steps=(1,),
        ),
        Difference(
            kind=Kind.SECOND_ONLY,
            sender="ihd",
            receiver="esme",
            layer="ZCL",
            name="read",
            count=2,
            steps=(2,),
        ),
    ]
    assert differences_text(found, "air:", "ezsp:simulated") == [
        "only air:: esme -> ihd      ZCL price x1 (step 1)",
        "only ezsp:simulated: ihd -> esme      ZCL read x2 (step 2)",
    ]


def test_another_order_is_told_apart_from_loss() -> None:
    first = spoken("a>b one, a>b two, a>b three, a>b four")
    second = spoken("a>b two, a>b three, a>b four, a>b one, a>b one")
    found = compare(first, second)
    assert [(each.kind, each.name, each.count) for each in found] == [
        (Kind.MOVED, "one", 1),
        (Kind.SECOND_ONLY, "one", 1),
    ]


def test_each_layer_and_each_direction_for_itself() -> None:
    first = spoken("a>b one")
    second = [Command(time_us=0, sender="a", receiver="b", layer="ZDP", name="one")]
    assert [each.kind for each in compare(first, second)] == [Kind.FIRST_ONLY, Kind.SECOND_ONLY]
