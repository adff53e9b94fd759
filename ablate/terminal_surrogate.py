"""What `ablate surrogate` prints of a surface."""

from ablate.quantities import counted
from ablate.surface import Surface
from ablate.terminal import show_rows


def show_surface(surface: Surface) -> None:
    """What it is fitted to, and how far off it is on trials left out."""
    simulated = " (simulated themselves)" if surface.was_simulated else ""
    counts = ", ".join((counted(surface.trials, "trial"), counted(surface.arms, "arm"), counted(surface.seeds, "seed")))
    print(f"Surface of {', '.join(surface.studies)}{simulated}: {counts}")
    print(f"inputs: {', '.join(field for one in surface.inputs for field in one.fields) or 'none, since nothing varied'}")
    print("\nError on trials left out, root mean square in the metric's unit; it holds their noise, which is the SD between seeds")
    show_rows(
        [
            {
                "metric": row.metric,
                "arm left out": row.new_arm,
                "seed left out": row.new_seed,
                "SD between seeds": row.between_seeds,
                "guessing the mean": row.mean,
                "n": row.trials,
            }
            for row in surface.held_out
        ]
    )
    for note in surface.notes:
        print(f"! {note}")
