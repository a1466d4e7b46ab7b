"""
Title: Writing an estimator: a loss, its bias, a comparison
Description: Registers a loss, computes its bias and variance exactly, and compares it over seeds.
Accelerator: None
"""

"""
## Introduction

The locations of the glimpses are sampled, and no gradient passes through a sample. An **estimator**
turns the log-densities of M sampled glimpse sequences into a loss whose gradient trains the
network. Here you write one, show what it is unbiased for, and compare it with an estimator of the
package.

The objective is the variational bound, the mean of log p(y | a, image) over the prior p(a | image).
Its gradient with respect to the prior is the mean of

    (log p(y | a, image) - b) * d log p(a | image)

for any **baseline** b that does not depend on the sample a, because the mean of d log p(a | image)
is 0. The baseline changes the variance alone. `variational_leave_one_out` takes the mean of the
other samples' log-likelihoods. One sample with a log-likelihood of -10 moves this mean by several
nats, and the **median** of the other samples hardly. Is the median the better baseline? The output
on this page is that of one run, seeds 1 and 2, on two shared cores of an AMD EPYC, 2026-11-27.
"""

"""
## Setup
"""

import itertools
import pathlib
import tempfile

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

import wsram_tf
from wsram_tf import objectives, runs, tasks

UPDATES = 1000
EVALUATE_EVERY = 500
SEEDS = (1, 2)
BATCH_SIZE = 64
UNITS = 64
GLIMPSES = 3
NUM_SAMPLES = 5
CANVASES = 2000
GRADIENT_DRAWS = 20
JIT_COMPILE = "auto"  # XLA compiles for a while, and makes the updates faster.

folder = pathlib.Path(tempfile.mkdtemp())
print("files:", folder)

"""
## The loss

An estimator is a function from `ScoredSequences` to one loss for each image. Its fields hold
log-densities of shape `[M, B, parts]`, in nats: `log_prior` has a part for each glimpse,
`log_likelihood` one for the label. A baseline is a constant, so the function stops its gradient.
"""


def variational_loss(
  scored: wsram_tf.ScoredSequences, baseline: tf.Tensor
) -> tf.Tensor:
  """The loss of the variational bound, float `[B]`; `baseline` is `[M, B]`."""
  log_likelihood = tf.reduce_sum(scored.log_likelihood, axis=-1)  # [M, B]
  log_prior = tf.reduce_sum(scored.log_prior, axis=-1)  # [M, B]
  advantage = tf.stop_gradient(
    log_likelihood - baseline
  )  # A constant factor of the score.
  return -tf.reduce_mean(log_likelihood + advantage * log_prior, axis=0)


def median_of_others_loss(scored: wsram_tf.ScoredSequences) -> tf.Tensor:
  """The loss whose baseline is the median of the other samples, float `[B]`."""
  log_likelihood = tf.reduce_sum(scored.log_likelihood, axis=-1)  # [M, B]
  others = tf.stack(
    [
      tf.concat([log_likelihood[:m], log_likelihood[m + 1 :]], axis=0)
      for m in range(log_likelihood.shape[0])
    ]
  )  # [M, M - 1, B]
  return variational_loss(
    scored, tfp.stats.percentile(others, 50.0, axis=1, interpolation="midpoint")
  )


"""
## Is it unbiased?

A small problem answers this without random numbers: one image, one glimpse with four possible
locations, and M = 4 samples. There are 4 x 4 x 4 x 4 = 256 tuples of samples. They lie on the batch
axis, and each counts with its probability, so the mean and the variance of the gradient are exact.

For contrast, the next loss takes the median of *all* samples. Its baseline depends on the sample
that it is subtracted from.
"""


def median_of_all_loss(scored: wsram_tf.ScoredSequences) -> tf.Tensor:
  """A biased one: the baseline is the median of all samples, float `[B]`."""
  log_likelihood = tf.reduce_sum(scored.log_likelihood, axis=-1)
  return variational_loss(
    scored,
    tfp.stats.percentile(
      log_likelihood, 50.0, axis=0, interpolation="midpoint"
    ),
  )


log_likelihoods = tf.math.log(
  tf.constant([0.5, 0.3, 0.2, 0.01], tf.float64)
)  # Of each location.
logits = tf.constant([0.3, -0.2, 0.0, -1.0], tf.float64)  # Of the prior.
tuples = tf.constant(list(itertools.product(range(4), repeat=4)))  # [256, 4]

with tf.GradientTape() as tape:
  tape.watch(logits)
  bound = tf.reduce_sum(tf.nn.softmax(logits) * log_likelihoods)
exact = -tape.gradient(bound, logits).numpy()


