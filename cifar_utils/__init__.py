"""Data, models and training loops for CIFAR-10 and its small relatives; each room has a README of its reasons."""
