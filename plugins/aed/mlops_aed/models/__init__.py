"""Networks: architectures, the folder of a model, and the formats that models come in."""
