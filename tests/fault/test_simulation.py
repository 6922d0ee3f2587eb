"""The simulated fleet: real parts of hub and nodes in virtual time, watched after every commit."""

from tests.fault.sim.jobs import batch
from tests.fault.sim.world import World, run, simulation
from wire.states import JobState


async def _three_jobs(world: World) -> None:
    ids = [await world.submit(batch(f"job-{number}", run_for=600 * number)) for number in range(3)]
    await world.until(lambda: not world.open_jobs(), 2000, "all jobs end")
    assert [world.state_of(job_id) for job_id in ids] == [JobState.COMPLETED] * 3


def test_in_calm_weather_jobs_complete_in_virtual_time():
    with simulation(1) as world:
        run(world, _three_jobs)
        assert world.loop.now > 1200
        assert len(world.hub_watch.results) == 3


def test_the_same_seed_gives_the_same_run_to_the_last_message():
    digests = set[str]()
    for _ in range(2):
        with simulation(7) as world:
            run(world, _three_jobs)
            digests.add(world.digest)
    assert len(digests) == 1
