"""Configurations of the STM32 model zoo, read as they are: values, the three layouts, and what they mean here."""
