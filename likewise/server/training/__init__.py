"""Trainings and evaluations, each a process of its own."""
