"""What the benchmarks that compare times share."""
