"""CSV loads: each layout, clock changes, and each way in which a row can be broken."""

from __future__ import annotations

import csv
import datetime as dt
from decimal import Decimal

import pytest

from smets1.devices.days import DAY_US, HOUR_US, SECOND_US
from smets1.devices.load_csv import parse_csv_load, read_csv_load
from smets1.errors import InputError

LCL = "LCLid,tstp,energy_kWh"
N3RGY = '"local_time","elec_import_kwh","gas_kwh"'


def parse(*lines: str, **options):
    return parse_csv_load([line + "\n" for line in lines], name="a.csv", **options)


def utc(*parts: int) -> int:
    return int(dt.datetime(*parts, tzinfo=dt.UTC).timestamp()) * SECOND_US


def test_london_layout_first_home_or_the_named_one():
    lines = [
        LCL,
        "MAC1,2013-01-01 00:00:00.0000000, 0.509 ",
        "MAC1,2013-01-01 00:30:00.0000000, 0.5 ",
        "MAC2,2013-01-01 00:00:00.0000000, 1 ",
        "MAC2,2013-01-01 00:30:00.0000000, 2 ",
    ]
    load = parse(*lines)
    assert (load.home, load.total_uwh(), load.gaps) == ("MAC1", 1_009_000_000, 0)
    assert load.window() == (utc(2013, 1, 1), utc(2013, 1, 1, 1))
    assert parse(*lines, home="MAC2").total_uwh() == 3_000_000_000
    with pytest.raises(InputError, match=r"a\.csv: no home 'MAC3' in it: choose one of MAC1, MAC2"):
        parse(*lines, home="MAC3")


@pytest.mark.parametrize(
    ("heading", "row"),
    [
        (
            "LCLid,stdorToU,DateTime,KWH/hh (per half hour) ,Acorn,Acorn_grouped",
            "M,Std,{}, 0.25 ,ACORN-A,Affluent",
        ),
        ("LCLid,tstp,energy(kWh/hh)", "M,{}, 0.25 "),
        ("lclid,TSTP,Energy_kWh", "M,{},0.25"),
    ],
)
def test_london_as_its_publishers_have_it(heading, row):
    stamps = ("2012-10-12 00:30:00.0000000", "2012-10-12 01:00:00.0000000")
    load = parse(heading, *(row.format(stamp) for stamp in stamps))
    assert (load.home, load.total_uwh()) == ("M", 500_000_000)
    assert load.window() == (utc(2012, 10, 12, 0, 30), utc(2012, 10, 12, 1, 30))


@pytest.mark.parametrize("fuel", ["electricity", "gas", "export"])
def test_what_n3rgy_gives_to_download(fuel):
    lines = ["timestamp (UTC),energyConsumption (kWh)", "2024-07-15 00:00,0.3", "2024-07-15 00:30,0.4"]
    load = parse(*lines, fuel=fuel)
    assert (load.total_uwh(), load.window()) == (700_000_000, (utc(2024, 7, 15), utc(2024, 7, 15, 1)))


def test_a_row_belongs_to_the_interval_that_begins_at_its_stamp():
    load = parse(LCL, "M,2013-01-01 00:00:00,1", "M,2013-01-01 00:30:00,2")
    assert load.energy_uwh(utc(2013, 1, 1, 0, 30)) == 1_000_000_000


def test_london_stamps_are_gmt_in_summer_too():
    load = parse(LCL, "M,2013-07-01 00:00:00,1", "M,2013-07-01 00:30:00,1")
    assert load.window()[0] == utc(2013, 7, 1)


def test_local_layout_in_summer_and_in_winter():
    summer = parse(N3RGY, "2022-07-01 01:00:00,1,NA", "2022-07-01 02:00:00,1,NA")
    winter = parse(N3RGY, "2022-01-01 01:00:00,1,NA", "2022-01-01 02:00:00,1,NA")
    assert summer.window()[0] == utc(2022, 7, 1)
    assert winter.window()[0] == utc(2022, 1, 1, 1)


