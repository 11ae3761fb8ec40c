"""How fast pictures come: rendered workpieces, and whole training batches of them.

    python experiments/bench_data.py [--size 256 ...]

1. Good pictures of each category of the embedded data set, in one thread, by the CPU time that the
   process takes; so other programs on the machine hardly matter.
2. EfficientAD's training batches, by the clock, in threads: in the first epoch, which renders the
   pictures, and in the second, which has them in memory. With the penalty each batch also has
   textures, of which there are more than two epochs need: all are rendered.

Takes a few seconds.
"""

import time
from collections.abc import Sequence

from jaxad.cli import script
from jaxad.cli.options import asked
from jaxad.data import pipeline, workpieces
from jaxad.detector import replace
from jaxad.methods import efficientad
from jaxad.training.epochs import steps_of

PICTURES = 30  # of each category, and of an epoch


def main(words: Sequence[str]) -> None:
    """Prints both rates."""
    usage = "python experiments/bench_data.py"
    (cfg,) = asked(words, usage, __doc__, settings=efficientad.Config())
    for category in workpieces.CATEGORIES:
        source = workpieces.Workpieces(category, good=PICTURES, size=cfg.size)
        source[0]  # what is computed once
        start = time.process_time()
        for index in range(PICTURES):
            source[index]
        seconds = time.process_time() - start
        print(f"1. {category}: {PICTURES / seconds:.1f} pictures of {cfg.size} px/s of CPU time")

    for penalty in (False, True):
        data = workpieces.load(size=cfg.size, train=PICTURES)
        chosen = replace(cfg, penalty=penalty)
        iterator = iter(pipeline.train_batches(efficientad.DETECTOR, chosen, data, seed=0))
        rates = []
        for _ in range(2):
            start = time.monotonic()
            count = steps_of(1, PICTURES, cfg.batch_size)
            for _ in range(count):
                next(iterator)
            rates.append(count * cfg.batch_size / (time.monotonic() - start))
        iterator.close()
        print(f"2. penalty {penalty}: {rates[0]:.0f} images/s, from memory {rates[1]:.0f}")


if __name__ == "__main__":
    script.run(main)