def moments(loss) -> tuple[np.ndarray, float]:
  """Mean `[4]` and total variance of the gradient, over all tuples."""
  with tf.GradientTape() as tape:
    tape.watch(logits)
    log_prior = tf.gather(tf.nn.log_softmax(logits), tf.transpose(tuples))[
      ..., tf.newaxis
    ]
    scored = wsram_tf.ScoredSequences(
      log_prior=log_prior,  # [4, 256, 1]
      log_likelihood=tf.gather(log_likelihoods, tf.transpose(tuples))[
        ..., tf.newaxis
      ],
      log_sampling=log_prior,
    )
    losses = loss(scored)  # [256]
  gradients = tape.jacobian(losses, logits).numpy()  # [256, 4]
  probabilities = tf.exp(tf.reduce_sum(log_prior[..., 0], axis=0)).numpy()
  mean = probabilities @ gradients
  return mean, float(probabilities @ np.sum((gradients - mean) ** 2, axis=-1))


bias, variance = {}, {}
for name, loss in {
  "no baseline": objectives.ESTIMATORS["variational"].prediction_loss,
  "mean of the others": objectives.ESTIMATORS[
    "variational_leave_one_out"
  ].prediction_loss,
  "median of the others": median_of_others_loss,
  "median of all": median_of_all_loss,
}.items():
  mean, variance[name] = moments(loss)
  bias[name] = float(np.abs(mean - exact).max())
  print(
    f"{name:22} largest bias {bias[name]:.1e}, variance {variance[name]:.2f}"
  )

"""
```text title="output"
no baseline            largest bias 5.6e-17, variance 0.77
mean of the others     largest bias 1.7e-16, variance 0.35
median of the others   largest bias 5.6e-17, variance 0.41
median of all          largest bias 8.1e-02, variance 0.21
```

The first three are unbiased: their bias is the rounding of float64. Both baselines halve the
variance, the mean by more than the median. The median of all samples has the lowest variance, but
it is biased, and more images do not remove the bias.
"""

"""
## Register it

A name makes the loss an estimator, for `ObjectiveConfig` and for the programs (`--extension=FILE.py
--estimator=median_of_others`). It samples from the prior, and compares at least two samples. An
estimator with samples from the inference network would also have an `inference_loss`.
"""

wsram_tf.register_estimator(
  "median_of_others",
  wsram_tf.Estimator(
    "variational bound, less the median of the other samples",
    samples_from="prior",
    prediction_loss=median_of_others_loss,
    least_samples=2,
  ),
)

"""
## Compare it

The small problem says nothing about a training. `runs.compare` trains each task with each seed, one
after another, and makes a table of means and standard deviations. `gradient_draws` measures the
variance of the gradient in the trained network. A comparison that was stopped continues with the
same call.
"""


def make_task(estimator: str) -> tasks.DigitTask:
  """Makes a small task: digits of 12 to 36 pixels on 60 x 60, three glimpses."""
  return tasks.DigitTask(
    canvas=wsram_tf.CanvasConfig(
      canvas_side=60, smallest_digit=12, largest_digit=36
    ),
    model=wsram_tf.ModelConfig(
      units=UNITS,
      num_glimpses=GLIMPSES,
      glimpse=wsram_tf.GlimpseConfig(glimpse_side=10),
    ),
    objective=wsram_tf.ObjectiveConfig(estimator, num_samples=NUM_SAMPLES),
    evaluation=tasks.CanvasEvaluationConfig(
      validation_canvases=CANVASES, test_canvases=CANVASES
    ),
    diagnosis=tasks.DiagnosisConfig(gradient_draws=GRADIENT_DRAWS),
  )


names = ("median_of_others", "variational_leave_one_out")
table = runs.compare(
  {name: make_task(name) for name in names},
  folder / "comparison",
  wsram_tf.TrainingConfig(
    batch_size=BATCH_SIZE,
    evaluate_every=EVALUATE_EVERY,
    jit_compile=JIT_COMPILE,
  ),
  wsram_tf.OptimizerConfig(updates=UPDATES),
  seeds=SEEDS,
)
print(table)

"""
The table, without four of its columns:

| | seeds | error % | log-likelihood | gradient variance |
|---|---|---|---|---|
| variational_leave_one_out | 2 | 32.48 ± 0.46 | -1.024 ± 0.012 | 1.810 ± 0.168 |
| median_of_others | 2 | 33.40 ± 1.41 | -1.034 ± 0.008 | 1.758 ± 0.196 |

Both end within each other's spread, in error and in variance. Two seeds and 1,000 updates show no
advantage of the median; a claim needs more seeds and a longer training.

`comparison.png` in the folder has the curves.

## Next

- [Estimators](../estimators.md) describes those of the package, and [their
  results](../results/estimators.md).
- [Extending](../extending.md): locations, networks and data of your own.
- `CONTRIBUTING.md` lists what an estimator needs to become part of the package.
"""
