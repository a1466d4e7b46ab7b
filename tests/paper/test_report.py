"""The report on runs: the figures of made-up metrics, whose ratios are known."""

import pathlib

import tensorflow as tf

from wsram_tf.paper import experiments, finished, report
from wsram_tf.runs.folder import RunFolder

# Halving times of the error, in updates, and variances of the gradient.
_METHODS = {
  "VAR": (400, 8.0),
  "VAR+c": (200, 2.0),
  "WS-RAM": (400, 4.0),
  "WS-RAM+c": (200, 1.0),
  "WS-RAM+q": (200, 0.5),
  "WS-RAM+q+c": (100, 0.25),
  "VAR+c-without-exploration": (200, 2.0),
  "WS-RAM+q+c-without-exploration": (100, 0.25),
}


def _write_run(run: RunFolder, halving: int, variance: float, seed: int) -> None:
  run.path.mkdir(parents=True)
  rows = []
  for update in range(10, 1001, 10):
    error = 90.0 * 0.5 ** (update / halving)
    rows.append(
      {
        "update": update,
        "train_seconds": 0.1 * update,
        "error_percent": error,
        "val_error_percent": error,
        "prediction_gradient_variance": variance,
        "effective_sample_size": 4.0,
        "val_scale_0_percent": 25.0,
        "val_scale_1_percent": 75.0,
      }
    )
  run.write_metrics(rows)
  results = {
    "test_error_percent": 1.0 + seed,
    "test_error_percent_averaged": 1.0,
    "train_seconds": 60.0,
  }
  run.write_json(run.results, results)


class ReportTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.out = pathlib.Path(self.get_temp_dir()) / "paper"
    self.runs = {
      (label, seed): RunFolder(self.out / "digits" / label / f"seed_{seed}")
      for seed in (1, 2)
      for label in experiments.DIGITS.methods
    }

    self.out.mkdir()

  def write(self) -> str:
    read = [finished.read_folder(run, "digits", *key, []) for key, run in self.runs.items()]
    names = ["table1", "figure2", "figure3"]
    report.write(self.out, names, [run for run in read if run])
    return (self.out / report.REPORT).read_text()

  def test_ratios_orders_and_the_claim_come_from_the_metrics(self):
    for (label, seed), run in self.runs.items():
      if label in _METHODS:
        _write_run(run, *_METHODS[label], seed)
    text = self.write()
    self.assertIn(
      "| VAR | 2 | 3.11 | 2.50 ± 0.71 | at or below | 1.00 ± 0.00 | at or below | 1 ± 0 |", text
    )
    self.assertIn(
      "| WS-RAM+q+c | 2 | 1.62 | 2.50 ± 0.71 | above | 1.00 ± 0.00 | at or below | 1 ± 0 |", text
    )
    self.assertIn("| all-scales | 0 | - | - | - | - | - | - |", text)
    for pair, ratio in (("VAR / VAR+c", "4.0"), ("WS-RAM / WS-RAM+q", "8.0")):
      (line,) = [line for line in text.splitlines() if line.startswith(f"| {pair} |")]
      self.assertIn(f"| {ratio}, ", line)
    # WS-RAM+q+c falls twice as fast, in updates and in seconds.
    claim = [line for line in text.splitlines() if line.startswith("| 100% |")]
    self.assertRegex(claim[0], r"\| 2\.[01] ± 0\.0 \| 2\.[01] ± 0\.0 \|")
    # So also to the errors that the paper's VAR+c has at the three points.
    for level in (64, 32, 16):
      (line,) = [line for line in text.splitlines() if line.startswith(f"| an error of {level}% |")]
      self.assertRegex(line, r"^\| [^|]+ \| [12]\.\d( \| 2\.0 ± 0\.0){4} \|$")
    self.assertRegex(text, r"\| VAR\+c \| 6\.\d|\| VAR\+c \| 10\.\d")
    self.assertIn("| 25 ± 0 | 75 ± 0 |", text)
    for name in ("figure2.png", "figure3.png"):
      self.assertIn(f"]({name})", text)
      self.assertGreater((self.out / name).stat().st_size, 10_000)

  def test_what_is_missing_is_left_open(self):
    text = self.write()
    self.assertIn("No run is finished.", text)
    self.assertFalse((self.out / "figure2.png").exists())
    _write_run(self.runs["WS-RAM", 1], 100, 1.0, 1)
    text = self.write()
    self.assertIn("| WS-RAM / WS-RAM+q | inference network |", text)
    self.assertIn("| WS-RAM | 1 | 4.23 | 2.00 | at or below | 1.00 | at or below | 1 |", text)
    self.assertNotIn("Order at", text)  # One method alone has no order.

  def test_the_claim_compares_runs_of_one_seed(self):
    _write_run(self.runs["VAR+c", 1], 1000, 1.0, 1)
    _write_run(self.runs["VAR+c", 2], 200, 1.0, 2)
    _write_run(self.runs["WS-RAM+q+c", 2], 50, 1.0, 2)
    claim = [line for line in self.write().splitlines() if line.startswith("| 50% |")]
    self.assertRegex(claim[0], r"^\| 50% \| [\d.]+ \| [34]\.\d \| [34]\.\d \|")  # One pair.
    for seed in (1, 2):
      self.runs["VAR+c", seed].results.unlink()
    self.assertIn("| 50% | 2.0 | - | - | - | - |", self.write())

  def test_captions_have_their_own_sections(self):
    run = RunFolder(self.out / "captions" / "VAR+c" / "seed_1")
    run.path.mkdir(parents=True)
    run.write_metrics(
      [
        {"update": u, "train_seconds": 1.0, "negative_log_likelihood": 50 - u / 1000}
        for u in (1000, 2000)
      ]
    )
    bleu = {f"bleu_{n}": 10.0 * n for n in range(1, 5)}
    run.write_json(run.results, {**bleu, "train_seconds": 60.0, "brevity_penalty": 0.95})
    rows = [
      {"caption": "a red dog", "layers": [1, 0, 0]},
      {"caption": "two dogs", "layers": [1, 1]},
    ]
    run.write_json(run.path / "captions.json", rows)
    first = finished.read_folder(run, "captions", "VAR+c", 1, [])
    assert first is not None
    # The second run never chose the second layer, and has no colours and no penalty.
    shares = {"objects": (100.0,), "numbers": (100.0,), "all words": (100.0,)}
    old = {**bleu, "train_seconds": 60.0}
    second = first._replace(seed=2, layer_shares=shares, results=old)
    finished.write_file(self.out / finished.FILE, [first, second])
    first, second = finished.read_file(self.out / finished.FILE)
    report.write(self.out, ["table2", "figure4"], [first])
    text = (self.out / report.REPORT).read_text()
    self.assertIn(
      "| VAR+c | 1 | 62.3 | 10.0 | 41.6 | 20.0 | 26.9 | 30.0 | 17.2 | 40.0 | 0.950 |", text
    )
    self.assertIn("| objects | 50 | 50 |\n| colours | 100 | 0 |\n| numbers | 0 | 100 |", text)
    self.assertIn("| all words | 40 | 60 |", text)
    self.assertIn("| 43.1 | 48.0 |", text)  # The paper at 2,000 updates, and these runs.
    report.write(self.out, ["table2"], [second, first])
    text = (self.out / report.REPORT).read_text()
    self.assertIn("| objects | 75 ± 35 | 25 ± 35 |\n| colours | 100 | 0 |", text)


if __name__ == "__main__":
  tf.test.main()