def test_march_has_no_gap_where_the_clock_jumps():
    rows = ["2022-03-27 00:00:00,1,NA", "2022-03-27 02:00:00,2,NA", "2022-03-27 03:00:00,3,NA"]
    load = parse(N3RGY, *rows)
    assert load.gaps == 0
    assert load.energy_uwh(utc(2022, 3, 27, 1)) == 1_000_000_000
    assert load.window() == (utc(2022, 3, 27), utc(2022, 3, 27, 3))


def test_the_hour_that_does_not_exist_is_refused():
    with pytest.raises(InputError, match=r"a\.csv:2: 2022-03-27 01:00:00 does not exist"):
        parse(N3RGY, "2022-03-27 01:00:00,1,NA")


def test_october_with_the_hour_twice_and_once():
    twice = parse(N3RGY, *(f"2021-10-31 {h}:00:00,1,NA" for h in ("00", "01", "01", "02", "03")))
    assert (twice.gaps, twice.total_uwh()) == (0, 5_000_000_000)
    assert twice.window() == (utc(2021, 10, 30, 23), utc(2021, 10, 31, 4))
    once = parse(N3RGY, *(f"2021-10-31 {h}:00:00,1,NA" for h in ("00", "01", "02", "03")))
    assert (once.gaps, once.total_uwh()) == (1, 4_000_000_000)
    assert once.energy_uwh(utc(2021, 10, 31, 2)) == once.energy_uwh(utc(2021, 10, 31, 1))


def test_missing_values_are_gaps_inside_and_nothing_outside():
    rows = ["NA", "1", "NA", "", "2", "Null"]
    load = parse(LCL, *(f"M,2013-01-01 {i:02d}:00:00,{value}" for i, value in enumerate(rows)))
    assert (load.gaps, load.total_uwh()) == (2, 3_000_000_000)
    assert load.window() == (utc(2013, 1, 1, 1), utc(2013, 1, 1, 5))


def test_absent_rows_are_gaps():
    rows = (f"M,2013-01-01 {h:02d}:00:00,1" for h in (0, 1, 2, 6))
    assert parse(LCL, *rows).gaps == 3


def test_a_row_off_the_grid_ends_where_the_next_begins():
    rows = ["00:00:00,1", "00:30:00,1", "00:45:13,4", "01:00:00,1", "01:30:00,1"]
    load = parse(LCL, *(f"M,2013-01-01 {row}" for row in rows))
    assert load.energy_uwh(utc(2013, 1, 1, 1)) == 6_000_000_000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("M,2013-01-01 01:00:00", "a.csv:4: 2 columns where the heading has 3: mend or remove the line"),
        ("M,yesterday,1", "a.csv:4: 'yesterday' is not a date and time: write 2023-06-30 13:30:00"),
        ("M,2013-02-30 00:00:00,1", "a.csv:4: '2013-02-30 00:00:00' is not a date and time"),
        ("M,2013-01-01 01:00:00,one", "a.csv:4: energy_kWh is not a number: 'one': write kWh or NA"),
        ("M,2013-01-01 01:00:00,1e9999999", "a.csv:4: energy_kWh is not a number"),
        ("M,2013-01-01 01:00:00,inf", "a.csv:4: energy_kWh is not a number"),
        ("M,2013-01-01 01:00:00,-1", "a.csv:4: energy_kWh is negative: -1"),
        ("M,2013-01-01 01:00:00,123456789", "a.csv:4: energy_kWh is 123456789 kWh in one interval"),
        ("M,2013-01-01 00:30:00,1", "a.csv:4: 2013-01-01 00:30:00 is not after the row before it: sort"),
        ("M,2012-01-01 00:30:00,1", "a.csv:4: 2012-01-01 00:30:00 is not after the row before it: sort"),
        ('M,2013-01-01 01:00:00,"1"x', "a.csv:4: "),
    ],
)
def test_a_broken_row_is_one_line_with_its_place(row, message):
    with pytest.raises(InputError) as caught:
        parse(LCL, "M,2013-01-01 00:00:00,1", "M,2013-01-01 00:30:00,1", row)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lines", [[], ["a,b,c"], ["tstp,gas_kwh"], ["energy_kWh"]])
