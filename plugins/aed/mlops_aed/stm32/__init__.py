"""Import of configurations of the STM32 model zoo: values, the three layouts, and their meaning here."""
