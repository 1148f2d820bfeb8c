"""Values of Azure ML that several rooms share: addresses."""