def test_a_heading_without_the_columns_is_refused(lines):
    with pytest.raises(InputError, match=r"a\.csv:1: no column"):
        parse(*lines)


def test_a_column_without_readings_is_refused():
    with pytest.raises(InputError, match=r"a\.csv: no gas reading in it"):
        parse(N3RGY, "2021-10-01 01:00:00,0.064,NA", fuel="gas")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_csv_load(tmp_path / "none.csv")
    (tmp_path / "latin.csv").write_bytes(b"tstp,energy_kWh\n\xff\n")
    with pytest.raises(InputError, match="is not UTF-8"):
        read_csv_load(tmp_path / "latin.csv")


def days(count: int):
    start = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
    return [
        f"M,{start + dt.timedelta(hours=hour):%Y-%m-%d %H:%M:%S},{hour // 24 + 1}"
        for hour in range(24 * count)
    ]


def test_rebased_takes_the_same_date_where_it_is_there():
    load = parse(LCL, *days(40))
    replay = load.rebased(utc(2013, 1, 5, 12))
    assert replay.offset_us == 0
    assert load.rebased(utc(2024, 2, 3)).offset_us == utc(2013, 2, 3) - utc(2024, 2, 3)


def test_rebased_takes_the_first_full_day_otherwise():
    load = parse(LCL, *days(40)[3:])
    replay = load.rebased(utc(2024, 12, 24, 18))
    assert replay.offset_us == utc(2013, 1, 2) - utc(2024, 12, 24)
    day = utc(2024, 12, 24)
    assert replay.energy_uwh(day + DAY_US) - replay.energy_uwh(day) == 48_000_000_000
    assert replay.power_mw(day + HOUR_US) == 2_000_000


def test_rebased_on_a_named_date():
    load = parse(LCL, *days(10))
    replay = load.rebased(utc(2024, 1, 1), file_date=dt.date(2013, 1, 3))
    assert replay.energy_uwh(utc(2024, 1, 1)) == (24 + 48) * 10**9
    with pytest.raises(InputError, match="choose one from 2013-01-01 to 2013-01-10"):
        load.rebased(utc(2024, 1, 1), file_date=dt.date(2014, 1, 1))


def test_rebased_on_a_leap_day():
    assert parse(LCL, *days(70)).rebased(utc(2024, 2, 29)).offset_us == utc(2013, 1, 1) - utc(2024, 2, 29)


def test_real_london_homes(shared_dir):
    path = shared_dir / "data" / "lcl_half_hourly.csv"
    with path.open() as file:
        rows = [row for row in csv.reader(file) if row[0] == "MAC004391"]
    load = read_csv_load(path, home="MAC004391")
    assert load.gaps == 0
    assert load.total_uwh() == int(sum(Decimal(row[2].strip()) for row in rows).scaleb(9))
    day = sum(Decimal(row[2].strip()) for row in rows if row[1].startswith("2013-07-09"))
    start = utc(2013, 7, 9)
    assert load.energy_uwh(start + DAY_US) - load.energy_uwh(start) == int(day.scaleb(9))


def test_real_home_with_gas(shared_dir):
    path = shared_dir / "data" / "n3rgy_hourly_electricity_gas.csv"
    with path.open() as file:
        rows = list(csv.reader(file))[1:]
    electricity = read_csv_load(path)
    assert electricity.gaps == 2  # the second 01:00 of two Octobers
    assert electricity.total_uwh() == int(sum(Decimal(row[1]) for row in rows).scaleb(9))
    gas = read_csv_load(path, fuel="gas")
    assert gas.gaps == 0
    assert gas.total_uwh() == int(sum(Decimal(row[2]) for row in rows if row[2] != "NA").scaleb(9))
    assert gas.window() == (utc(2022, 11, 10, 5), utc(2023, 7, 1, 1))


