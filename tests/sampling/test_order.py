"""trainer.sampling.order: the order is a function of (seed, epoch); TRL's is not."""

from trl.trainer.utils import RepeatSampler

from trainer.sampling.order import EpochSampler


def sampler(cls: type = EpochSampler, seed: int = 7) -> EpochSampler:
    made: EpochSampler = cls(range(12), mini_repeat_count=2, batch_size=3, repeat_count=2, seed=seed)
    return made


def order(of: EpochSampler, epoch: int) -> list[int]:
    of.set_epoch(epoch)
    return list(of)


def test_a_fresh_sampler_in_epoch_two_has_the_order_of_one_that_came_through_epoch_one() -> None:
    through = sampler()
    first, second = order(through, 0), order(through, 1)
    assert first != second
    assert order(sampler(), 1) == second


def test_trls_sampler_repeats_epoch_one_after_a_resume() -> None:
    """The defect EpochSampler is for: if this fails, TRL has mended it and EpochSampler may go."""
    through, resumed = sampler(RepeatSampler), sampler(RepeatSampler)
    first, second = list(through), list(through)
    assert first != second
    assert list(resumed) == first


def test_seeds_and_epochs_do_not_share_orders() -> None:
    orders = [tuple(order(sampler(seed=seed), epoch)) for seed in range(4) for epoch in range(4)]
    assert len(set(orders)) == len(orders)


def test_groups_stay_whole() -> None:
    indices = order(sampler(), 3)
    assert len(indices) == 12 * 2 * 2
    assert all(indices[i] == indices[i + 1] for i in range(0, len(indices), 2))
    assert sorted(set(indices)) == list(range(12))
