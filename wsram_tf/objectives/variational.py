"""The losses of the variational estimators, which sample the prior and maximise a lower bound.

With weights v (1/M for samples of the prior itself), a signal f (the log-likelihood, or 1 for a
correct label and 0 otherwise) and a baseline b, the prediction network's gradient is

  sum_m v^m [ d log p(y | a^m) + (f^m - b^m) d log p(a^m) ]
"""

import tensorflow as tf

__all__ = [
  "baseline_loss",
  "leave_one_out_baseline",
  "variational_likelihood_loss",
  "variational_prior_loss",
]


def leave_one_out_baseline(signal: tf.Tensor, sample_weights: tf.Tensor) -> tf.Tensor:
  """The weighted mean of the other samples' signals.

  Args:
    signal: float `[M, ...]`.
    sample_weights: float `[M, ...]`, summing to 1 over M; 1/M for samples of the prior itself.

  Returns:
    float `[M, ...]`; a constant, without a gradient. 0 where the other samples have no weight.

  Raises:
    ValueError: if M is statically below 2, where there are no other samples.

  Estimator: the baseline does not depend on its own sample, so with equal weights it leaves the
    expected gradient unchanged.

  Source: A. Mnih, D. Rezende, Variational Inference for Monte Carlo Objectives, ICML 2016, section
    on the control variate, arXiv 1602.06725.

  Example:

  >>> import tensorflow as tf
  >>> leave_one_out_baseline(tf.constant([1.0, 3.0]), tf.constant([0.5, 0.5])).numpy().tolist()
  [3.0, 1.0]
  """
  if signal.shape[0] is not None and signal.shape[0] < 2:
    raise ValueError(
      f"signal of M={signal.shape[0]} samples: must hold at least 2, because the baseline of a "
      "sample is the mean of the others"
    )
  # The baseline is a constant of the gradient estimate.
  signal, weights = tf.stop_gradient(signal), tf.stop_gradient(sample_weights)
  weighted = weights * signal
  others = tf.reduce_sum(weighted, axis=0, keepdims=True) - weighted
  return tf.math.divide_no_nan(others, tf.reduce_sum(weights, axis=0, keepdims=True) - weights)


def variational_likelihood_loss(log_likelihood: tf.Tensor, sample_weights: tf.Tensor) -> tf.Tensor:
  """Cross-entropy of the likelihood over samples of the prior.

  Args:
    log_likelihood: float `[M, ...]`, nats; log p(y | a, image). Carries the gradient.
    sample_weights: float `[M, ...]`, summing to 1 over M; 1/M for samples of the prior itself.

  Returns:
    loss, float `[...]`, nats.

  Estimator: with samples of the prior itself unbiased for the likelihood's part of the gradient of
    the variational bound E_p log p(y | a, image). With weights that correct for another sampling
    distribution self-normalised, so biased at finite M; consistent as M grows.

  Source: J. Ba, V. Mnih, K. Kavukcuoglu, Multiple Object Recognition with Visual Attention, ICLR
    2015, arXiv 1412.7755.
  """
  weights = tf.stop_gradient(sample_weights)  # Constants of the gradient estimate.
  return -tf.reduce_sum(weights * log_likelihood, axis=0)


def variational_prior_loss(
  signal: tf.Tensor,
  log_prior: tf.Tensor,
  sample_weights: tf.Tensor,
  baseline: tf.Tensor | None = None,
) -> tf.Tensor:
  """The score-function surrogate of the prior.

  Args:
    signal: float `[M, ...]`, log p(y | a, image) in nats, or 1 for a correct label and 0 otherwise.
      Used as a constant.
    log_prior: float `[M, ...]`, nats; log p(a | image). Carries the gradient.
    sample_weights: float `[M, ...]`, summing to 1 over M; 1/M for samples of the prior itself.
    baseline: float `[M, ...]`, subtracted from the signal; or None. Used as a constant.

  Returns:
    loss, float `[...]` (a surrogate: only its gradient has meaning).

  Estimator: with samples of the prior itself, and a baseline that does not depend on its own
    sample, unbiased for the prior's part of the gradient of E_p[signal]. With weights that correct
    for another sampling distribution self-normalised, so biased at finite M; consistent as M grows.
    Without a baseline the bias grows with the signal: a signal below 0 and samples of a temperature
    above 1 sharpen the prior, even where all signals are equal.

  Source: J. Ba, R. Grosse, R. Salakhutdinov, B. Frey, Learning Wake-Sleep Recurrent Attention
    Models, NIPS 2015, the variational approach, arXiv 1509.06812; V. Mnih, N. Heess, A. Graves,
    K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014, the signal of correctness, arXiv
    1406.6247.
  """
  advantage = signal if baseline is None else signal - baseline
  # The score multiplies a constant; the likelihood loss differentiates the signal.
  factors = tf.stop_gradient(sample_weights * advantage)
  return -tf.reduce_sum(factors * log_prior, axis=0)


def baseline_loss(signal: tf.Tensor, baseline: tf.Tensor, sample_weights: tf.Tensor) -> tf.Tensor:
  """Squared error of a learned baseline.

  Args:
    signal: float `[M, ...]`, the value that the baseline predicts. Used as a constant.
    baseline: float `[M, ...]`. Carries the gradient.
    sample_weights: float `[M, ...]`, summing to 1 over M.

  Returns:
    loss, float `[...]`, in the square of the signal's unit.

  Estimator: with samples of the prior itself unbiased; its minimum is E_p[signal | state].

  Source: V. Mnih, N. Heess, A. Graves, K. Kavukcuoglu, Recurrent Models of Visual Attention, 2014,
    the baseline, arXiv 1406.6247.
  """
  # The baseline fits the signal, never the reverse.
  signal, weights = tf.stop_gradient(signal), tf.stop_gradient(sample_weights)
  return tf.reduce_sum(weights * tf.square(signal - baseline), axis=0)
