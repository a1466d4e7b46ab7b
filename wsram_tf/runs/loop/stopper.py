"""Stops the training loop on request, where the learner's state is whole."""

import keras

from wsram_tf.runs.loop.stop_requests import StopRequests, Terminated

__all__ = ["Stopper"]


class Stopper(keras.callbacks.Callback):
  """Raises `Terminated` between two executions, in an evaluation, or after it; the last callback.

  Args:
    requests: the requests to stop.
    agrees: whether all workers must stop at the same update; `ReplicatedLearner` then sets
      `is_agreed`.

  Attributes:
    is_agreed: whether a worker has a request to stop, and all know it.
  """

  def __init__(self, requests: StopRequests, *, agrees: bool = False):
    super().__init__()
    self.requests = requests
    self.agrees = agrees
    self.is_agreed = False

  @property
  def has_request(self) -> bool:
    """Whether this process has a request to stop."""
    return bool(self.requests.reason)

  def on_train_begin(self, logs=None):
    """Takes SIGTERM from TensorFlow, which has joined the cluster by now."""
    self.requests.renew()

  def on_train_batch_begin(self, batch, logs=None):
    """Defers SIGTERM until the execution is done and the learner's state is whole."""
    self.requests.is_deferred = True

  def on_train_batch_end(self, batch, logs=None):
    """Stops after an execution."""
    self.requests.raise_interrupt()
    if self.is_agreed if self.agrees else self.has_request:
      raise Terminated

  def on_test_begin(self, logs=None):
    """Lets SIGTERM stop an evaluation at once."""
    self.requests.raise_now()

  def on_epoch_end(self, epoch, logs=None):
    """Stops after an evaluation that is recorded."""
    self.requests.is_deferred = True
    if self.has_request and not self.agrees:
      raise Terminated
