"""The programs: flags, messages and exit codes. Only this package uses absl."""
