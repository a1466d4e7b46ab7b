"""The program reproduce_paper: its runs, its report, and what it refuses."""

import pathlib

import tensorflow as tf

from tests.support import example_photos, programs, small_runs
from wsram_tf.paper import experiments
from wsram_tf.runs.folder import RunFolder


class ReproducePaperTest(tf.test.TestCase):
  def test_runs_and_reports_and_goes_on(self):
    small_runs.run_eagerly(self.addCleanup)
    folder = pathlib.Path(self.get_temp_dir())
    out, backbone = folder / "paper", folder / "backbone.keras"
    example_photos.write_flickr8k(folder / "flickr8k")
    example_photos.write_layered_backbone(backbone)
    data = [f"--backbone={backbone}", "--backbone_layers=fine,coarse"]
    small = [
      *("--updates=1", "--evaluate_every=1", "--batch_size=4", "--num_samples=2"),
      *("--units=8", "--word_units=4", "--location_units=4"),
      *("--least_word_count=1", "--max_words=4", "--jit_compile=off"),
    ]
    # The program makes one run, as a process; this one makes the other, which is faster.
    flags = experiments.flags_of(experiments.CAPTIONS, "WS-RAM+q+c", "small")
    run_dir = f"--run_dir={out / 'captions' / 'WS-RAM+q+c' / 'seed_1'}"
    flags += [f"--data_dir={folder / 'flickr8k'}", *data, *small, "--seed=1", run_dir]
    self.assertEqual(programs.endings("train_captions", flags), [programs.TRAINED])
    arguments = [
      *("--experiments=table2", "--scale=small", f"--flickr8k_dir={folder / 'flickr8k'}"),
      *(*data, *(f"--run_flag={flag}" for flag in small), f"--out_dir={out}"),
    ]
    (ending,) = programs.endings("reproduce_paper", arguments)
    self.assertIn("run 1 of 2: VAR+c, seed 1 starts", ending)
    self.assertIn("run 2 of 2: WS-RAM+q+c, seed 1 is finished", ending)
    self.assertIn(f"report: {out / 'paper.md'}", ending)
    text = (out / "paper.md").read_text()
    self.assertIn("| WS-RAM+q+c | 1 | 61.1 |", text)
    self.assertNotIn("| VAR+c | 0 |", text)
    (out / "paper.md").unlink()
    again, only_report, other, other_data = programs.endings(
      "reproduce_paper",
      arguments,
      [*arguments, "--report_only", "--experiments=figure4"],
      [*arguments, "--run_flag=--units=9"],
      [*arguments, "--run_flag=--backbone_layers=coarse"],
    )
    self.assertEqual(again.count("is finished"), 2)
    self.assertNotIn("run 1", only_report)
    self.assertIn("## Figure 4", (out / "paper.md").read_text())
    self.assertGreater((out / "figure4.png").stat().st_size, 0)
    self.assertIn("VAR+c/seed_1 has other flags than these (--units=9, not --units=8", other)
    self.assertIn("--backbone_layers=coarse, not --backbone_layers=fine,coarse", other_data)
    self.check_other_machine(out, arguments)

  def check_other_machine(self, out: pathlib.Path, arguments: list[str]) -> None:
    """Reports finished runs from their file alone, makes none again, and refuses other flags."""
    elsewhere = pathlib.Path(self.get_temp_dir()) / "elsewhere"
    arguments = [*arguments, f"--out_dir={elsewhere}", f"--add_runs={out / 'runs.jsonl'}"]
    endings = programs.endings(
      "reproduce_paper",
      [*arguments[:-1], f"--add_runs={out / 'no.jsonl'}"],
      [*arguments, "--run_flag=--units=9"],
      arguments,
    )
    self.assertIn(f"add_runs={out / 'no.jsonl'}: cannot be read", endings[0])
    self.assertIn(
      "VAR+c, seed 1: must have the flags of these experiments, and has --units=8 for --units=9",
      endings[1],
    )
    self.assertNotIn("run 1", endings[2])
    # The file holds the runs of both reports.
    self.assertCountEqual(
      (elsewhere / "runs.jsonl").read_text().splitlines(),
      (out / "runs.jsonl").read_text().splitlines(),
    )
    self.assertIn("## Table 2", (elsewhere / "paper.md").read_text())
    self.assertFalse((elsewhere / "captions").exists())

  def test_digits_choose_a_scale(self):
    small_runs.run_eagerly(self.addCleanup)
    out = pathlib.Path(self.get_temp_dir()) / "digits_paper"
    small = (*small_runs.CANVASES, "--updates=1", "--gradient_draws=0", "--seed=1")
    method = "WS-RAM+q+c-without-exploration"
    flags = experiments.flags_of(experiments.DIGITS, method, "small")
    folder = out / "digits" / method / "seed_1"
    ending = programs.endings("train_mnist", [*flags, *small, f"--run_dir={folder}"])
    self.assertEqual(ending, [programs.TRAINED])
    run = RunFolder(folder)
    self.assertIn("--choose_scale=true", run.read_flags())
    shares = [run.read_results()[f"scale_{scale}_percent"] for scale in range(3)]
    self.assertAllClose(sum(shares), 100.0)
    arguments = [
      *("--experiments=figure3", "--scale=small", "--seeds=1", "--report_only"),
      *(*(f"--run_flag={flag}" for flag in small), f"--out_dir={out}"),
    ]
    self.assertNotIn("run 1", programs.endings("reproduce_paper", arguments)[0])
    text = (out / "paper.md").read_text()
    self.assertIn("## Figure 3: exploration", text)
    self.assertIn(f"| {method} |", text)
    self.assertGreater((out / "figure3.png").stat().st_size, 0)

  def test_refuses_by_name(self):
    out = pathlib.Path(self.get_temp_dir()) / "paper"
    cases = {
      "flag --experiments=['table3']: must be names among table1": ["--experiments=table3"],
      "flag --seeds=['1', '1']: must be integers": ["--seeds=1,1"],
      "flickr8k_dir: must be given for table2 and figure4": ["--experiments=table2"],
    }
    endings = programs.endings(
      "reproduce_paper", *([f"--out_dir={out}", *wrong] for wrong in cases.values())
    )
    for message, ending in zip(cases, endings, strict=True):
      self.assertIn(message, ending)
    self.assertFalse(out.exists())


if __name__ == "__main__":
  tf.test.main()
