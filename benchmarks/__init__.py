"""Measurements that documents quote. Each file is a command; `training/` holds what those of training speed share."""
