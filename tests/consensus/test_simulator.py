"""Simulated schedules: safe at every event, live after healing, and the same again from the same seed."""

import json
import os
import subprocess
import sys

import pytest

from pyledger import cli
from pyledger.consensus import simulator
from pyledger.consensus.simulator import BlsParts, Violation, run_schedule, run_schedules

# Seeds that once showed a fault, with what it was. (seed, validators, what)
REGRESSIONS = [
    (25, 4, "a restarted node did not know the certificates its stored blocks stand on"),
    (325, 4, "a restarted node reported a certificate below its lock"),
    (223, 4, "a node that missed one block in the middle never asked for it"),
    (279, 4, "the same"),
    (3_011_545, 4, "an answer without the certificate of a known block made its descendants final before it"),
    (7_039_502, 4, "restarted voters dropped a certified block whose parent they had not stored"),
    (8_131_829, 4, "the same"),
    (7_144_628, 4, "each repeated timeout was answered, as fast as they came"),
    (8_142_200, 4, "the same"),
    (7_001_971, 4, "restarted nodes that each lacked a block of one branch gave each other nothing"),
    (7_070_730, 4, "the adversary added up a vote that a crash had swallowed: an ideal signature that was never sent"),
]


@pytest.mark.parametrize("first", range(0, 400, 50))
def test_schedules_of_four_are_safe_and_live(first):
    outcomes = [run_schedule(seed) for seed in range(first, first + 50)]
    assert all(outcome.live for outcome in outcomes)
    assert sum(outcome.faults for outcome in outcomes) > 100
    assert sum(outcome.epochs for outcome in outcomes) > 10


def test_schedules_of_seven_are_safe_and_live():
    assert all(run_schedule(seed, 7).live for seed in range(30))


@pytest.mark.parametrize(("seed", "validators", "what"), REGRESSIONS)
def test_seeds_that_once_failed_hold(seed, validators, what):
    assert run_schedule(seed, validators).live, what


def test_a_seed_replays_exactly():
    code = "from pyledger.consensus.simulator import run_schedule; print([run_schedule(seed) for seed in range(20)])"
    here = str([run_schedule(seed) for seed in range(20)])
    for hash_seed in ("0", "1"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        assert subprocess.check_output([sys.executable, "-P", "-c", code], env=environment, text=True).strip() == here


def test_seeds_differ():
    assert len({run_schedule(seed).digest for seed in range(20)}) == 20


def test_real_keys_and_bytes_give_the_very_same_run():
    """Ideal signatures leave nothing out: with BLS and the codec each world goes the same way, message by message."""
    parts = BlsParts()
    for seed in range(6):
        assert run_schedule(seed, 4, parts) == run_schedule(seed, 4)


def test_the_command_reports_what_it_ran(capsys):
    assert cli.main(["simulate", "--seed", "7", "--schedules", "3", "--json"]) == 0
    fields = json.loads(capsys.readouterr().out)
    outcomes = [run_schedule(seed) for seed in (7, 8, 9)]
    assert fields["schedules"] == 3
    assert fields["events"] == sum(outcome.events for outcome in outcomes)
    assert fields["blocks"] == sum(outcome.height for outcome in outcomes)
    assert (fields["ok"], fields["not_live"], fields["violation"]) == (True, [], "")


def test_schedules_in_a_row_are_what_each_is_alone():
    summary = run_schedules(100, 40)
    assert summary.events == sum(run_schedule(seed).events for seed in range(100, 140))


def test_the_command_runs_real_keys(capsys):
    assert cli.main(["simulate", "--schedules", "1", "--real", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ok"]


@pytest.mark.parametrize("nodes", ["3", "101", "x"])
def test_the_command_takes_sizes_that_can_be_simulated(nodes, capsys):
    with pytest.raises(SystemExit):
        cli.main(["simulate", "--nodes", nodes])
    assert "--nodes" in capsys.readouterr().err


def test_a_violation_or_a_standstill_is_a_failure(monkeypatch, capsys):
    def fails(seed, validators, parts):
        raise Violation("two final blocks at height 3")

    monkeypatch.setattr(simulator, "run_schedule", fails)
    assert cli.main(["simulate", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["violation"] == "seed 0, 4 validators: two final blocks at height 3"
    stuck = simulator.Outcome(1, 0, 0, 0, False, 0)
    monkeypatch.setattr(simulator, "run_schedule", lambda *_: stuck)
    assert run_schedules(5, 2).not_live == [5, 6]
    assert cli.main(["simulate", "--schedules", "1", "--json"]) == 1
