"""Memory and rates are taken of what really happens."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch
from machine import describe, measured_rates, timed

CPU = torch.device("cpu")
MEGABYTE = 2**20


def test_the_peak_is_that_of_the_work_and_forgets_what_was_before() -> None:
    def work(megabytes: int) -> int:
        return int(torch.ones(megabytes * MEGABYTE // 4).sum() * 0) + megabytes

    for megabytes in (64, 16, 32):
        run = timed(CPU, lambda size=megabytes: work(size), exact_memory=True)
        assert run.value == megabytes
        assert megabytes - 1 < run.peak_bytes / MEGABYTE < megabytes + 4
        assert run.seconds > 0


def peak_of_pieces() -> int:
    """Each step leaves something small behind its large one: cut from a heap, no hole would fit the next."""

    def work() -> list[torch.Tensor]:
        return [torch.ones(MEGABYTE + 1000 * number)[:1].clone() for number in range(20)]

    return timed(CPU, work, exact_memory=True).peak_bytes


def test_pieces_that_a_growing_prompt_frees_are_not_counted() -> None:
    """In a process of its own, as benchmarks are: what other tests have freed are holes that fit."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(peak_of_pieces).result() < 16 * MEGABYTE


def test_rates_are_of_this_machine() -> None:
    rates = measured_rates(CPU, torch.float32, 128)
    assert 1e8 < rates.flops < 1e14
    assert 1e8 < rates.moved < 1e13
    assert {"machine", "date", "python", "torch", "transformers", "peft"} == describe(CPU).keys()
