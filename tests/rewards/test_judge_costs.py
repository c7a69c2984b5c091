"""What a judge costs: few rows for the self-test, one line at the end of a run, one process that tells it.

sh run_tests.sh tests/rewards/test_judge_costs.py
"""

import json
import os
import subprocess
import sys

import pytest

from bedside import logs, rewards, settle_rollouts
from bedside.errors import Alarmed, ConfigError
from bedside.rewards import Completion
from bedside.stage_args import RewardArguments
from tests.rewards import judge_server
from tests.rewards.judge_server import ASKED

serve = judge_server.serve


def test_the_self_test_asks_about_few_rows(serve):
    from bedside.rewards import selftest

    server = serve("SCORE: 5")
    scorer = rewards.resolve(["judge"], judge_url=server.url, judge_model="m")
    rows = [{"gold": {"answer": f"fever {number}"}, "prompt": ASKED} for number in range(100)]
    assert selftest.check(scorer, rows)[0].rows == 8
    assert len(server.seen) <= 24 and scorer.told()[0].startswith(f"judge m: {len(server.seen)} asked")


@pytest.mark.parametrize("rank, asked", [("0", True), ("1", False)])
def test_one_process_pays_for_the_self_test(serve, tmp_path, monkeypatch, rank, asked):
    monkeypatch.setenv("RANK", rank)
    server = serve("SCORE: 5")
    own = RewardArguments(reward_funcs="judge", judge_url=server.url, judge_model="m")
    rows = [{"gold": json.dumps({"answer": f"fever {number}"}), "prompt": json.dumps(ASKED)} for number in range(9)]
    assert settle_rollouts.tested(own, tmp_path, rows).names == ["judge"]
    assert bool(server.seen) is asked


def test_a_run_ends_with_what_its_judge_cost_also_where_it_is_stopped(serve, monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(logs, "info", lines.append)
    scorer = rewards.resolve(["judge"], judge_url=serve("SCORE: 5").url, judge_model="m")
    scorer.score([Completion("Flu.", True)], [{}], [ASKED])
    line = "judge m: 1 asked, 0 from the cache, 0 failed; 100 prompt and 10 completion tokens"
    with settle_rollouts.costs(scorer):
        pass
    assert lines == [line]
    for stop in (Alarmed("KL"), ConfigError("judge"), KeyboardInterrupt()):
        lines.clear()
        with pytest.raises(type(stop)), settle_rollouts.costs(scorer):
            raise stop
        assert lines == [line]
    lines.clear()
    settle_rollouts.tell_costs(None)
    settle_rollouts.tell_costs(rewards.resolve(["accuracy"]))
    assert lines == []


_PROCESS = """
import sys
import torch.distributed as dist
from bedside import logs, rewards, settle_rollouts
from bedside.rewards.judge import Judge, Settings

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
logs.setup()
judge = Judge(Settings("http://127.0.0.1:9/v1", "m", price_in=1e6))
judge.asked, judge.cached, judge.failed, judge.tokens_in, judge.tokens_out = 10 + rank, rank, 1, 100, 7
settle_rollouts.tell_costs(rewards.Scorer((rewards.Reward("judge", judge.score, told=judge.told),), [1.0]))
dist.barrier()
dist.destroy_process_group()
"""


def test_the_costs_of_all_processes_are_told_once(tmp_path):
    command = [sys.executable, "-c", _PROCESS]
    running = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "meet")], stderr=subprocess.PIPE, text=True,
            env=os.environ | {"RANK": str(rank), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [one.communicate(timeout=120)[1] for one in running]
    assert [one.returncode for one in running] == [0, 0], told
    line = "judge m: 21 asked, 1 from the cache, 2 failed; 200 prompt and 14 completion tokens, 200.0000 in the"
    assert line in told[0] and "judge m" not in told[1]
