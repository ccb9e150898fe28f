"""Shipped studies (TOML) and the uncalibrated cost table."""
