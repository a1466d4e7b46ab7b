"""Reports about a captioner: what TensorBoard shows."""
