"""The program compare: its runs, refusals and failures."""

import pathlib

import tensorflow as tf

from tests.support import programs, small_runs

_QUICK = (*small_runs.CANVASES, *small_runs.PLAIN)


class CompareTest(tf.test.TestCase):
  def test_failed_runs_resume_and_other_settings_are_refused(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "out"
    (out_dir / "other" / "seed_1").mkdir(parents=True)  # Not part of the comparison.
    (out_dir / "other" / "seed_1" / "flags.flags").write_text("--units=3\n")
    results = out_dir / "variational" / "seed_1" / "results.json"
    # The first update makes weights so large that the second overflows.
    overflow = ("--learning_rate=1e38", "--schedule=constant", "--evaluate_every=2")
    given = [*_QUICK, *overflow, f"--out_dir={out_dir}", "--seeds=1", "--estimators=variational"]
    failed, unfinished = programs.endings("compare", given, [*given, "--units=9"])
    self.assertRegex(
      failed,
      r"^compare: failed: variational, seed 1: train_mnist: update \d: .*/nan holds all that a "
      r"replay needs; --on_nan=skip continues without such updates",
    )
    self.assertIn("has other flags than these (--units=9, not --units=8)", unfinished)
    self.assertFalse(results.exists())
    skip = [*given, "--on_nan=skip"]
    # The run goes on in this process, which is faster.
    small_runs.run_eagerly(self.addCleanup)
    run_dir = f"--run_dir={results.parent}"
    ending = programs.endings("train_mnist", ["--resume", run_dir, "--on_nan=skip"])
    self.assertEqual(ending, [programs.TRAINED])
    endings = programs.endings(
      "compare",
      # The folder of the data does not change the result; the variant has the same flags.
      [*skip, "--data_dir=/", "--variant=variational --units=8", "--estimators="],
      [*skip, "--units=9", "--learning_rate=0.01"],
      [*skip, "--units=9", "--estimators=variational_correctness,variational"],
    )
    self.assertIn("run 1 of 1: variational, seed 1 is finished", endings[0])
    refusal = (
      f"out_dir={out_dir}: variational/seed_1 has other flags than these "
      "(--learning_rate=0.01, not --learning_rate=1e+38, --units=9, not --units=8); name another "
      "out_dir, or give the run's flags"
    )
    self.assertIn(refusal, endings[1])
    self.assertIn("has other flags than these (--units=9, not --units=8)", endings[2])
    self.assertFalse((out_dir / "variational_correctness").exists())
    self.assertIn("| variational | 1 |", (out_dir / "comparison.md").read_text())

  def test_wrong_flags_end_it_before_any_run(self):
    out_dir = pathlib.Path(self.get_temp_dir()) / "wrong"
    cases = {
      "estimators='wake': must be among": ["--estimators=wake"],
      "must be a new label": ["--estimators=vimco", "--variant=vimco --units=9"],
      "vimco: num_samples=1: must be at least 2": ["--estimators=vimco", "--num_samples=1"],
      "a: flag --units=0: must be at least 1": ["--variant=a --units=0"],
      "vimco: updates=3: must be a multiple of evaluate_every=2": [
        "--estimators=vimco",
        "--updates=3",
        "--evaluate_every=2",
      ],
      "seeds": ["--seeds=1,01"],
      "program=evaluate: value should be one of": ["--program=evaluate"],
      "Unknown command line flag 'run_dirs'": ["--run_dirs=x"],
    }
    lines = ([*_QUICK, "--num_samples=2", f"--out_dir={out_dir}", *case] for case in cases.values())
    endings = programs.endings("compare", *lines)
    for message, ending in zip(cases, endings, strict=True):
      with self.subTest(message):
        self.assertStartsWith(ending, "compare: ")
        self.assertIn(message, ending)
    self.assertFalse(out_dir.exists())

  def test_the_flagfiles_are_free_of_contradictions(self):
    file = pathlib.Path(self.get_temp_dir()) / "file"
    file.touch()
    for name in ("compare_small", "compare_translated_scaled"):
      # All settings are checked before the folder of the comparison is made.
      (ending,) = programs.endings("compare", [f"--flagfile={name}", f"--out_dir={file}"])
      self.assertRegex(ending, "^compare: .*File exists")


if __name__ == "__main__":
  tf.test.main()
