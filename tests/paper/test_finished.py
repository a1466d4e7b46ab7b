"""Files of finished runs: they keep what the report reads, and damaged ones are refused."""

import json
import pathlib

import tensorflow as tf

from wsram_tf.paper import finished
from wsram_tf.runs.folder import RunFolder

_FLAGS = ("--estimator=wake_sleep", "--updates=20")
_ROW = {"train_seconds": 1 / 3, "error_percent": 50.0, "val_error_percent": 49.0}
_RESULTS = {
  "test_error_percent": 2.5,
  "test_error_percent_averaged": 1.23456789,
  "train_seconds": 7.0,
  "versions": {"python": "3"},
}


class FinishedRunsTest(tf.test.TestCase):
  def setUp(self):
    super().setUp()
    self.out = pathlib.Path(self.get_temp_dir())
    self.file = self.out / finished.FILE

  def read(self, name: str, group: str = "digits") -> finished.FinishedRun | None:
    return finished.read_folder(RunFolder(self.out / name), group, "WS-RAM+q+c", 3, _FLAGS)

  def test_a_file_keeps_what_the_report_reads(self):
    run = RunFolder(self.out / "run")
    run.path.mkdir()
    rows = [{"update": update, **_ROW, "val_scale_0_percent": 25.0} for update in (10, 20)]
    run.write_metrics([{**row, "loss": 1.0} for row in rows])
    self.assertIsNone(self.read("run"))  # A run without results is not finished.
    run.write_json(run.results, _RESULTS)
    read = self.read("run")
    assert read is not None
    self.assertEqual(read.key, ("digits", "WS-RAM+q+c", 3))
    self.assertEqual(read.results["test_error_percent_averaged"], 1.23457)
    self.assertNotIn("versions", read.results)
    self.assertAllClose(read.rows, rows, rtol=1e-5)
    # As of a run that was resumed with another version.
    other_rows = [read.rows[0], {**read.rows[1], "effective_sample_size": 4.5}]
    other = read._replace(seed=4, rows=other_rows, layer_shares={"objects": (40.0, 60.0)})
    finished.write_file(self.file, [read, other])
    self.assertEqual(finished.read_file(self.file), [read, other])

  def test_a_damaged_file_is_refused_with_the_line(self):
    rows = [{"update": 10.0, **_ROW}, {"update": 20.0, **_ROW}]
    results = {name: _RESULTS[name] for name in list(_RESULTS)[:3]}
    run = finished.FinishedRun("digits", "VAR", 1, _FLAGS, results, rows)
    finished.write_file(self.file, [run])
    good = json.loads(self.file.read_text())
    metrics = good["metrics"]
    for name, changed in {
      "another group": {"group": "letters"},
      "no flags": {"flags": None},
      "a text for a figure": {"results": {**results, "train_seconds": "long"}},
      "a missing figure": {"results": {}},
      "a seed that is no number": {"seed": "one"},
      "figures that are not finite": {"metrics": {**metrics, "error_percent": [1, float("nan")]}},
      "columns of two lengths": {"metrics": {**metrics, "error_percent": [1]}},
      "updates that fall": {"metrics": {**metrics, "update": [20, 10]}},
      "no evaluation": {"metrics": {name: [] for name in metrics}},
      "no metrics": {"metrics": 7},
      "shares of no layer": {"layer_shares": {"objects": 40}},
    }.items():
      with self.subTest(name):
        lines = [json.dumps(good), json.dumps({**good, **changed})]
        self.file.write_text("\n".join(lines))
        with self.assertRaisesRegex(ValueError, "runs.jsonl: line 2: must be a finished run"):
          finished.read_file(self.file)
    for content in (b"[]", b"{", b"\xff", b"1e999", b"[" * 100_000):
      self.file.write_bytes(content)
      with self.assertRaisesRegex(ValueError, "runs.jsonl: line 1: must be a finished run"):
        finished.read_file(self.file)


if __name__ == "__main__":
  tf.test.main()
