"""Suites that score a model on clips of the real world: UCF101 (or any folder of clips), VBench and VBench-I2V."""
