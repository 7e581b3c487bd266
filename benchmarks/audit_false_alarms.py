"""How often an audit accuses a model that knows nothing of its training images: 100 splits, two kinds of models.

python benchmarks/audit_false_alarms.py [SPLITS]

Half of the models are Wiener filters of other images, half are copiers of other images, whose errors have tails as
heavy as those of a guilty one. Samples are images that neither saw. The five questions together may accuse 5 in 100.
"""

import sys
from collections import Counter

from tqdm import tqdm

import diffgen as dg


def main(splits: int) -> None:
    """Print the number of accusations, and the verdicts of each question."""
    effort = dg.Effort(n_images=128, n_levels=6, draws=1, n_samples=128, n_steps=6, n_trajectories=32)
    accused, verdicts = 0, Counter()
    for k in tqdm(range(splits), unit="audit"):
        split = dg.load_data("fashion_mnist", size=7, n_train=128, n_val=256, seed=k)
        others = split.holdout.x[4000:4600]
        model = dg.OptimalDenoiser(others) if k % 2 else dg.GaussianDenoiser.fit(others)
        options = {"effort": effort, "conditional": False, "progress": False, "seed": k}
        result = dg.audit(model, split.train, split.val, samples=split.holdout.x[:128], **options)
        accused += result.exit_code == 3
        verdicts.update(result.verdicts.items())
    print(f"accused: {accused} of {splits}")
    for (question, verdict), count in sorted(verdicts.items()):
        print(f"{question:<12} {verdict:<10} {count}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