# --- other layouts ---------------------------------------------------------------------------------

OCTOPUS = "Consumption (kwh), Estimated Cost Inc. Tax (p), Start, End"


def test_octopus_stamps_bear_their_offset_and_come_in_any_order():
    rows = [
        "0.125, 2.1, 2023-03-26T00:30:00+00:00, 2023-03-26T02:00:00+01:00",
        "0.25, 2.1, 2023-03-26T02:00:00+01:00, 2023-03-26T02:30:00+01:00",
        "0.5, 2.1, 2023-03-26T01:30:00Z, 2023-03-26T03:00:00+01:00",
    ]
    for lines in (rows, rows[::-1]):
        load = parse(OCTOPUS, *lines, fuel="gas")
        assert load.window() == (utc(2023, 3, 26, 0, 30), utc(2023, 3, 26, 2))
        assert (load.total_uwh(), load.gaps, load.interval_us) == (875_000_000, 0, HOUR_US // 2)
        assert load.energy_uwh(utc(2023, 3, 26, 1)) == 125_000_000
    api = parse("consumption,interval_start,interval_end", "1.5,2023-01-01T00:00:00Z,2023-01-01T00:30:00Z")
    assert api.total_uwh() == 1_500_000_000


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1,1,2023-03-26T00:30:00Z,x", "a.csv:3: the interval of line 2 comes twice"),
        (
            "1,1,2023-03-26T01:00:00,x",
            "a.csv:3: '2023-03-26T01:00:00' is not a date and time with its offset",
        ),
        ("1,1,2023-02-30T01:00:00Z,x", "a.csv:3: '2023-02-30T01:00:00Z' is not a date and time with its"),
        ("1,1,2023-03-26T01:00:00+99:00,x", "a.csv:3: '2023-03-26T01:00:00+99:00' is not a date and time"),
        ("-1,1,2023-03-26T01:00:00Z,x", "a.csv:3: Consumption (kwh) is negative: -1"),
        ("1,1", "a.csv:3: 2 columns where the heading has 4"),
    ],
)
def test_a_broken_octopus_row_is_one_line(row, message):
    with pytest.raises(InputError) as caught:
        parse(OCTOPUS, "1,1,2023-03-26T00:30:00Z,x", row)
    assert str(caught.value).startswith(message)


HALF_HOURS = ",".join(f"{index // 2:02}:{index % 2 * 30:02}" for index in range(48))


@pytest.mark.parametrize("dates", [("2023-10-28", "2023-10-29"), ("28/10/2023", "29/10/2023")])
def test_a_day_in_a_row(dates):
    first, second = (",".join(str(day * 100 + index) for index in range(48)) for day in (0, 1))
    lines = [
        f"MPAN,Date,{HALF_HOURS},Total",
        f"1200000000001,{dates[0]},{first},9999",
        f"1200000000001,{dates[1]},{second},9999",
        f"1200000000002,{dates[0]},{second},9999",
    ]
    load = parse(*lines)
    assert load.window() == (utc(2023, 10, 28), utc(2023, 10, 30)), "GMT, 48 half hours on every day"
    assert load.total_uwh() == (2 * sum(range(48)) + 4800) * 10**9
    assert load.energy_uwh(utc(2023, 10, 28, 1)) == 1 * 10**9
    assert parse(*lines, home="1200000000002").window()[1] == utc(2023, 10, 29)
    with pytest.raises(
        InputError, match=r"a\.csv:3: .* is not after the row before it: sort the rows by date"
    ):
        parse(lines[0], lines[1], lines[1])
    with pytest.raises(InputError, match=r"a\.csv:2: '31/02/2023' is not a date"):
        parse(lines[0], lines[1].replace(dates[0], "31/02/2023"))
